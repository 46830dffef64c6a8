"""The values that travel through Duomo: frozen, without I/O, shared by every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

Author = Literal["customer", "bot", "agent", "system"]
"""Who wrote a message."""

PartKind = Literal["image", "audio", "document"]
PartState = Literal["received", "ready", "refused"]
"""received: stored, not yet decoded · ready: re-encoded and readable · refused: could not be decoded."""

MessageKind = Literal["text", "answer", "clarify", "holding", "handoff", "note", "notice", "csat"]
"""text: written by a person · answer / clarify / holding / handoff: the bot's · note: private to agents ·
notice: a status line such as "resolved" · csat: the question after a resolve."""

Status = Literal["pending", "open", "snoozed", "resolved"]
"""pending: the bot answers · open: a person answers · snoozed: sleeps until a time · resolved: closed."""

ArtifactKind = Literal["transcript", "ocr", "picture_kind", "document_text"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a model read, heard or recognised in one file."""

    kind: ArtifactKind
    text: str
    confidence: float  # [0, 1]
    model: str  # e.g. "whisper-base"
    version: str  # of the weights, e.g. the first 12 hex digits of their SHA-256
    duration_ms: int  # time the model took
    data: Mapping[str, Any] = field(default_factory=dict)
    """transcript: language, segments [{start_s, end_s, text, confidence}], no_speech (probability), original
    (before repair) · ocr: lines [{text, confidence, box [[x, y] x 4] in pixels}], size [width, height] ·
    picture_kind: scores {photo, screenshot, document} · document_text: pages."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved piece of an article."""

    article_id: str
    chunk_id: str
    title: str
    text: str
    uri: str
    language: Language
    position: int  # index of the chunk within its article, from 0
    score: float  # fused relevance; higher is better, comparable only within one result list
    picture: str | None = None  # blob key of the picture this passage belongs to
    origin: Literal["text", "ocr", "transcript"] = "text"  # written, read in a picture of the article, or spoken
    signals: Mapping[str, float] = field(default_factory=dict)
    """Evidence behind `score`, e.g. cosine (multilingual), cosine_en, coverage (IDF-weighted share of the query's
    words found, [0, 1]), pinyin, image (cosine of pictures); thresholds are learned on these."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A source shown under an answer."""

    article_id: str
    chunk_id: str
    title: str
    uri: str
    quote: str
    score: float
    picture: str | None = None  # blob key


@dataclass(frozen=True, slots=True)
class Part:
    """A file in a message."""

    id: str
    kind: PartKind
    state: PartState
    mime: str
    name: str
    blob: str | None = None  # key of the re-encoded bytes; None until ready
    width: int | None = None  # pixels
    height: int | None = None
    duration_s: float | None = None
    error: str | None = None  # why it was refused
    error_code: str | None = None
    artifacts: tuple[StoredArtifact, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact with its identity and, when a person corrected it, what stood there before."""

    id: str
    artifact: Artifact
    original_text: str | None = None
    corrected_by: Literal["customer", "agent"] | None = None


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    conversation_id: str
    seq: int  # position in the conversation's event sequence, from 1
    author: Author
    kind: MessageKind
    text: str
    created_at: datetime
    language: Language | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    parts: tuple[Part, ...] = ()
    citations: tuple[Citation, ...] = ()
    options: tuple[str, ...] = ()  # the buttons of a clarifying question
    decision: Mapping[str, Any] = field(default_factory=dict)
    """Why the system decided so: scores, thresholds, candidates, model versions. Empty for people's messages."""
    feedback: Literal["up", "down"] | None = None


Label = str | float | tuple[str, ...]
"""Of a class head, a number head, a multilabel head."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One case to learn from or to understand: any of its parts may be absent (None)."""

    id: str
    text: str | None = None
    image: Path | None = None
    audio: Path | None = None
    video: Path | None = None
    features: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # plain vectors by name
    group: str | None = None
    """Samples of one group (a conversation, customer, patient, speaker) never stand on both sides of a split."""
    labels: Mapping[str, Label | None] = field(default_factory=dict)  # by head; None: not labelled
    history: tuple[str, ...] = ()  # texts of the conversation's earlier turns, oldest first
