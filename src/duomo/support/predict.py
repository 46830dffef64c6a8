"""The trained model in the conversation: what a turn wants, computed on features that are there anyway.

Files are encoded once, when they are perceived (`Reader.of_file`), and their views stored; the text is encoded by the
very encoders retrieval asks next (`Answerer`), which remember it. A turn then costs the model's own graph.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from duomo.errors import DuomoError
from duomo.media.text import normalise
from duomo.models import encoders as recipes
from duomo.models.encoders import Encoded, Encoders, Models
from duomo.models.features import Features, Floats, View
from duomo.models.heads import pattern_keys
from duomo.models.understanding import HeadPrediction, Understanding, load
from duomo.store.postgres import Row, Tx, pg_array, vector
from duomo.support.registry import Role, folder_of
from duomo.types import Language, Sample

logger = logging.getLogger("duomo.predict")

KEPT = 8  # models in memory, of all workspaces
TRY_AGAIN_S = 60.0  # after a model could not be opened
OF_KIND: Mapping[str, str] = {"image": "image", "audio": "audio"}
"""Modality of a file's kind."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model reads of a turn.

    Attributes:
        text: written, said and seen, as it is searched for.
        files: "VIEW VERSION" -> vector, of the turn's first picture and first sound.
        history: what the customer said before, oldest first.
    """

    text: str
    files: Mapping[str, Floats] = field(default_factory=dict)
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Understood:
    """What one model says of a turn.

    Attributes:
        heads: head -> what docs/protocol.md calls H: label, confidence, set, abstain, out_of_scope, conflict, shares,
            top.
        pattern: the modalities that were there, "image+text"; "none" without any.
        embeddings: modality -> (dim,) its first dense view, of length 1.
        duration_ms: of the model, beside the encoding that retrieval needs too.
    """

    model_id: str
    fingerprint: str
    name: str
    role: Role
    heads: Mapping[str, Mapping[str, Any]]
    pattern: str
    text: str
    embeddings: Mapping[str, Floats]
    duration_ms: float

    def record(self, message_id: str | None) -> dict[str, Any]:
        """For the decision that rests on it. Without a message's id where nothing is stored."""
        return {
            "message_id": message_id,
            "pattern": self.pattern,
            "text": self.text,
            "heads": {name: dict(head) for name, head in self.heads.items()},
            "duration_ms": round(self.duration_ms, 2),
        }

    def model(self) -> dict[str, str]:
        return {"id": self.model_id, "fingerprint": self.fingerprint, "name": self.name, "role": self.role}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory with the encoders it was trained with."""

    understanding: Understanding
    encoders: Encoders


class Reader:
    """The models of this process, each opened when a turn first needs it.

    Args:
        home: below which registered models lie.
        models: the pretrained networks; give it those the process has already.
    """

    def __init__(self, home: Path, models: Models) -> None:
        self._home = home
        self._models = models
        self._kept: OrderedDict[str, Loaded] = OrderedDict()
        self._failed: dict[str, float] = {}  # when, in monotonic seconds
        self._lock = asyncio.Lock()

    async def loaded(self, workspace_id: str, fingerprint: str) -> Loaded | None:
        """None when it cannot be opened, which is logged and tried again after a while; a conversation goes on."""
        key = f"{workspace_id}/{fingerprint}"
        async with self._lock:
            if key not in self._kept:
                if time.monotonic() - self._failed.get(key, -TRY_AGAIN_S) < TRY_AGAIN_S:
                    return None
                opened = await asyncio.to_thread(self._open, folder_of(self._home, workspace_id, fingerprint))
                if opened is None:
                    self._failed[key] = time.monotonic()
                    return None
                self._failed.pop(key, None)
                self._kept[key] = opened
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _open(self, folder: Path) -> Loaded | None:
        try:
            understanding = load(folder)
            encoders = Encoders.for_views(understanding.views, models=self._models)
        except DuomoError as error:
            logger.error("model %s cannot be used: %s", folder.name[:12], error)
            return None
        return Loaded(understanding, encoders)

    async def read(self, workspace_id: str, row: Row, turn: Turn) -> Understood | None:
        """What the model says.

        Args:
            row: of `registry.current`.
        Returns:
            None when the model cannot be opened.
        """
        loaded = await self.loaded(workspace_id, row["fingerprint"])
        return None if loaded is None else await asyncio.to_thread(read_turn, loaded, row, turn)

    async def of_file(self, workspace_id: str, deployed: Sequence[Row], kind: str, data: bytes) -> dict[View, Floats]:
        """The views of a clean file that the deployed models look at.

        Args:
            kind: image, audio; of others there are none.
        """
        wanted: dict[str, tuple[View, Encoders]] = {}
        for row in deployed if kind in OF_KIND else ():
            loaded = await self.loaded(workspace_id, row["fingerprint"])
            for view in loaded.encoders.of(OF_KIND[kind]) if loaded else ():
                assert loaded is not None
                wanted[view.name] = view, loaded.encoders
        if not wanted:
            return {}
        return await asyncio.to_thread(_of_file, list(wanted.values()), OF_KIND[kind], data)


def _of_file(wanted: Sequence[tuple[View, Encoders]], modality: str, data: bytes) -> dict[View, Floats]:
    value = recipes.read(modality, data)
    found = {view: encoders.encoder(view).encode(value) for view, encoders in wanted}
    return {view: encoded for view, encoded in found.items() if not isinstance(encoded, tuple)}


def features_of(encoders: Encoders, turn: Turn) -> Features:
    """One row: the text encoded, the files as they were encoded, what is missing marked so. Blocks."""
    row: dict[str, dict[str, Encoded]] = {}
    for modality in encoders.modalities:
        if modality == "text":
            if text := normalise(turn.text):
                row["text"] = encoders.encode("text", text)
        elif modality == "context":
            (view,) = encoders.of("context")
            sample = Sample("turn", history=turn.history)
            if value := recipes.context_of(sample, view.dim // recipes.TURN_DIM):
                row["context"] = encoders.encode("context", value)
        else:
            found = {view.name: turn.files.get(f"{view.name} {view.version}") for view in encoders.of(modality)}
            vectors = {name: vector for name, vector in found.items() if vector is not None}
            if len(vectors) == len(found):
                row[modality] = dict(vectors)
    return encoders.features([row])


def read_turn(loaded: Loaded, row: Row, turn: Turn) -> Understood:
    encoders = loaded.encoders
    if (text := normalise(turn.text)) and "text" in encoders.modalities:
        encoders.encode("text", text)  # what remembers it answers at once below, and in retrieval
    began = time.perf_counter()
    features = features_of(encoders, turn)
    (prediction,) = loaded.understanding.predict(features)
    (pattern,) = pattern_keys(features.present, features.modalities)
    return Understood(
        model_id=str(row["id"]),
        fingerprint=row["fingerprint"],
        name=row["name"],
        role=row["role"],
        heads={name: _head(head) for name, head in prediction.heads.items()},
        pattern=str(pattern) or "none",
        text=text,
        embeddings=_embeddings(encoders, features),
        duration_ms=(time.perf_counter() - began) * 1000,
    )


def _head(head: HeadPrediction) -> dict[str, Any]:
    return {
        **head.as_dict(),
        "conflict": round(head.conflict, 4),
        "out_of_scope": round(head.out_of_scope, 4),
        "top": [[label, round(chance, 4)] for label, chance in head.top],
    }


def _embeddings(encoders: Encoders, features: Features) -> dict[str, Floats]:
    found = {}
    for k, modality in enumerate(features.modalities):
        views = [view for view in encoders.of(modality) if not view.sparse]
        if views and features.present[0, k]:
            raw = features.dense[views[0].name][0]
            found[modality] = raw / max(float(np.linalg.norm(raw)), 1e-12)
    return found


# In the tables ----------------------------------------------------------------------------------------------------


def by_name(views: Mapping[View, Floats]) -> dict[str, Floats]:
    """As `Turn.files` names them."""
    return {f"{view.name} {view.version}": value for view, value in views.items()}


async def store_views(tx: Tx, part_id: str, views: Mapping[View, Floats]) -> None:
    for view, value in views.items():
        raw = np.ascontiguousarray(value, dtype="<f4").tobytes()
        await tx.run("put_part_view", part_id=part_id, view=view.name, version=view.version, vector=raw)


async def load_files(tx: Tx, message_ids: Sequence[Any]) -> dict[str, Floats]:
    """The views of the first picture and the first sound of some messages, as far as they were made."""
    chosen: dict[str, Any] = {}
    found: dict[str, Floats] = {}
    for row in await tx.binary("part_views", message_ids=pg_array(message_ids)):
        if chosen.setdefault(row["kind"], row["part_id"]) == row["part_id"] and row["view"] is not None:
            found[f"{row['view']} {row['version']}"] = np.frombuffer(row["vector"], dtype="<f4").astype(np.float32)
    return found


async def store(tx: Tx, conversation_id: str, message_id: str, understood: Understood, language: Language) -> None:
    """Keep what a model said with the message it said it of."""
    await tx.run(
        "insert_prediction", conversation_id=conversation_id, message_id=message_id, model_id=understood.model_id,
        role=understood.role, heads={name: dict(head) for name, head in understood.heads.items()},
        pattern=understood.pattern, language=language, text=understood.text, duration_ms=understood.duration_ms,
    )  # fmt: skip
    for modality, value in understood.embeddings.items():
        await tx.run("put_embedding", message_id=message_id, modality=modality, vector=vector(value))
