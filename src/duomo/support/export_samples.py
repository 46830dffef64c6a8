"""Conversations as samples to learn from: what was written, said and shown, with what people labelled it as.

    FOLDER/train.jsonl       turns with a label               docs/howto/samples.md
    FOLDER/unlabelled.jsonl  the others
    FOLDER/heldout.jsonl     all turns of a fixed fifth of the customers; nothing ever trains on them
    FOLDER/facts.json        {id: {language, team, labelled_at}} of what may measure models, to measure it apart
    FOLDER/media/            their pictures and voice notes, by the hash of their content

Personal data is masked in every text. Who does not want to train models is left out, and so is what is older than the
policy keeps.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mimetypes
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

from duomo.errors import NotFound
from duomo.models.language import detect_language
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Tx
from duomo.support import guard
from duomo.support import turn as live
from duomo.support.conversation import load_messages
from duomo.support.outcome import Question
from duomo.support.past import ends_turn
from duomo.support.policy_sections import Learning
from duomo.types import Language, Message

Split = Literal["train", "unlabelled", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "unlabelled", "heldout")
FACTS, MEDIA = "facts.json", "media"
HELD_OUT = 0.2  # of the customers
_SUFFIX = {"image/webp": ".webp", "audio/ogg": ".ogg", "audio/flac": ".flac"}
_OURS = re.compile(r"[0-9a-f]{64}(\.\w+)?")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a customer wrote until somebody answered, or until a model read it.

    Attributes:
        messages: what a model reads at once. Where a person answers it reads every message as it comes, together with
            those before it that are not answered yet.
        fresh: those of them that no earlier turn ends with: what people said of them belongs to this turn.
        earlier: the context they are read in.
    """

    messages: tuple[Message, ...]
    fresh: tuple[Message, ...]
    earlier: tuple[Message, ...]
    answered: bool
    team: str | None = None  # that the policy chose for it

    def id(self, predicted: Collection[str]) -> str:
        """Of the message that the prediction, and so the label, belongs to; else of the last."""
        ids = [message.id for message in self.fresh]
        return next((id for id in reversed(ids) if id in predicted), ids[-1])


@dataclass(slots=True)
class Exported:
    """
    Attributes:
        counts: turns, train, unlabelled, held_out, held_out_labelled, corrections, pictures, sounds, and by why
            {left_out: customers' messages}.
        identity: SHA-256 over everything that is labelled: the same when there is nothing new to learn from people.
    """

    folder: Path
    counts: dict[str, Any] = field(default_factory=dict)
    identity: str = ""


async def set_consent(tx: Tx, contact_id: str, value: bool | None) -> bool:
    """Whether a customer's conversations may train models; None: as the policy says. False: no such customer."""
    return bool(await tx.run("set_consent", id=contact_id, value=value))


def held_out(contact_id: str) -> bool:
    """Whether a customer's turns only measure models. It follows from the id alone, so it never changes."""
    digest = hashlib.sha256(f"held out {contact_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64


async def export(db: Database, blobs: Blobs, workspace_id: str, folder: Path, *, learning: Learning) -> Exported:
    """Write a workspace's samples; what lay in the folder under the same names is replaced."""
    writer = _Writer(blobs, workspace_id, folder, media=learning.media)
    since = datetime.now(UTC) - timedelta(days=learning.retention_days)
    async with db.transaction(workspace_id) as tx:
        predicted = {str(row["message_id"]) for row in await tx.all("predicted_messages")}
        labels = _by_message(await tx.all("labels_to_learn_from"))
        for row in await tx.all("conversations_to_learn_from", since=since):
            allowed = row["may_train"] if row["may_train"] is not None else learning.consent == "all"
            if not allowed:
                writer.leave_out("consent", row["messages"])
                continue
            writer.leave_out("retention", row["old"])
            if row["old"] < row["messages"]:
                messages = await load_messages(tx, str(row["id"]))
                await asyncio.to_thread(writer.add, row, messages, labels, predicted, since)
    return await asyncio.to_thread(writer.done)


def turns(messages: Sequence[Message], predicted: Collection[str]) -> Iterator[Turn]:
    """A conversation cut into turns, oldest first."""
    waiting: list[Message] = []
    fresh: list[Message] = []

    def turn(*, answered: bool, after: Sequence[Message] = ()) -> Turn:
        earlier = live.before(messages, waiting[0])
        return Turn(tuple(waiting), tuple(fresh), tuple(earlier), answered, _team(after))

    for at, message in enumerate(messages):
        if message.author == "customer":
            waiting.append(message)
            fresh.append(message)
            if message.id in predicted:
                yield turn(answered=True, after=messages[at + 1 :])
                fresh = []
                if not message.decision:  # which it has where a person is to answer: the bot has
                    waiting = []
        elif ends_turn(message):
            if fresh:
                yield turn(answered=True, after=messages[at:])
            waiting, fresh = [], []
    if fresh:
        yield turn(answered=False)


def _team(after: Sequence[Message]) -> str | None:
    """What the first answer of the bot says about the team, where nobody wrote in between."""
    for message in after:
        if message.author == "customer":
            return None
        if message.decision:
            team = (message.decision.get("policy") or {}).get("team")
            return team if isinstance(team, str) else None
    return None


def read_of(turn: Turn, asked: Question) -> tuple[str, list[str]]:
    """A turn's text and history as a model reads them live, with what people corrected, and masked.

    Masked before what was seen is cut: a number that is cut in two is none that would be found.
    """
    masked = replace(
        asked, text=guard.mask(asked.text), seen=guard.mask(asked.seen), earlier=guard.mask(asked.earlier),
        chosen=guard.mask(asked.chosen),
    )  # fmt: skip
    read = live.as_read(masked, turn.earlier)
    return read.text, [guard.mask(said) for said in read.history if said]


def moment(at: datetime) -> str:
    """A time as text that sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _by_message(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["value"] is not None:
            found.setdefault(str(row["message_id"]), {})[row["head"]] = row
    return found


class _Writer:
    """Gathers samples, links their files, and writes everything when it is complete."""

    def __init__(self, blobs: Blobs, workspace_id: str, folder: Path, *, media: bool) -> None:
        self.blobs, self.workspace_id, self.folder, self.media = blobs, workspace_id, folder, media
        self.lines: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self.facts: dict[str, dict[str, Any]] = {}
        self.counts = dict.fromkeys(("turns", "corrections", "pictures", "sounds", "files_gone"), 0)
        self.left_out: dict[str, int] = {}
        (folder / MEDIA).mkdir(parents=True, exist_ok=True, mode=0o700)

    def leave_out(self, why: str, count: int) -> None:
        if count:
            self.left_out[why] = self.left_out.get(why, 0) + count

    def add(
        self,
        row: Row,
        messages: Sequence[Message],
        labels: Mapping[str, Mapping[str, Row]],
        predicted: Collection[str],
        since: datetime,
    ) -> None:
        """All turns of a conversation that are new enough and have been dealt with, or labelled."""
        group, apart = str(row["contact_id"]), held_out(str(row["contact_id"]))
        # what is older is not context either; the query has counted it
        for turn in turns([message for message in messages if message.created_at >= since], predicted):
            asked = live.question_of(turn.messages, turn.earlier, language="en")
            text, history = read_of(turn, asked)
            # of two messages of a turn, the later one's label is nearer to the answer
            rows = {head: label for message in turn.fresh for head, label in labels.get(message.id, {}).items()}
            said = {head: label["value"] for head, label in rows.items()}
            if not turn.answered and not said:
                self.leave_out("unanswered", len(turn.fresh))
                continue
            if live.says_nothing(asked) and not said:
                self.leave_out("small_talk", len(turn.fresh))  # live, no model's reading of it is kept either
                continue
            files = self._files(turn.messages)
            sample: dict[str, Any] = {"id": turn.id(predicted), "text": text, **files, "group": group}
            if not text and not files:
                self.leave_out("empty", len(turn.fresh))
                continue
            sample |= {"history": history} if history else {}
            sample |= {"labels": said} if said else {}
            self._count(turn)
            self.lines["heldout" if apart else "train" if said else "unlabelled"].append(sample)
            if apart or said:
                language = detect_language(text, default=cast(Language, row["language"] or "en"))
                at = max((label["created_at"] for label in rows.values()), default=None)
                self.facts[sample["id"]] = {
                    "language": language, "team": turn.team or row["team"], "labelled_at": at and moment(at),
                }  # fmt: skip

    def _count(self, turn: Turn) -> None:
        self.counts["turns"] += 1
        self.counts["corrections"] += sum(
            stored.corrected_by is not None
            for message in turn.fresh for part in message.parts for stored in part.artifacts
        )  # fmt: skip

    def _files(self, messages: Sequence[Message]) -> dict[str, str]:
        """The first ready picture and the first ready sound, by name below the folder."""
        found: dict[str, str] = {}
        for part in (part for message in messages for part in message.parts) if self.media else ():
            if part.kind in ("image", "audio") and part.kind not in found and part.state == "ready" and part.blob:
                name = f"{MEDIA}/{part.blob}{_SUFFIX.get(part.mime) or mimetypes.guess_extension(part.mime) or ''}"
                if self._link(part.blob, self.folder / name):
                    found[part.kind] = name
                    self.counts["pictures" if part.kind == "image" else "sounds"] += 1
        return found

    def _link(self, key: str, target: Path) -> bool:
        """False when the file is gone: its turn has one modality less."""
        if target.exists():
            return True
        try:
            source = self.blobs.path(self.workspace_id, key)
        except NotFound:
            self.counts["files_gone"] += 1
            return False
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without hard links
            fresh = target.with_name(f".{target.name}")
            shutil.copyfile(source, fresh)
            os.replace(fresh, target)
        return True

    def done(self) -> Exported:
        for split in SPLITS:
            lines = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in self.lines[split])
            _write(self.folder / f"{split}.jsonl", "".join(lines))
        _write(self.folder / FACTS, json.dumps(self.facts, ensure_ascii=False, indent=1))
        labelled = [line for line in (*self.lines["train"], *self.lines["heldout"]) if "labels" in line]
        every = [line for lines in self.lines.values() for line in lines]
        used = {line[kind] for line in every for kind in ("image", "audio") if kind in line}
        for path in (self.folder / MEDIA).iterdir():  # of an earlier export
            if _OURS.fullmatch(path.name) and f"{MEDIA}/{path.name}" not in used:
                path.unlink()
        counts = {
            **{name: len(self.lines[split]) for name, split in _COUNTED.items()},
            "held_out_labelled": sum("labels" in line for line in self.lines["heldout"]),
            **self.counts,
            "left_out": self.left_out,
        }
        identity = hashlib.sha256(json.dumps(labelled, sort_keys=True).encode()).hexdigest()
        return Exported(self.folder, counts, identity)


_COUNTED: Mapping[str, Split] = {"train": "train", "unlabelled": "unlabelled", "held_out": "heldout"}


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
