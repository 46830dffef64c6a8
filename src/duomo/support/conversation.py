"""What may happen to a conversation: its statuses, what is said in it, and who may say it.

Every function works in its caller's transaction, takes the conversation's row lock first, and leaves an event for
every change, so that what is stored and what is shown cannot part.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from duomo.errors import Conflict, InputError, NotFound
from duomo.knowledge.index import search_vector
from duomo.store.postgres import Row, Tx, pg_array
from duomo.support import handoff, wording
from duomo.types import (
    Artifact,
    Author,
    Citation,
    Language,
    Message,
    MessageKind,
    Part,
    PartKind,
    Status,
    StoredArtifact,
)

By = Literal["customer", "bot", "agent", "system"]

TRANSITIONS: Mapping[tuple[Status, str], Status] = {
    ("pending", "hand_off"): "open",
    ("pending", "take_over"): "open",
    ("pending", "snooze"): "snoozed",
    ("pending", "resolve"): "resolved",
    ("open", "hand_off"): "open",
    ("open", "take_over"): "open",
    ("open", "assign"): "open",
    ("open", "return_to_bot"): "pending",
    ("open", "snooze"): "snoozed",
    ("open", "resolve"): "resolved",
    ("snoozed", "hand_off"): "open",
    ("snoozed", "assign"): "snoozed",
    ("snoozed", "reopen"): "open",
    ("snoozed", "resolve"): "resolved",
    ("resolved", "hand_off"): "open",
    ("resolved", "reopen"): "open",
}
"""What a person or the bot does to a conversation; what a customer's message does stands in `ON_MESSAGE`."""

LISTENING = -5  # priority of reading along, below that of answering

ON_MESSAGE: Mapping[Status, Status] = {"pending": "pending", "open": "open", "snoozed": "open", "resolved": "pending"}


@dataclass(frozen=True, slots=True)
class Settings:
    """A workspace's settings; what its row does not say has these values."""

    title: Mapping[str, str] = field(default_factory=lambda: {"zh": "在线客服", "en": "Customer service"})
    greeting: Mapping[Language, str] = field(default_factory=lambda: {**wording.SENTENCES["welcome"]})
    bot_name: Mapping[str, str] = field(default_factory=lambda: {"zh": "智能助手", "en": "Assistant"})
    languages: Sequence[Language] = ("zh", "en")
    max_files: int = 4
    max_bytes: int = 20_000_000  # a file
    max_audio_s: int = 120
    keep_originals: bool = False
    holding_after_s: float = 20.0  # a turn waits this long for pictures and voice before it says so
    mask_llm_input: bool = False  # take personal data out of what a language model is sent

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Settings:
        return cls(**{name: value for name, value in stored.items() if name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file as it was sent: stored, not yet looked at."""

    kind: PartKind
    mime: str
    name: str
    blob_key: str
    size: int


@dataclass(frozen=True, slots=True)
class Event:
    seq: int
    kind: str  # message | update | delta | turn | status
    data: Mapping[str, Any]
    private: bool
    message: Message | None = None  # of a `message` or `update`: as it is now, not as it was then


def allowed_actions(status: Status) -> tuple[str, ...]:
    """What an agent may do; handing over is the bot's and the customer's."""
    return tuple(action for (of, action) in TRANSITIONS if of == status and action != "hand_off")


def next_status(status: Status, action: str) -> Status:
    """
    Raises:
        InputError: there is no such action.
        Conflict: not in this status; says which are allowed.
    """
    if action not in {name for _, name in TRANSITIONS}:
        raise InputError(f"there is no action {action!r}; there are: {', '.join(sorted({a for _, a in TRANSITIONS}))}")
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        article = "an" if status == "open" else "a"
        raise Conflict(
            f"cannot {action.replace('_', ' ')} {article} {status} conversation; "
            f"allowed: {', '.join(allowed_actions(status))}"
        ) from None


# Opening, writing -------------------------------------------------------------------------------------------------


async def open_conversation(
    tx: Tx, *, id: str, contact_id: str, language: Language | None, channel: str = "web"
) -> tuple[Row, bool]:
    """The conversation of that id, made when it is not there.

    Raises:
        Conflict: the id belongs to someone else.
    """
    made = await tx.one("insert_conversation", id=id, contact_id=contact_id, language=language, channel=channel)
    if made is not None:
        return made, True
    row = await tx.one("conversation", id=id)
    if row is None or str(row["contact_id"]) != str(contact_id):
        raise Conflict("this conversation id is taken. Make a new one.")
    return row, False


async def receive(
    tx: Tx,
    *,
    conversation_id: str,
    message_id: str,
    author: Author,
    text: str,
    language: Language | None,
    files: Sequence[IncomingFile],
    fingerprint: bytes,
    agent_id: str | None = None,
    kind: MessageKind = "text",
    private: bool = False,
    holding_after_s: float = 20.0,
) -> tuple[str, bool]:
    """Store a message, its files, its event and the jobs it needs, or find it stored already.

    Args:
        fingerprint: SHA-256 of what the client sent; the same id with another one is a clash, not a retry.
    Returns:
        The message's id and whether it was new.
    Raises:
        NotFound: no such conversation.
        Conflict: the id is taken by another message.
        InputError: neither text nor a file.
    """
    row = await _locked(tx, conversation_id)
    earlier = await tx.one("message_fingerprint", id=message_id)
    if earlier is not None:
        same = str(earlier["conversation_id"]) == str(conversation_id) and earlier["author"] == author
        if not same or earlier["fingerprint"] != fingerprint:
            raise Conflict("this message id is taken by another message. Send yours with a new id.")
        return message_id, False
    if not text.strip() and not files:
        raise InputError("the message is empty. Write something or add a file.")
    await store_message(
        tx, conversation_id, id=message_id, author=author, kind="note" if private else kind, text=text,
        language=language or row["language"], agent_id=agent_id, fingerprint=fingerprint,
    )  # fmt: skip
    await _store_files(tx, row, message_id, files)
    if author == "customer":
        await _after_customer(tx, row, waits_for_media=bool(files), holding_after_s=holding_after_s)
    elif author == "agent" and not private:
        await tx.run("set_waiting", id=conversation_id, waiting=False)
    return message_id, True


async def agent_reply(
    tx: Tx,
    *,
    conversation_id: str,
    message_id: str,
    agent_id: str,
    text: str,
    language: Language | None,
    files: Sequence[IncomingFile],
    fingerprint: bytes,
    after: int,
    private: bool = False,
) -> tuple[str, bool]:
    """An agent's reply or private note. A reply takes the conversation over from the bot and reopens a resolved one.

    Args:
        after: the last sequence number the agent has seen.
    Raises:
        Conflict: code "answered_meanwhile" when another agent replied after `after`.
    """
    row = await _locked(tx, conversation_id)
    if not private and await tx.one("message_fingerprint", id=message_id) is None:
        other = await tx.value("answered_by_another", conversation_id=conversation_id, after=after, agent_id=agent_id)
        if other is not None:
            raise Conflict(
                f"{other} answered meanwhile. Read it, then send again to insist.", code="answered_meanwhile"
            )
        action = {"pending": "take_over", "resolved": "reopen"}.get(row["status"])
        if action or row["assignee_id"] is None:
            await act(
                tx, conversation_id=conversation_id, action=action or "assign", by="agent", agent_id=agent_id,
                assignee_id=agent_id,
            )  # fmt: skip
    return await receive(
        tx, conversation_id=conversation_id, message_id=message_id, author="agent", text=text, language=language,
        files=files, fingerprint=fingerprint, agent_id=agent_id, private=private,
    )  # fmt: skip


async def store_message(
    tx: Tx,
    conversation_id: str,
    *,
    id: str | None = None,
    author: Author,
    kind: MessageKind,
    text: str,
    language: Language | None,
    agent_id: str | None = None,
    citations: Sequence[Citation] = (),
    options: Sequence[str] = (),
    decision: Mapping[str, Any] | None = None,
    fingerprint: bytes | None = None,
) -> int:
    """Add a message and its event; the caller holds the conversation's row lock.

    Returns:
        Its sequence number.
    """
    return cast(
        int,
        await tx.value(
            "insert_message", id=id or str(uuid.uuid4()), conversation_id=conversation_id, author=author, kind=kind,
            agent_id=agent_id, text=text, language=language, citations=[_citation_row(c) for c in citations],
            options=list(options), decision=dict(decision or {}), fingerprint=fingerprint,
            tokens=search_vector("", text), private=kind == "note",
        ),
    )  # fmt: skip


async def append_event(
    tx: Tx, conversation_id: str, kind: str, *, message_id: str | None = None, data: Mapping[str, Any] | None = None
) -> int:
    return cast(
        int,
        await tx.value(
            "append_event", conversation_id=conversation_id, kind=kind, message_id=message_id, data=dict(data or {}),
            private=False,
        ),
    )  # fmt: skip


async def defer_turn(tx: Tx, row: Row) -> None:
    await tx.defer("turn", queue="turns", lock=str(row["id"]), args=_job_args(row))


async def defer_listen(tx: Tx, row: Row) -> None:
    """Where a person answers, the trained model only reads along."""
    await tx.defer("listen", queue="turns", lock=str(row["id"]), priority=LISTENING, args=_job_args(row))


async def _store_files(tx: Tx, row: Row, message_id: str, files: Sequence[IncomingFile]) -> None:
    for position, file in enumerate(files):
        await tx.run("insert_blob", key=file.blob_key, mime=file.mime, size=file.size)
        part_id = await tx.value(
            "insert_part", message_id=message_id, position=position, kind=file.kind, mime=file.mime, name=file.name,
            incoming=file.blob_key,
        )  # fmt: skip
        await tx.defer(
            "perceive", queue="media",
            args={"workspace_id": str(row["workspace_id"]), "part_id": str(part_id)},
        )  # fmt: skip


async def _after_customer(tx: Tx, row: Row, *, waits_for_media: bool, holding_after_s: float) -> None:
    status = ON_MESSAGE[row["status"]]
    if status != row["status"]:
        await _change(tx, row, status, by="customer", fresh=status == "pending")
    if status == "open":
        await tx.run("set_waiting", id=row["id"], waiting=True)
        await defer_listen(tx, row)
        return
    if waits_for_media:
        at = datetime.now(UTC) + timedelta(seconds=holding_after_s)
        # Without a lock: a job that waits for its time would hold up every later one of the same lock.
        await tx.defer("turn_deadline", queue="turns", at=at, args=_job_args(row))
    await defer_turn(tx, row)


# Acting -----------------------------------------------------------------------------------------------------------


async def act(
    tx: Tx,
    *,
    conversation_id: str,
    action: str,
    by: By,
    agent_id: str | None = None,
    reason: str | None = None,
    until: datetime | None = None,
    assignee_id: str | None = None,
    brief: Mapping[str, Any] | None = None,
    team: str | None = None,
    priority: str = "normal",
) -> Row:
    """Change a conversation's status or assignee and say so in it.

    Args:
        reason: of `hand_off`: requested, low_confidence, repeated_failure, emergency, policy, system.
        until: of `snooze`, in the future.
        assignee_id: of `assign`; None leaves the conversation to nobody.
        brief: of `hand_off`, what the next person should know; made from the conversation when not given.
        team, priority: of `hand_off`, whom it is for and how urgent it is.
    Returns:
        The conversation as it is then.
    Raises:
        InputError: no such action, or `until` is missing or past.
        Conflict: not allowed in this status.
    """
    row = await _locked(tx, conversation_id)
    status = next_status(row["status"], action)
    match action:
        case "hand_off":
            await _hand_off(tx, row, by=by, reason=reason or "requested", brief=brief)
            await tx.run("set_team", id=conversation_id, team=team, priority=priority, again=row["status"] == "open")
        case "take_over":
            if row["status"] == "pending":
                brief = await _brief(tx, conversation_id, "agent", row["language"])
            await _change(
                tx, row, status, by=by, assignee_id=agent_id, brief=brief, reason=row["handoff_reason"] or "agent"
            )
            if row["assignee_id"] != agent_id:
                await _notice(tx, row, "joined", name=await tx.value("agent_name", id=agent_id))
        case "assign":
            await _change(tx, row | {"assignee_id": assignee_id}, status, by=by)
        case "return_to_bot":
            await _return_to_bot(tx, row, by=by)
        case "snooze":
            await _snooze(tx, row, by=by, until=until)
        case "resolve":
            await _change(tx, row, status, by=by, waiting=False)
            await _notice(tx, row, "resolved")
            await store_message(
                tx, conversation_id, author="system", kind="csat", language=row["language"],
                text=wording.sentence("csat", row["language"]),
            )  # fmt: skip
        case "reopen":
            await _change(tx, row, status, by=by, assignee_id=row["assignee_id"] or agent_id)
    changed = await tx.one("conversation", id=conversation_id)
    assert changed is not None
    return changed


async def wake(tx: Tx, conversation_id: str) -> bool:
    """Open a snoozed conversation whose time has come; False when it sleeps on or is awake already."""
    row = await _locked(tx, conversation_id)
    if row["status"] != "snoozed" or row["snoozed_until"] is None or row["snoozed_until"] > datetime.now(UTC):
        return False
    await _change(tx, row, "open", by="system", waiting=True)
    return True


async def _hand_off(tx: Tx, row: Row, *, by: By, reason: str, brief: Mapping[str, Any] | None) -> None:
    if row["status"] == "open":  # a person has it already; asking again is no mistake
        await tx.run("set_waiting", id=row["id"], waiting=True)
        return
    brief = brief or await _brief(tx, str(row["id"]), reason, row["language"])
    await _change(tx, row, "open", by=by, reason=reason, brief=brief, waiting=True)
    await tx.run("set_answered", id=row["id"], seq=row["last_seq"], failures=0)
    if by != "bot":  # the bot says it in its own message
        await store_message(
            tx, str(row["id"]), author="system" if by == "system" else "bot", kind="handoff", language=row["language"],
            text=wording.sentence(f"handoff_{reason}", row["language"]),
            decision={"outcome": "handoff", "reason": reason},
        )  # fmt: skip


async def _return_to_bot(tx: Tx, row: Row, *, by: By) -> None:
    await _change(tx, row, "pending", by=by, fresh=True)
    await _notice(tx, row, "returned")
    await tx.run("skip_answered_by_agents", id=row["id"])
    await defer_turn(tx, row)


async def _snooze(tx: Tx, row: Row, *, by: By, until: datetime | None) -> None:
    if until is None or until.tzinfo is None or until <= datetime.now(UTC):
        raise InputError("snooze needs `until`, a time with its zone in the future, e.g. 2030-01-31T09:00:00Z.")
    await _change(tx, row, "snoozed", by=by, until=until, waiting=False)
    await tx.defer("wake_snoozed", queue="housekeeping", at=until, args=_job_args(row))


async def _change(
    tx: Tx,
    row: Row,
    status: Status,
    *,
    by: By,
    fresh: bool = False,
    reason: str | None = None,
    brief: Mapping[str, Any] | None = None,
    waiting: bool | None = None,
    until: datetime | None = None,
    assignee_id: str | uuid.UUID | None = None,
) -> None:
    """Write a status and its event. `fresh`: the bot starts anew, nobody is assigned."""
    assignee = None if fresh else assignee_id or row["assignee_id"]
    await tx.run(
        "set_status", id=row["id"], status=status, assignee_id=assignee, snoozed_until=until,
        handoff_reason=None if fresh else reason or row["handoff_reason"],
        brief=None if fresh else brief or row["brief"],
        waiting=False if fresh else row["waiting_since"] is not None if waiting is None else waiting,
        failures=0,
    )  # fmt: skip
    name = await tx.value("agent_name", id=assignee) if assignee else None
    await append_event(
        tx, str(row["id"]), "status",
        data={
            "status": status, "assignee": {"id": str(assignee), "name": name} if assignee else None,
            "reason": None if fresh else reason, "by": by, "snoozed_until": until.isoformat() if until else None,
        },
    )  # fmt: skip


async def _notice(tx: Tx, row: Row, which: str, **values: Any) -> None:
    await store_message(
        tx, str(row["id"]), author="system", kind="notice", language=row["language"],
        text=wording.sentence(which, row["language"], **values),
    )  # fmt: skip


async def _brief(tx: Tx, conversation_id: str, reason: str, language: Language | None) -> dict[str, Any]:
    return handoff.brief(await load_messages(tx, conversation_id), reason=reason, language=language)


# Correcting, judging ----------------------------------------------------------------------------------------------


async def correct_artifact(
    tx: Tx,
    *,
    conversation_id: str,
    artifact_id: str,
    text: str,
    by: Literal["customer", "agent"],
    agent_id: str | None = None,
) -> str:
    """Put right what was heard or read, for everybody. A customer's correction makes the bot answer that message again.

    So it does after the bot gave up because it had misheard, as long as no person has taken the conversation.

    Returns:
        The id of the message the artifact belongs to.
    Raises:
        NotFound: no such artifact in this conversation.
        InputError: the text is empty.
    """
    row = await _locked(tx, conversation_id)
    artifact = await tx.one("artifact_for_update", id=artifact_id, conversation_id=conversation_id)
    if artifact is None or (by == "customer" and artifact["author"] != "customer"):
        raise NotFound("there is no such transcript or reading in this conversation.")
    if not text.strip():
        raise InputError("the correction is empty. Write what was said or what stands there.")
    message_id = str(artifact["message_id"])
    if artifact["text"] == text.strip():
        return message_id
    await tx.run("correct_artifact", id=artifact_id, text=text.strip(), by=by, tokens=search_vector("", text))
    seq = await append_event(tx, conversation_id, "update", message_id=message_id)
    if by == "agent":
        await tx.run("keep_updated_at", id=conversation_id, updated_at=row["updated_at"])
    answered = by == "customer" and artifact["seq"] <= row["answered_seq"]
    if answered and _waits_for_nobody_in_particular(row):
        await _change(tx, row, "pending", by="customer", fresh=True)
    if answered and (row["status"] == "pending" or _waits_for_nobody_in_particular(row)):
        again = {"message_id": message_id, "seq": seq}
        await tx.defer("turn", queue="turns", lock=str(row["id"]), args=_job_args(row) | {"again": again})
    return message_id


def _waits_for_nobody_in_particular(row: Row) -> bool:
    """Whether the bot handed over for want of an answer, and nobody has begun to look at it."""
    unsure = row["handoff_reason"] in ("low_confidence", "repeated_failure")
    return bool(row["status"] == "open" and row["assignee_id"] is None and unsure)


async def set_feedback(tx: Tx, *, conversation_id: str, message_id: str, value: Literal["up", "down"] | None) -> None:
    """
    Raises:
        NotFound: no such message of the bot's.
    """
    await _locked(tx, conversation_id)
    if await tx.value("has_message", id=message_id, conversation_id=conversation_id) != "bot":
        raise NotFound("there is no such answer in this conversation.")
    if await tx.run("set_feedback", id=message_id, conversation_id=conversation_id, value=value):
        await append_event(tx, conversation_id, "update", message_id=message_id)


async def set_csat(tx: Tx, *, conversation_id: str, score: int, comment: str | None = None) -> None:
    """
    Raises:
        InputError: the score is not 1 to 5.
    """
    if not 1 <= score <= 5:
        raise InputError(f"the score is {score}; it goes from 1 to 5.")
    row = await _locked(tx, conversation_id)
    await tx.run("store_csat", id=conversation_id, score=score, comment=comment)
    await _notice(tx, row, "thanks_for_rating")


# Reading ----------------------------------------------------------------------------------------------------------


async def load_messages(
    tx: Tx, conversation_id: str, ids: Sequence[str] | None = None, *, after: int = 0
) -> list[Message]:
    """Messages with parts, artifacts and citations, oldest first; all, or those of `ids`, after a sequence number."""
    wanted = None if ids is None else pg_array(uuid.UUID(str(i)) for i in ids)
    rows = await tx.all("messages", conversation_id=conversation_id, ids=wanted, after=after)
    return [_message(row) for row in rows]


async def load_events(tx: Tx, conversation_id: str, after: int, include_private: bool, limit: int = 200) -> list[Event]:
    """Events after a sequence number, their messages as they are now."""
    rows = await tx.all(
        "events_after", conversation_id=conversation_id, after=after, include_private=include_private, limit=limit
    )
    ids = {str(r["message_id"]) for r in rows if r["kind"] in ("message", "update")}
    messages = {m.id: m for m in await load_messages(tx, conversation_id, sorted(ids))} if ids else {}
    return [Event(r["seq"], r["kind"], r["data"], r["private"], messages.get(str(r["message_id"]))) for r in rows]


def fingerprint_of(text: str, files: Sequence[IncomingFile]) -> bytes:
    """SHA-256 over what a client sent, to tell its retry from another message."""
    content = "\x00".join([text, *(f"{f.kind}\x01{f.name}\x01{f.blob_key}" for f in files)])
    return hashlib.sha256(content.encode()).digest()


def _message(row: Row) -> Message:
    return Message(
        id=str(row["id"]),
        conversation_id=str(row["conversation_id"]),
        seq=row["seq"],
        author=row["author"],
        kind=row["kind"],
        text=row["text"],
        created_at=row["created_at"],
        language=row["language"],
        agent_id=str(row["agent_id"]) if row["agent_id"] else None,
        agent_name=row["agent_name"],
        parts=tuple(_part(part) for part in row["parts"]),
        citations=tuple(Citation(**citation) for citation in row["citations"]),
        options=tuple(row["options"]),
        decision=row["decision"],
        feedback=row["feedback"],
    )


def _part(row: Mapping[str, Any]) -> Part:
    error = row["error"] or {}
    names = ("id", "kind", "state", "mime", "name", "blob", "width", "height", "duration_s")
    plain = {name: row[name] for name in names}
    artifacts = tuple(_stored_artifact(artifact) for artifact in row["artifacts"])
    return Part(**plain, error=error.get("message"), error_code=error.get("code"), artifacts=artifacts)


def _stored_artifact(row: Mapping[str, Any]) -> StoredArtifact:
    names = ("kind", "text", "confidence", "model", "version", "duration_ms", "data")
    artifact = Artifact(**{name: row[name] for name in names})
    return StoredArtifact(row["id"], artifact, original_text=row["original_text"], corrected_by=row["corrected_by"])


def _citation_row(citation: Citation) -> dict[str, Any]:
    return {name: getattr(citation, name) for name in Citation.__slots__}


def _job_args(row: Row) -> dict[str, Any]:
    return {"workspace_id": str(row["workspace_id"]), "conversation_id": str(row["id"])}


async def _locked(tx: Tx, conversation_id: str) -> Row:
    row = await tx.one("conversation_for_update", id=conversation_id)
    if row is None:
        raise NotFound("there is no such conversation.")
    return row
