"""What people say a message is or should have been: one row each, never changed, with what the system had said.

The newest label of a message holds (view `valid_labels`); one of nothing takes back what held. A second opinion never
holds: it is asked for only to measure how far people agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from psycopg.types.json import Jsonb

from duomo.errors import Conflict, InputError, NotFound
from duomo.store.postgres import Row, Tx
from duomo.support import conversation as talk
from duomo.support import registry

Kind = Literal["head", "transcript", "ocr", "source", "answer", "handoff"]
Origin = Literal["correction", "review", "recheck", "second", "discover", "script"]
Value = str | float | bool | list[str] | None
Title = Mapping[str, str]

AUTHOR: Mapping[Kind, str] = {
    **dict.fromkeys(("head", "transcript", "ocr"), "customer"),
    **dict.fromkeys(("source", "answer", "handoff"), "bot"),
}
"""Whose message a label is about."""
ARTIFACTS: Mapping[str, tuple[str, ...]] = {"transcript": ("transcript",), "ocr": ("ocr", "document_text")}
PLACED = "intent"
"""The head whose labels a workspace may add to before it has any model."""
TITLES: Mapping[str, Title] = {
    "intent": {"zh": "意图", "en": "Intent"},
    "urgency": {"zh": "紧急程度", "en": "Urgency"},
    "low": {"zh": "低", "en": "Low"},
    "normal": {"zh": "一般", "en": "Normal"},
    "high": {"zh": "高", "en": "High"},
    "other": {"zh": "其他", "en": "None of these"},
}


# Labels -----------------------------------------------------------------------------------------------------------


async def add(
    tx: Tx,
    *,
    id: str,
    conversation_id: str,
    message_id: str,
    kind: Kind,
    value: Value,
    origin: Origin,
    head: str = "",
    artifact_id: str | None = None,
    agent_id: str | None = None,
) -> Row:
    """Store a label, or find it stored already. A corrected transcript is corrected in the same transaction.

    Args:
        id: made by the client; the same id with another content is a clash, not a retry.
        value: of a head its label; of a transcript or ocr the text; of a source the id of the right article, "" when
            none is; of an answer a better text; of a handoff whether it should have been one. None takes back what was
            said.
    Returns:
        The row, with the agent's name.
    Raises:
        NotFound: no such conversation, message, artifact or article.
        InputError: the value is not one of this kind, or the message is not one that can have it.
        Conflict: the id is taken; or a second opinion of who gave the first, on what nobody has labelled, or once more.
    """
    conversation = await tx.one("conversation_for_update", id=conversation_id)
    if conversation is None:
        raise NotFound("there is no such conversation.")
    value = value.strip() if isinstance(value, str) else value
    wanted = (conversation_id, message_id, kind, head, value, _STORED.get(origin, origin), str(agent_id))
    earlier = await tx.one("label", id=id)
    if earlier is not None:
        if _content(earlier) != wanted:
            raise Conflict("this label id is taken by another label. Send yours with a new id.")
        return earlier
    message = await _message(tx, conversation_id, message_id, kind)
    said = await _said(tx, conversation_id, message)
    match kind:
        case "head":
            value = _of_set(await label_sets(tx), head, value)
            origin = await _whose(tx, message_id, head, value, origin, agent_id)
        case "transcript" | "ocr":
            said["artifact"] = await _correct(tx, conversation_id, message_id, kind, artifact_id, value, agent_id)
        case "source":
            await _check_article(tx, value)
        case _:
            _check_type(kind, value)
    await tx.run(
        "insert_label", id=id, conversation_id=conversation_id, message_id=message_id, kind=kind, head=head,
        value=Jsonb(value), said=said, origin=origin, agent_id=agent_id,
    )  # fmt: skip
    if kind == "head" and origin != "second":
        await tx.run("suspect_labelled", message_id=message_id, head=head, value=Jsonb(value), origin=origin)
    if kind not in ARTIFACTS:  # a corrected artifact has said so itself
        await _tell(tx, conversation, message_id)
    stored = await tx.one("label", id=id)
    assert stored is not None
    return stored


async def of_conversation(tx: Tx, conversation_id: str) -> list[Row]:
    """Every label of a conversation, oldest first.

    Raises:
        NotFound: no such conversation.
    """
    if await tx.one("conversation", id=conversation_id) is None:
        raise NotFound("there is no such conversation.")
    return await tx.all("labels_of_conversation", conversation_id=conversation_id)


def _content(row: Row) -> tuple[Any, ...]:
    who = (str(row["conversation_id"]), str(row["message_id"]), row["kind"], row["head"])
    return (*who, row["value"], _STORED.get(row["origin"], row["origin"]), str(row["agent_id"]))


_STORED: Mapping[Origin, Origin] = {"review": "second"}
"""What a label may have become by being stored; for finding it again."""


async def _message(tx: Tx, conversation_id: str, message_id: str, kind: Kind) -> Row:
    message = await tx.one("message_to_label", id=message_id, conversation_id=conversation_id)
    if message is None:
        raise NotFound("there is no such message in this conversation.")
    if message["author"] != AUTHOR[kind]:
        wanted = "a customer's message" if AUTHOR[kind] == "customer" else "a message of the bot"
        raise InputError(f"a label of kind {kind} is about {wanted}; this one is of: {message['author']}.")
    return message


async def _said(tx: Tx, conversation_id: str, message: Row) -> dict[str, Any]:
    """What the system had said: prediction, answer, decision, versions."""
    answer: Row | None = message
    about = str(message["id"])
    if message["author"] == "customer":
        answer = await tx.one("answer_to_message", conversation_id=conversation_id, seq=message["seq"])
    elif understood := message["decision"].get("understood"):
        about = understood["message_id"]
    found = await tx.one("prediction_of_message", message_id=about)
    said: dict[str, Any] = {"prediction": None, "answer": None, "knowledge": await tx.value("knowledge_version")}
    if found is not None:
        model = {name: found[name] for name in ("fingerprint", "name", "role")} | {"id": str(found["model_id"])}
        said["prediction"] = {"message_id": about, "model": model, **{name: found[name] for name in _PREDICTED}}
    if answer is not None:
        decision = {name: value for name, value in answer["decision"].items() if name not in _BULKY}
        articles = [citation["article_id"] for citation in answer["citations"]]
        said["answer"] = {
            "message_id": str(answer["id"]), "kind": answer["kind"], "text": answer["text"], "articles": articles,
            "decision": decision,
        }  # fmt: skip
    return said


_PREDICTED = ("heads", "pattern", "text")
_BULKY = ("candidates", "timings_ms", "understood")


def _of_set(sets: Sequence[LabelSet], head: str, value: Value) -> Value:
    """The value as the head takes it."""
    known = next((one for one in sets if one.head == head), None)
    if known is None:
        raise InputError(f"there is no head {head!r}; there are: {', '.join(s.head for s in sets) or 'none'}.")
    if value is None:
        return None
    if known.type == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"head {head} takes a number.")
        return float(value)
    given = value if known.type == "multilabel" and isinstance(value, list) else [value]
    names = {label.name for label in known.labels}
    if not all(isinstance(name, str) and name.strip() in names for name in given):
        raise InputError(f"head {head} has no such label; there are: {', '.join(sorted(names))}. Add it first.")
    cleaned = [str(name).strip() for name in given]
    return cleaned if known.type == "multilabel" else cleaned[0]


async def _whose(tx: Tx, message_id: str, head: str, value: Value, origin: Origin, agent_id: str | None) -> Origin:
    """The origin that a label is stored with: in review, of what another agent has labelled, a second opinion.

    Two who look at the same turns at once overrule each other no more than those who are asked one after the other.
    """
    if origin not in ("review", "second"):
        return origin
    held = await tx.one("valid_label", message_id=message_id, kind="head", head=head)
    anothers = held is not None and held["agent_id"] is not None and str(held["agent_id"]) != str(agent_id)
    if origin == "review":
        return "second" if anothers else "review"
    if value is not None and not anothers:
        raise Conflict("a second opinion is of another person than the first. Send yours as a correction.")
    if value is not None and await tx.value("second_opinion", message_id=message_id, head=head, agent_id=agent_id):
        raise Conflict("you have given a second opinion on this already. Take it back (null) before you give another.")
    return "second"


async def _correct(
    tx: Tx, conversation_id: str, message_id: str, kind: Kind, artifact_id: str | None, value: Value,
    agent_id: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Returns: the artifact as it was."""
    if artifact_id is None or not isinstance(value, str):
        raise InputError(f"a label of kind {kind} needs `artifact_id` and, as its value, the right text.")
    before = await tx.one("artifact_to_label", id=artifact_id, message_id=message_id)
    if before is None or before["kind"] not in ARTIFACTS[kind]:
        raise NotFound(f"there is no such {kind} in this message.")
    await talk.correct_artifact(
        tx, conversation_id=conversation_id, artifact_id=artifact_id, text=value, by="agent", agent_id=agent_id
    )
    return {**before, "id": str(before["id"])}


async def _check_article(tx: Tx, value: Value) -> None:
    if not isinstance(value, str | None):
        raise InputError("the value of a source is an article's id, an empty text when none is right, or null.")
    if value and await tx.one("article_title", id=value) is None:
        raise NotFound("there is no such article in the knowledge.")


def _check_type(kind: Kind, value: Value) -> None:
    if kind == "handoff" and not isinstance(value, bool | None):
        raise InputError("the value of a handoff is true, false or null.")
    if kind == "answer" and not (value is None or (isinstance(value, str) and value.strip())):
        raise InputError("the value of an answer is the better text, or null.")


async def _tell(tx: Tx, conversation: Row, message_id: str) -> None:
    """Show it to whoever looks at the conversation; the customer does not, and the inbox keeps its order."""
    await tx.value(
        "append_event", conversation_id=conversation["id"], kind="update", message_id=message_id, data={}, private=True
    )
    await tx.run("keep_updated_at", id=conversation["id"], updated_at=conversation["updated_at"])


# Label sets -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelName:
    name: str
    title: Title  # language -> what people read
    known: bool  # to the active model
    count: int = 0  # valid labels that say so


@dataclass(frozen=True, slots=True)
class LabelSet:
    """What a head may be labelled as.

    Attributes:
        out_of_scope: the label that none of the others fits; it stands in `labels` too, last.
    """

    head: str
    title: Title
    type: Literal["class", "multilabel", "number"]
    out_of_scope: str | None
    labels: tuple[LabelName, ...]


async def label_sets(tx: Tx) -> list[LabelSet]:
    """The active model's heads in its order, with the labels that the workspace has added to them.

    Without a model there is one head, `intent`: a first model needs labels to learn from.
    """
    active = (await registry.current(tx)).get("active")
    heads: Mapping[str, Any] = active["manifest"]["heads"] if active else {}
    added: dict[str, dict[str, Title]] = defaultdict(dict)
    described = _described(await tx.value("workspace_settings"))
    if PLACED not in heads:
        added[PLACED] |= described
        heads = {PLACED: {"type": "class", "labels": [], "out_of_scope": "other"}, **heads}
    for row in await tx.all("intents"):
        added[row["head"]][row["name"]] = row["title"]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in await tx.all("label_counts"):
        for name in row["value"] if isinstance(row["value"], list) else [row["value"]]:
            counts[row["head"]][str(name)] += row["count"]
    return [_label_set(name, head, described, added[name], counts[name]) for name, head in heads.items()]


async def add_intent(tx: Tx, *, head: str, name: str, title: Title) -> LabelSet:
    """Add a label that people may give, though no model knows it yet; the next one will learn it.

    Raises:
        NotFound: no such head.
        InputError: the name is not one.
        Conflict: the head has it already, under another title.
    """
    known = next((one for one in await label_sets(tx) if one.head == head), None)
    if known is None:
        raise NotFound(f"there is no head {head!r}.")
    if known.type == "number":
        raise InputError(f"head {head} is a number; it has no labels to add to.")
    check_name(name)
    for label in known.labels:
        if label.name == name:
            if any(label.title.get(language) != text for language, text in title.items()):
                raise Conflict(f"head {head} has a label {name!r} already. Choose another name, or use it.")
            return known
    await tx.run("insert_intent", head=head, name=name, title=dict(title))
    entry = LabelName(name, humanised(name) | dict(title), known=False)
    last = tuple(label for label in known.labels if label.name == known.out_of_scope)
    return replace(known, labels=(*known.labels[: len(known.labels) - len(last)], entry, *last))


def check_name(name: str) -> None:
    """
    Raises:
        InputError: not a name for a label.
    """
    if not (name.isascii() and name.islower() and name.replace("_", "a").isalnum() and name[0].isalpha()):
        raise InputError(f"{name!r} is no name of a label: small letters, digits and _, a letter first.")
    if len(name) > 63:
        raise InputError(f"the name has {len(name)} characters, allowed are 63.")


def humanised(name: str) -> dict[str, str]:
    """A title for a label without one: "track_order" is "Track order"."""
    words = name.replace("_", " ").strip()
    return {"zh": words, "en": words[:1].upper() + words[1:]}


def _described(settings: Mapping[str, Any] | None) -> dict[str, Title]:
    """Titles by label, as the workspace's settings give them; an intent it calls hidden is not yet known to it."""
    stated = (settings or {}).get("intents") or ()
    return {one["name"]: one.get("title") or humanised(one["name"]) for one in stated if not one.get("hidden")}


def _label_set(
    name: str, head: Mapping[str, Any], described: Mapping[str, Title], added: Mapping[str, Title], counts: Counter[str]
) -> LabelSet:
    def entry(label: str, *, known: bool) -> LabelName:
        title = added.get(label) or described.get(label) or TITLES.get(label) or {}
        return LabelName(label, humanised(label) | dict(title), known, counts[label])

    own = list(head["labels"]) if head["type"] != "number" else []
    none = head.get("out_of_scope")
    fresh = sorted(label for label in added if label not in own and label != none)
    labels = [entry(label, known=True) for label in own if label != none] + [entry(n, known=False) for n in fresh]
    if none is not None:
        labels.append(entry(none, known=bool(own)))
    return LabelSet(name, TITLES.get(name) or humanised(name), head["type"], none, tuple(labels))
