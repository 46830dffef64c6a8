"""Why a message says what it says, at once from what the turn wrote down: three lines, and everything behind them.

In depth, by taking away what the model read piece by piece, it is explained in `support.explaining`, by a job that is
queued here: behind all others, one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from duomo.errors import Conflict, NotFound
from duomo.store.postgres import Tx
from duomo.support import why_words
from duomo.support.conversation import load_messages
from duomo.support.past import answered_by
from duomo.support.policy import Facts, Policy, policy_of
from duomo.types import LANGUAGES, Language, Message

HEAD = "intent"
PRIORITY = -10  # behind everything that somebody waits for

Titles = Mapping[str, Mapping[str, str]]
"""Label -> {zh, en}."""


# At once ----------------------------------------------------------------------------------------------------------


async def why(tx: Tx, conversation_id: str, message_id: str) -> dict[str, Any]:
    """Everything that is known about why a message was said: docs/protocol.md, "Why".

    Raises:
        NotFound: no such message, or a person's.
    """
    said, messages = await find(tx, conversation_id, message_id)
    settings = await tx.value("workspace_settings") or {}
    titles = {one["name"]: one.get("title") or {} for one in settings.get("intents") or ()}
    titles |= {row["name"]: row["title"] for row in await tx.all("titles_of_labels", head=HEAD)}
    steps = otherwise(said, await _policy_of(tx, said))
    row = await tx.one("explanation", message_id=message_id)
    state = {"state": "none", "reason": unexplained(said)} if row is None else {"state": row["state"], "reason": ""}
    if row is not None and row["state"] == "failed":
        state["reason"] = (row["body"] or {}).get("reason", "failed")
    body = row["body"] if row is not None and row["state"] == "done" else None
    found = account(said, answered_by(said, messages), titles=titles, steps=steps)
    return found | {"explanation": {**state, "body": body}}


async def _policy_of(tx: Tx, said: Message) -> Policy | None:
    """The version that decided; None where none did."""
    stated = said.decision.get("policy") or {}
    if not stated.get("version"):
        return Policy.shipped() if stated else None
    row = await tx.one("policy_version", version=stated["version"])
    return None if row is None else policy_of(row)


def account(said: Message, asked: Sequence[Message], *, titles: Titles, steps: Steps) -> dict[str, Any]:
    """What the turn wrote down, sorted: the summary, and what it rests on."""
    decision = said.decision
    understood = decision.get("understood") or {}
    heads = understood.get("heads") or {}
    head = HEAD if HEAD in heads else next(iter(heads), None)
    return {
        "message_id": said.id,
        "conversation_id": said.conversation_id,
        "kind": said.kind,
        "outcome": str(decision.get("outcome") or said.kind),
        "summary": {language: summary(said, language, titles=titles, steps=steps) for language in LANGUAGES},
        "asked": [message.id for message in asked],
        "understood": None if head is None else _understood(understood, head, titles),
        "heads": heads,
        "policy": decision.get("policy"),
        "otherwise": {what: [step.as_dict() for step in found] for what, found in steps.items()},
        "facts": decision.get("facts") or {},
        "sources": {
            "searched": decision.get("searched"),
            "confidence": decision.get("confidence"),
            "answer_from": decision.get("answer_from"),
            "clarify_from": decision.get("clarify_from"),
            "candidates": decision.get("candidates") or [],
            "quoted": [
                {"article_id": c.article_id, "chunk_id": c.chunk_id, "title": c.title, "quote": c.quote,
                 "score": round(c.score, 4)}
                for c in said.citations
            ],
        },
        "versions": versions(decision),
        "decision": dict(decision),
    }  # fmt: skip


def versions(decision: Mapping[str, Any]) -> dict[str, Any]:
    """What made an answer: model, policy, knowledge, calibration; None where one had no part in it."""
    return {
        "model": decision.get("model"),
        "policy": (decision.get("policy") or {}).get("version"),
        "knowledge": decision.get("knowledge"),
        "calibration": decision.get("calibration"),
        "writer": decision.get("writer") or (decision.get("models") or {}).get("llm"),
    }


def _understood(understood: Mapping[str, Any], head: str, titles: Titles) -> dict[str, Any]:
    said = understood["heads"][head]
    return {
        "head": head,
        "label": said["label"],
        "title": title_of(said["label"], titles),
        "confidence": said.get("confidence"),
        "out_of_scope": said.get("out_of_scope"),
        "abstain": said.get("abstain"),
        "conflict": said.get("conflict"),
        "set": said.get("set") or [],
        "shares": said.get("shares") or {},
        "pattern": understood.get("pattern"),
        "alternatives": [
            {"label": label, "title": title_of(label, titles), "probability": probability}
            for label, probability in said.get("top") or []
        ],
    }


def title_of(label: Any, titles: Titles) -> dict[str, str]:
    """A label's name for people; one without a title reads as its words."""
    known = titles.get(str(label)) or {}
    words = str(label).replace("_", " ")
    return {"zh": known.get("zh") or words, "en": known.get("en") or words[:1].upper() + words[1:]}


@dataclass(frozen=True, slots=True)
class Step:
    """From one score to another the policy says the same."""

    low: float
    high: float
    do: str
    row: int
    name: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Steps = Mapping[str, Sequence[Step]]
"""What is looked at (knowledge, confidence) -> what would have been done at which score, from 0 to 1."""


def otherwise(said: Message, policy: Policy | None) -> dict[str, list[Step]]:
    """What the policy says at every other score of the best passage, and of the intent; the rest as it was."""
    stated = said.decision.get("facts")
    if policy is None or not stated:
        return {}
    facts = Facts.of(stated)
    names = [name for name in ("knowledge", "confidence") if getattr(facts, name) is not None]
    return {name: _steps(policy, facts, name) for name in names}


def _steps(policy: Policy, facts: Facts, name: str) -> list[Step]:
    found: list[Step] = []
    now = policy.decide(facts)
    for score in sorted({*(n / 100 for n in range(101)), now.answer_from, now.clarify_from}):
        at_score = replace(facts, knowledge=score) if name == "knowledge" else replace(facts, confidence=score)
        ruling = policy.decide(at_score)
        if not found or (found[-1].do, found[-1].row) != (ruling.do, ruling.row):
            found.append(Step(score, 1.0, ruling.do, ruling.row, ruling.name))
    return [replace(step, high=after.low) for step, after in pairwise(found)] + found[-1:]


def summary(said: Message, language: Language, *, titles: Titles, steps: Steps) -> list[str]:
    """At most three lines: what was understood and from what; what was done and from where; by which rule."""
    decision = said.decision
    lines = [_line_understood(decision, language, titles), _line_done(said, language)]
    lines.append(_line_rule(decision, language, steps))
    return [line for line in lines if line]


def _line_understood(decision: Mapping[str, Any], language: Language, titles: Titles) -> str:
    words = why_words.of(language)
    wish = (decision.get("facts") or {}).get("wish") or decision.get("outcome")
    if wish in why_words.WISHES:
        return words(f"wish_{wish}")
    heads = (decision.get("understood") or {}).get("heads") or {}
    if not heads:
        return "" if decision.get("model") else words("no_model") if "candidates" in decision else ""
    head = heads.get(HEAD) or next(iter(heads.values()))
    source = _mostly(head.get("shares") or {}, (decision.get("facts") or {}).get("sent") or (), language)
    if (head.get("out_of_scope") or 0.0) >= 0.5:
        return words("out_of_scope", sure=_percent(head["out_of_scope"], language)) + source
    title = title_of(head["label"], titles)[language]
    line = words("understood", title=title, sure=_percent(head.get("confidence"), language))
    others = [(label, p) for label, p in head.get("top") or [] if label != head["label"]]
    if head.get("abstain") and others:
        other, chance = others[0]
        line += words("or", title=title_of(other, titles)[language], sure=_percent(chance, language))
    return line + source


def _mostly(shares: Mapping[str, float], sent: Sequence[str], language: Language) -> str:
    """ ", mostly from the photo": where one of several modalities decided."""
    words = why_words.of(language)
    if not shares:
        return words("stop")
    names = sorted(shares, key=lambda name: -shares[name])
    said = [_modality(name, sent, language) for name in names]
    if len(names) == 1:
        return words("only_from", what=said[0])
    return words("mostly_from" if shares[names[0]] >= 0.6 else "both_from", what=said[0], other=said[1])


def _modality(name: str, sent: Sequence[str], language: Language) -> str:
    """The words of a message may have been written, said, or read in its picture."""
    words = why_words.of(language)
    if name == "text" and sent and "text" not in sent:
        return words("from_speech" if "voice" in sent else "from_read")
    return words(f"from_{name}") if name in ("text", "image", "audio", "video") else name


def _line_done(said: Message, language: Language) -> str:
    decision, words = said.decision, why_words.of(language)
    outcome = str(decision.get("outcome") or said.kind)
    score, needed = decision.get("confidence"), decision.get("answer_from")
    best = said.citations[0].title if said.citations else _best(decision)
    numbers = {"score": _percent(score, language), "needed": _percent(needed, language)}
    if said.kind == "holding":
        return words("holding")
    if said.kind == "clarify":
        return words("asked_back", title=best, **numbers)
    if said.kind == "handoff" or outcome in ("handoff", "emergency"):
        policy = decision.get("policy") or {}
        reason = (
            "emergency"
            if outcome == "emergency"
            else str(decision.get("reason") or policy.get("reason") or _reason(decision))
        )
        line = words("handed_team" if policy.get("team") else "handed", team=policy.get("team"))
        line += words(f"reason_{reason}") if reason in why_words.REASONS else words("stop")
        if reason in ("low_confidence", "repeated_failure") and best and score is not None and needed:
            line += words("best_was", title=best, **numbers)
        return line
    if said.citations and (decision.get("facts") or {}).get("chosen"):
        return words("answered_chosen", title=best)
    if said.citations and score is not None and needed:
        return words("answered", title=best, **numbers)
    return words("answered_plain", title=best) if said.citations else ""


def _reason(decision: Mapping[str, Any]) -> str:
    facts = decision.get("facts") or {}
    if facts.get("wish") == "person":
        return "requested"
    if facts.get("failures") or facts.get("wish") == "unhelped":
        return "repeated_failure"
    return "low_confidence" if (decision.get("policy") or {}).get("do", "answer") == "answer" else "policy"


def _line_rule(decision: Mapping[str, Any], language: Language, steps: Steps) -> str:
    """The row of the policy, and at which other scores something else would have been done."""
    words = why_words.of(language)
    policy, facts = decision.get("policy") or {}, decision.get("facts") or {}
    if not policy:
        return ""
    line = words("rule", row=policy.get("row"), name=policy.get("name") or "")
    for what, found in steps.items():
        told = _others(policy.get("do"), facts[what], found, language)
        if told:
            return line + words(f"else_{what}") + words("comma").join(told) + words("stop")
    return line + words("stop")


def _others(do: Any, score: float, steps: Sequence[Step], language: Language) -> list[str]:
    """The nearest other outcomes, above and then below."""
    words = why_words.of(language)
    above = next((step for step in steps if step.low > score and step.do != do), None)
    told = [words("else_from", score=_percent(above.low, language), done=words(f"else_{above.do}"))] if above else []
    last = do
    for step in reversed(steps):
        if step.high <= score and step.do != last:
            told.append(words("else_below", score=_percent(step.high, language), done=words(f"else_{step.do}")))
            last = step.do
    return told


def _best(decision: Mapping[str, Any]) -> str:
    candidates = decision.get("candidates") or []
    return str(candidates[0].get("title", "")) if candidates else ""


def _percent(share: Any, language: Language) -> str:
    if not isinstance(share, int | float):
        return "–"
    number = ">99" if 0.995 <= share < 1 else f"{share * 100:.0f}"
    return f"{number}%" if language == "zh" else f"{number} %"


# In depth ---------------------------------------------------------------------------------------------------------


async def queue(tx: Tx, workspace_id: str, conversation_id: str, message_id: str) -> None:
    """Have a message explained when there is time. One that is explained already stays so.

    Raises:
        NotFound: no such message, or a person's.
        Conflict: no model had a part in it; says so.
    """
    said, _ = await find(tx, conversation_id, message_id)
    if unexplained(said):
        raise Conflict("no trained model read this message; there is nothing to take apart.")
    await defer(tx, workspace_id, message_id)


async def defer(tx: Tx, workspace_id: str, message_id: str) -> None:
    """The same for a message that a model is known to have read; for turns that want it done in the background."""
    if await tx.run("queue_explanation", message_id=message_id):
        await tx.defer(
            "explain", queue="media", args={"workspace_id": str(workspace_id), "message_id": str(message_id)},
            lock="explain", queueing_lock=f"explain {message_id}", priority=PRIORITY,
        )  # fmt: skip


async def find(tx: Tx, conversation_id: str, message_id: str) -> tuple[Message, list[Message]]:
    messages = await load_messages(tx, conversation_id)
    said = next((message for message in messages if message.id == str(message_id)), None)
    if said is None or not (said.author == "bot" or (said.author == "system" and said.kind == "handoff")):
        raise NotFound("there is no such message of the assistant in this conversation.")
    return said, messages


def unexplained(said: Message) -> str:
    """Why there is nothing to take apart; empty where there is."""
    decision = said.decision
    understood = decision.get("understood") or {}
    return "" if decision.get("model") and understood.get("heads") and understood.get("message_id") else "no_model"
