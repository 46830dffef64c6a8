"""What goes into answering, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from duomo.models.embed import Vectors
from duomo.models.llm import Attachment
from duomo.types import Artifact, Citation, Language, MessageKind, Passage

if TYPE_CHECKING:
    from duomo.support.policy import Policy
    from duomo.support.predict import Understood

Reason = Literal["requested", "low_confidence", "repeated_failure", "emergency", "policy", "agent", "system"]


@dataclass(frozen=True, slots=True)
class Question:
    """What the customer wants to know, from everything they sent.

    Attributes:
        text: what they wrote and said.
        seen: what was read in their pictures and documents.
        earlier: their question before, where this one may lean on it.
        images: (pictures, dim), embeddings of their pictures.
        chosen: the option of a clarifying question that they picked: an article's title.
        failures: turns in a row that could not answer.
        unreadable: kinds of files that were refused.
        mask: take personal data out of what a language model is sent, files included.
        sent: what it came as, of "text", "voice", "picture", "document".
        policy: what decides; None: the one that holds where a workspace has none.
        understood: what the trained model says of it; None without one.
    """

    text: str
    language: Language
    seen: str = ""
    spoken: bool = False
    earlier: str = ""
    images: Sequence[Vectors] = ()
    chosen: str = ""
    failures: int = 0
    unreadable: Sequence[str] = ()
    artifacts: Sequence[Artifact] = ()
    attachments: Sequence[Attachment] = ()
    mask: bool = False
    sent: tuple[str, ...] = ("text",)
    policy: Policy | None = None
    understood: Understood | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """More of an answer that is being written."""

    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said at the end of a turn.

    Attributes:
        handoff: why a person takes over; None when none does.
        failed: the customer got no answer: two such turns in a row call a person.
        decision: why, for the console: scores, thresholds, candidates, versions.
        team, priority: of a handover, as the policy says.
    """

    kind: MessageKind
    text: str
    citations: Sequence[Citation] = ()
    options: Sequence[str] = ()
    handoff: Reason | None = None
    failed: bool = False
    decision: Mapping[str, Any] = field(default_factory=dict)
    team: str | None = None
    priority: str = "normal"


def cite(passage: Passage, quote: str) -> Citation:
    return Citation(
        article_id=passage.article_id,
        chunk_id=passage.chunk_id,
        title=passage.title,
        uri=passage.uri,
        quote=quote,
        score=passage.score,
        picture=passage.picture,
    )


def numbered(citations: Sequence[Citation]) -> str:
    """Quotes one under the other, each with the number of its source."""
    return "\n\n".join(f"{c.quote}{_before_number(c.quote)}[{n}]" for n, c in enumerate(citations, start=1))


def _before_number(quote: str) -> str:
    return (
        "\n\n" if quote.rstrip().splitlines()[-1:] and quote.rstrip().splitlines()[-1].lstrip().startswith("|") else " "
    )
