"""One turn: everything a customer wrote since the last answer goes in, one answer or a person comes out.

A turn may be killed at any line and run again, and two may be queued for the same messages. What it says has an id
made from what it answers, so that the database refuses the same answer twice, and before anything is shown the
conversation's row is locked and looked at again: when a person has taken over, the turn ends without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from duomo.models.embed import Vectors
from duomo.models.features import Floats
from duomo.models.language import detect_language
from duomo.models.llm import Attachment
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, PgArray, Row, Tx, pg_array
from duomo.support import handoff, wording
from duomo.support.alarms import raise_alarm
from duomo.support.answer import Answerer, search_text
from duomo.support.conversation import (
    Settings,
    act,
    append_event,
    load_messages,
    store_message,
)
from duomo.support.intent import SMALL_TALK, intent_of, leans_on_earlier, says_only
from duomo.support.outcome import Delta, Outcome, Question
from duomo.support.past import words_of
from duomo.support.policy import Policy, load_policy
from duomo.support.predict import Reader, Turn, Understood, load_files, store
from duomo.support.registry import Role, current
from duomo.support.rollout import chosen
from duomo.types import Artifact, Language, Message, Part, PartKind, Status

EARLIER = 40  # messages before a turn that are read for its context
DELTA_S = 0.04  # deltas of a streamed answer are joined for so long before they are stored and shown
SENT_AS: Mapping[PartKind, str] = {"image": "picture", "audio": "voice", "document": "document"}
_IDS = uuid.UUID("6f0d3b1e-5d0a-4c7e-9a53-0f7b8c1e2d4a")  # namespace of the ids made here


@dataclass(frozen=True, slots=True)
class Desk:
    """What a turn works with."""

    db: Database
    blobs: Blobs
    answerer: Answerer
    reader: Reader | None = None  # opens the workspace's trained models


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits for an answer.

    Attributes:
        upto: sequence number of the last message in it; for a correction, of the event that made it.
        key: what the answer's id is made from.
        policy, models, knowledge: what holds now: the rules, the deployments by role, the articles' version.
    """

    row: Row
    settings: Settings
    earlier: Sequence[Message]
    messages: Sequence[Message]
    upto: int
    key: str
    again: bool = False
    policy: Policy | None = None
    models: Mapping[Role, Row] = field(default_factory=dict)
    knowledge: int = 0

    @property
    def unread(self) -> list[Part]:
        return [part for message in self.messages for part in message.parts if part.state == "received"]

    def id_of(self, what: str) -> str:
        return str(uuid.uuid5(_IDS, f"{self.row['id']} {what} {self.key}"))


class TakenOver(Exception):
    """A person has the conversation."""


async def run_turn(
    desk: Desk, workspace_id: str, conversation_id: str, *, again: Mapping[str, Any] | None = None
) -> Outcome | None:
    """Answer what waits for an answer.

    Args:
        again: {message_id, seq} of a message to answer once more, since what was heard or read in it was corrected.
    Returns:
        What was said; None when there was nothing to say: no open question, a person's conversation, or files that
        are still being read, whose job defers the next turn.
    """
    pending = await _pending(desk.db, workspace_id, conversation_id, again)
    if pending is None:
        return None
    if pending.unread:
        await _announce(desk, workspace_id, pending, "waiting")
        return None
    question, read = await understand(desk, workspace_id, pending)
    outcome: Outcome | None = None
    try:
        if desk.answerer.streams:
            await _announce(desk, workspace_id, pending, "working")
        async with contextlib.aclosing(desk.answerer.answer(workspace_id, question)) as events:
            async for text_or_outcome in _coalesced(events):
                if isinstance(text_or_outcome, Outcome):
                    outcome = text_or_outcome
                else:
                    await _show(desk, workspace_id, pending, text_or_outcome.text)
        assert outcome is not None
        if not await _finish(desk, workspace_id, pending, question, outcome):
            return None
    except TakenOver:
        return None
    shadow = pending.models.get("shadow")
    if desk.reader and shadow and not said_nothing(outcome, question):  # after the answer, which does not wait for it
        seen = await desk.reader.read(workspace_id, shadow, read)
        async with desk.db.transaction(workspace_id) as tx:
            await _keep(tx, pending, seen, question.language)
    return outcome


async def listen(desk: Desk, workspace_id: str, conversation_id: str) -> bool:
    """Understand what a customer writes to a person, for the person's eyes and to learn from; nothing is said.

    Returns:
        False when there was nothing to understand: no model, no message, small talk, or files that are still being
        read.
    """
    pending = await _pending(desk.db, workspace_id, conversation_id, None, status="open")
    if pending is None or pending.unread or not pending.models:
        return False
    question, _ = await understand(desk, workspace_id, pending)
    understood, message_id = question.understood, pending.messages[-1].id
    if understood is None or says_nothing(question):
        return False
    seen = {"model": understood.model(), "understood": understood.record(message_id), "language": question.language}
    async with desk.db.transaction(workspace_id) as tx:
        await tx.one("conversation_for_update", id=conversation_id)
        await _keep(tx, pending, understood, question.language)
        await tx.run("set_decision", id=message_id, decision=seen)
        await append_event(tx, conversation_id, "update", message_id=message_id)
    return True


async def hold(desk: Desk, workspace_id: str, conversation_id: str) -> bool:
    """Say what a turn still waits for, once; False when it waits for nothing."""
    pending = await _pending(desk.db, workspace_id, conversation_id, None)
    if pending is None or not pending.unread:
        return False
    language = _language(pending)
    text = wording.sentence("holding", language, what=wording.parts([p.kind for p in pending.unread], language))
    async with desk.db.transaction(workspace_id) as tx:
        if not await _still_ours(tx, pending) or await tx.one("message_fingerprint", id=pending.id_of("holding")):
            return False
        await store_message(
            tx, conversation_id, id=pending.id_of("holding"), author="bot", kind="holding", text=text, language=language
        )
    return True


async def give_up(db: Database, workspace_id: str, conversation_id: str) -> bool:
    """A job of this conversation failed for good: its customer gets a person. False when there was nothing open."""
    pending = await _pending(db, workspace_id, conversation_id, None)
    if pending is None:
        return False
    async with db.transaction(workspace_id) as tx:
        if not await _still_ours(tx, pending):
            return False
        await act(tx, conversation_id=conversation_id, action="hand_off", by="system", reason="system")
    return True


# Reading ----------------------------------------------------------------------------------------------------------


async def _pending(
    db: Database,
    workspace_id: str,
    conversation_id: str,
    again: Mapping[str, Any] | None,
    *,
    status: Status = "pending",
) -> Pending | None:
    """What the customer wrote since the last answer, the bot's or, in an open conversation, a person's."""
    async with db.transaction(workspace_id) as tx:
        row = await tx.one("conversation_and_settings", id=conversation_id)
        if row is None or row["status"] != status:
            return None
        begins = await tx.value("context_begins", id=conversation_id, upto=row["answered_seq"], messages=EARLIER)
        messages = await load_messages(tx, conversation_id, after=begins)
        policy, models = await load_policy(tx), await current(tx)
        knowledge = await tx.value("knowledge_version") or 0
    settings = Settings.of(row["settings"])
    if again:
        wanted = [m for m in messages if m.id == again["message_id"]]
        key = f"again {again['seq']}"
        if not wanted:
            return None
        return Pending(
            row, settings, before(messages, wanted[0]), wanted, wanted[0].seq, key, again=True, policy=policy,
            models=models, knowledge=knowledge,
        )  # fmt: skip
    replies = [m.seq for m in messages if m.author == "agent" and m.kind != "note"] if status == "open" else []
    since = max([row["answered_seq"], *replies])
    waiting = [m for m in messages if m.author == "customer" and m.seq > since]
    if not waiting:
        return None
    key = str(waiting[-1].seq)
    return Pending(
        row, settings, before(messages, waiting[0]), waiting, waiting[-1].seq, key, policy=policy, models=models,
        knowledge=knowledge,
    )  # fmt: skip


def before(messages: Sequence[Message], first: Message) -> list[Message]:
    """The context of a turn that begins with `first`.

    Args:
        messages: of its conversation, in order; at least this context.
    """
    return [message for message in messages if message.seq < first.seq][-EARLIER:]


async def understand(desk: Desk, workspace_id: str, pending: Pending) -> tuple[Question, Turn]:
    """Everything the open messages say, written, spoken and shown, as one question; and what a model reads of it."""
    files: Mapping[str, Floats] = {}
    rows: list[Row] = []
    if _has_files(pending):
        async with desk.db.transaction(workspace_id) as tx:
            rows = await tx.all("part_embeddings", message_ids=_ids(pending.messages))
            files = await load_files(tx, _ids(pending.messages)) if pending.models else {}
    images = [np.array(row["embedding"].strip("[]").split(","), dtype=np.float32) for row in rows]
    parts = [part for message in pending.messages for part in message.parts]
    attachments = await asyncio.to_thread(_attachments, desk, workspace_id, parts) if desk.answerer.streams else []
    question = question_of(
        pending.messages,
        pending.earlier,
        language=_language(pending),
        images=images,
        failures=pending.row["failures"],
        attachments=attachments,
        mask=pending.settings.mask_llm_input,
    )
    read = as_read(question, pending.earlier, files)
    understood = await _understood(desk, workspace_id, pending, read)
    return replace(question, policy=pending.policy, understood=understood), read


async def _understood(desk: Desk, workspace_id: str, pending: Pending, read: Turn) -> Understood | None:
    """What the conversation's model says; where it cannot be opened, what the active one says, and an alarm."""
    own, active = chosen(pending.models, str(pending.row["id"])), pending.models.get("active")
    for row in [own] if own is active else [own, active]:
        if row is None or desk.reader is None:
            continue
        understood = await desk.reader.read(workspace_id, row, read)
        if understood is not None:
            return understood
        async with desk.db.transaction(workspace_id) as tx:
            await raise_alarm(tx, "model", row["fingerprint"][:12], {"name": row["name"], "role": row["role"]})
    return None


def question_of(
    messages: Sequence[Message],
    earlier: Sequence[Message],
    *,
    language: Language,
    images: Sequence[Vectors] = (),
    failures: int = 0,
    attachments: Sequence[Attachment] = (),
    mask: bool = False,
) -> Question:
    """What a turn's messages ask, after those `before` it: while it is answered, and when it becomes a sample."""
    parts = [part for message in messages for part in message.parts]
    last_bot = next((m for m in reversed(earlier) if m.author == "bot" and m.kind != "holding"), None)
    return compose(
        [m.text for m in messages],
        [stored.artifact for part in parts for stored in part.artifacts],
        language=language,
        images=images,
        unreadable=[part.kind for part in parts if part.state == "refused"],
        earlier=_earlier_question(earlier),
        options=last_bot.options if last_bot else (),
        failures=failures,
        attachments=attachments,
        mask=mask,
        sent=_sent(messages),
    )


def as_read(question: Question, earlier: Sequence[Message], files: Mapping[str, Floats] | None = None) -> Turn:
    """What a model reads of a turn, when it is served and when it learns."""
    return Turn(search_text(question), files or {}, tuple(words_of(m) for m in earlier if m.author == "customer"))


def _sent(messages: Sequence[Message]) -> tuple[str, ...]:
    """What of it could be read."""
    kinds = {SENT_AS[part.kind] for message in messages for part in message.parts if part.state == "ready"}
    written = ["text"] if any(message.text.strip() for message in messages) else []
    return (*written, *sorted(kinds))


def compose(
    texts: Sequence[str],
    artifacts: Sequence[Artifact],
    *,
    language: Language,
    images: Sequence[Vectors] = (),
    unreadable: Sequence[str] = (),
    earlier: str = "",
    options: Sequence[str] = (),
    failures: int = 0,
    attachments: Sequence[Attachment] = (),
    mask: bool = False,
    sent: tuple[str, ...] = ("text",),
) -> Question:
    """A question from what was written and what was heard and read."""
    heard = [a.text for a in artifacts if a.kind == "transcript" and a.text.strip()]
    seen = [a.text for a in artifacts if a.kind in ("ocr", "document_text") and a.text.strip()]
    written = [text.strip() for text in texts if text.strip()]
    text = "\n".join([*written, *heard])
    chosen = text if text in options else ""
    leans = not chosen and earlier and not seen and not images and leans_on_earlier(text)
    return Question(
        text=text,
        language=language,
        seen="\n".join(seen),
        spoken=bool(heard),
        earlier=earlier if chosen or leans else "",
        images=images,
        chosen=chosen,
        failures=failures,
        unreadable=unreadable,
        artifacts=artifacts,
        attachments=attachments,
        mask=mask,
        sent=sent,
    )


def _language(pending: Pending) -> Language:
    """That of what was last written or said; a code or a picture alone keeps the conversation's."""
    default: Language = pending.row["language"] or pending.messages[-1].language or "en"
    said = [message.text for message in pending.messages]
    said += [
        a.artifact.text
        for m in pending.messages
        for p in m.parts
        for a in p.artifacts
        if a.artifact.kind == "transcript"
    ]
    return detect_language("\n".join(said), default=default)


def _earlier_question(messages: Sequence[Message]) -> str:
    """The last thing the customer asked that stood on its own."""
    asked = [words_of(m) for m in messages if m.author == "customer"]
    return next((text for text in reversed(asked) if text and not leans_on_earlier(text)), "")


def _has_files(pending: Pending) -> bool:
    return any(message.parts for message in pending.messages)


def _attachments(desk: Desk, workspace_id: str, parts: Sequence[Part]) -> list[Attachment]:
    ready = [part for part in parts if part.blob and part.kind in ("image", "audio")]
    return [Attachment(p.kind, p.mime, desk.blobs.get(workspace_id, p.blob or "")) for p in ready]


def _ids(messages: Sequence[Message]) -> PgArray:
    return pg_array(uuid.UUID(message.id) for message in messages)


# Saying -----------------------------------------------------------------------------------------------------------


async def _still_ours(tx: Tx, pending: Pending) -> bool:
    """Lock the conversation; False when a person has it, or what waited has been answered."""
    row = await tx.one("conversation_for_update", id=pending.row["id"])
    return row is not None and row["status"] == "pending" and (pending.again or row["answered_seq"] < pending.upto)


async def _announce(desk: Desk, workspace_id: str, pending: Pending, state: str) -> None:
    kinds = list(dict.fromkeys(part.kind for part in pending.unread))
    async with desk.db.transaction(workspace_id) as tx:
        if not await _still_ours(tx, pending):
            raise TakenOver
        await append_event(tx, str(pending.row["id"]), "turn", data={"state": state, "waiting_for": kinds})


async def _show(desk: Desk, workspace_id: str, pending: Pending, text: str) -> None:
    async with desk.db.transaction(workspace_id) as tx:
        if not await _still_ours(tx, pending):
            raise TakenOver
        data = {"message_id": pending.id_of("answer"), "text": text}
        await append_event(tx, str(pending.row["id"]), "delta", data=data)


async def _finish(desk: Desk, workspace_id: str, pending: Pending, question: Question, outcome: Outcome) -> bool:
    conversation_id = str(pending.row["id"])
    async with desk.db.transaction(workspace_id) as tx:
        if not await _still_ours(tx, pending) or await tx.one("message_fingerprint", id=pending.id_of("answer")):
            return False
        if not said_nothing(outcome, question):
            await _keep(tx, pending, question.understood, question.language)
        if question.language != pending.row["language"]:
            await tx.run("set_language", id=conversation_id, language=question.language)
        await store_message(
            tx, conversation_id, id=pending.id_of("answer"), author="bot", kind=outcome.kind, text=outcome.text,
            language=question.language, citations=outcome.citations, options=outcome.options,
            decision=_decision(pending, question, outcome),
        )  # fmt: skip
        if _has_files(pending) or desk.answerer.streams:
            await append_event(tx, conversation_id, "turn", data={"state": "done", "waiting_for": []})
        failures = pending.row["failures"] + 1 if outcome.failed else 0
        await tx.run("set_answered", id=conversation_id, seq=pending.upto, failures=failures)
        reason = outcome.handoff
        if reason:
            brief = handoff.brief([*pending.earlier, *pending.messages], reason=reason, language=question.language)
            await act(
                tx, conversation_id=conversation_id, action="hand_off", by="bot", reason=reason, brief=brief,
                team=outcome.team, priority=outcome.priority,
            )  # fmt: skip
    return True


def _decision(pending: Pending, question: Question, outcome: Outcome) -> dict[str, Any]:
    """Why it was decided so, and by which versions of model and knowledge; the policy's stands in it already."""
    understood = None if said_nothing(outcome, question) else question.understood
    return {
        **outcome.decision,
        "model": understood.model() if understood else None,
        "understood": understood.record(pending.messages[-1].id) if understood else None,
        "language": question.language,
        "knowledge": pending.knowledge,
    }


def said_nothing(outcome: Outcome, question: Question) -> bool:
    """Whether a turn was small talk or only called a person: no intent fits, and nothing is to be learned from it."""
    return outcome.decision.get("outcome") in SMALL_TALK or says_nothing(question)


def says_nothing(question: Question) -> bool:
    """The same before it is answered."""
    heard = not question.seen and set(question.sent) <= {"text", "voice"}
    return heard and says_only(intent_of(question.text), question.text)


async def _keep(tx: Tx, pending: Pending, understood: Understood | None, language: Language) -> None:
    if understood:
        await store(tx, str(pending.row["id"]), pending.messages[-1].id, understood, language)


async def _coalesced(events: AsyncIterator[Delta | Outcome]) -> AsyncIterator[Delta | Outcome]:
    """Join deltas that come faster than every `DELTA_S`; each one stored is a row, a lock and a notice."""
    text, since = "", time.monotonic()
    async for event in events:
        if isinstance(event, Delta):
            text += event.text
            if time.monotonic() - since < DELTA_S:
                continue
            yield Delta(text)
            text, since = "", time.monotonic()
        else:
            if text:
                yield Delta(text)
            yield event
