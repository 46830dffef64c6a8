"""Why, in depth: what every word, region of the picture and stretch of the voice note was worth to the model.

Each is taken away in turn, the rest is encoded again, and the model says how much less it holds for what it
understood. That costs seconds: it is a job behind all others, one at a time, and between any two pieces it waits while
somebody waits for an answer.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from duomo.errors import DuomoError, NotFound
from duomo.learn.explain import Encodes, Explanation, Served, explain
from duomo.learn.occlude import Unit
from duomo.media.audio import SAMPLING_RATE
from duomo.models.encoders import Encoded, Value
from duomo.models.features import Features
from duomo.models.understanding import Understanding
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row
from duomo.support.past import answered_by, words_of
from duomo.support.why import HEAD, find, unexplained
from duomo.types import Message, Part, Sample

BREATH_S = 0.2  # between looks at whether somebody waits
PATIENCE_S = 120.0  # waited for others, in all; then it goes on beside them


class Loaded(Protocol):
    """A model and what encodes for it."""

    @property
    def understanding(self) -> Understanding: ...
    @property
    def encoders(self) -> Encodes: ...


class Opens(Protocol):
    """Keeps models open; `support.predict.Reader` does."""

    async def loaded(self, workspace_id: str, fingerprint: str) -> Loaded | None:
        """None when its files are gone or damaged."""
        ...


async def explain_message(
    db: Database, blobs: Blobs, workspace_id: str, message_id: str, *, reader: Opens, patience_s: float = PATIENCE_S
) -> bool:
    """Take apart what the model read before it said a message, and store what each piece was worth.

    The words are those of the decision: the turn's prediction is another one once a transcript was corrected and read
    again.

    What cannot be explained any more (a file erased, a model removed) is stored as failed with the reason.

    Args:
        patience_s: to wait for others, in all.
    Returns:
        False when there is no such message any more, or no model read it.
    """
    async with db.transaction(workspace_id) as tx:
        conversation_id = await tx.value("conversation_of_message", id=message_id)
        if conversation_id is None:
            return False
        said, messages = await find(tx, str(conversation_id), message_id)
        if unexplained(said):
            return False
        read = await tx.one(
            "prediction_with_model",
            message_id=said.decision["understood"]["message_id"],
            model_id=said.decision["model"]["id"],
        )
    if read is None:
        return await _store(db, workspace_id, message_id, "failed", {"reason": "prediction_gone"})
    loaded = await reader.loaded(workspace_id, read["fingerprint"])
    if loaded is None:
        return await _store(db, workspace_id, message_id, "failed", {"reason": "model_gone"})
    asked = answered_by(said, messages)
    waits = _Patience(patience_s)
    watching = asyncio.ensure_future(waits.watch(db))
    try:
        sample, parts = _sample(blobs, workspace_id, said.decision["understood"]["text"], asked, messages)
        body = await asyncio.to_thread(_explained, loaded, sample, parts, said, read, waits)
    except NotFound:
        return await _store(db, workspace_id, message_id, "failed", {"reason": "file_gone"})
    except DuomoError as error:
        return await _store(db, workspace_id, message_id, "failed", {"reason": error.code})
    finally:
        watching.cancel()
    return await _store(db, workspace_id, message_id, "done", body)


async def give_up(db: Database, workspace_id: str, message_id: str) -> None:
    """Its job failed for good: nobody goes on waiting for it."""
    await _store(db, workspace_id, message_id, "failed", {"reason": "failed"})


async def _store(db: Database, workspace_id: str, message_id: str, state: str, body: dict[str, Any]) -> bool:
    async with db.transaction(workspace_id) as tx:
        if await tx.value("conversation_of_message", id=message_id) is None:  # erased meanwhile
            return False
        await tx.run("store_explanation", message_id=message_id, state=state, body=body)
    return True


def _sample(
    blobs: Blobs, workspace_id: str, text: str, asked: Sequence[Message], messages: Sequence[Message]
) -> tuple[Sample, dict[str, Part]]:
    """What the model read in that turn, with its first picture and its first sound."""
    ready = [part for message in asked for part in message.parts if part.state == "ready"]
    parts = {kind: part for kind in ("image", "audio") if (part := _first(ready, kind)) is not None}
    files = {kind: blobs.path(workspace_id, part.blob or "") for kind, part in parts.items()}
    earlier = tuple(words_of(m) for m in messages if asked and m.author == "customer" and m.seq < asked[0].seq)
    return Sample("turn", text or None, files.get("image"), files.get("audio"), history=earlier), parts


def _explained(
    loaded: Loaded, sample: Sample, parts: Mapping[str, Part], said: Message, read: Row, waits: _Patience
) -> dict[str, Any]:
    heads = loaded.understanding.heads
    head = HEAD if HEAD in heads else next(iter(heads))
    stored = said.decision["understood"]["heads"].get(head, {}).get("label")
    served = Served(loaded.understanding, _Waiting(loaded.encoders, waits))
    found = explain(served, sample, head=head, label=stored if stored in heads[head].labels else None)
    return as_body(found, stored, parts) | {
        "model": {"id": str(read["model_id"]), "fingerprint": read["fingerprint"], "name": read["name"]}
    }


def as_body(found: Explanation, stored: Any, parts: Mapping[str, Part]) -> dict[str, Any]:
    """An explanation as it is stored: docs/protocol.md, "Why"."""
    pixels, waveform = found.values.get("image"), found.values.get("audio")
    picture = None
    if pixels is not None and "image" in parts:
        height, width = np.asarray(pixels).shape[:2]
        picture = {"part_id": str(parts["image"].id), "width": int(width), "height": int(height)}
    sound = None
    if waveform is not None and "audio" in parts:
        seconds = round(len(np.asarray(waveform)) / SAMPLING_RATE, 2)
        sound = {"part_id": str(parts["audio"].id), "seconds": seconds}
    return {
        "head": found.head,
        "label": found.label,
        "said": stored,
        "out_of_scope": found.out_of_scope,
        "confidence": found.confidence,
        "support": round(found.support, 4),
        "prior": round(found.prior, 4),
        "contributions": {name: round(value, 4) for name, value in found.contributions.items()},
        "shares": {name: round(value, 4) for name, value in found.shares.items()},
        "alone": {
            name: None if one is None else {"label": one.label, "probability": round(one.probability, 4)}
            for name, one in found.alone.items()
        },
        "alternatives": [{"label": one.label, "probability": round(one.probability, 4)} for one in found.alternatives],
        "conflict": round(found.conflict, 4),
        "text": found.values.get("text"),
        "picture": picture,
        "sound": sound,
        "units": {
            name: [_unit(unit, found) for unit in units]
            for name, units in found.units.items()
            if name in ("text", "image", "audio")
        },
    }


def _unit(unit: Unit, found: Explanation) -> dict[str, Any]:
    """A piece, what it is worth, and how sure the model would be without it."""
    place: dict[str, Any] = {"box": list(unit.box)} if unit.box is not None else {"start": unit.start, "end": unit.end}
    if unit.kind == "word":
        place["text"] = unit.text
    without = None if found.confidence is None else round(1 / (1 + math.exp(unit.score - found.support)), 4)
    return {**place, "score": round(unit.score, 4), "without": without}


def _first(parts: Sequence[Part], kind: str) -> Part | None:
    return next((part for part in parts if part.kind == kind and part.blob), None)


class _Patience:
    """Holds the explaining thread while somebody waits for an answer."""

    def __init__(self, left_s: float = PATIENCE_S) -> None:
        self._free = threading.Event()
        self._left_s = left_s

    async def watch(self, db: Database) -> None:
        try:
            while self._left_s > 0:
                async with db.transaction(None) as tx:
                    busy = await tx.value("busy_with_people")
                if busy:
                    self._free.clear()
                    self._left_s -= BREATH_S
                else:
                    self._free.set()
                await asyncio.sleep(BREATH_S)
        finally:
            self._free.set()  # nobody watches any more: the thread must not wait for ever

    def wait(self) -> None:
        self._free.wait()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Encoders that wait before each piece."""

    inner: Encodes
    waits: _Patience

    def value(self, sample: Sample, modality: str) -> Value | None:
        return self.inner.value(sample, modality)

    def encode(self, modality: str, value: Value) -> dict[str, Encoded]:
        self.waits.wait()
        return self.inner.encode(modality, value)

    def features(self, rows: Sequence[Mapping[str, Mapping[str, Encoded]]]) -> Features:
        return self.inner.features(rows)
