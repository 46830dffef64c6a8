"""`duomo demo --play`: the scripted customers talk to a running service, and what comes back is checked.

Each customer uses the protocol as the widget does. The same script is the end-to-end test. A bot that asks back or
calls a person where the script hopes for an answer was cautious; one that cites another article, or did not read a
file, was wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2

from duomo.client import Customer, is_reply
from duomo.demo import NAME, SCENARIO
from duomo.errors import InputError, Unavailable

TURN_WITHIN_S = 60.0
_FILES = ("image", "audio", "document")


def script() -> list[Mapping[str, Any]]:
    customers: list[Mapping[str, Any]] = json.loads((SCENARIO / "customers.json").read_text(encoding="utf-8"))
    return customers


def play(url: str, *, only: str | None = None, say: Callable[[str], None] = print) -> int:
    """Let the customers talk one after the other.

    Args:
        only: the id of one of them.
    Returns:
        The exit code: 1 when something was wrong.
    Raises:
        Unavailable: no service answers at `url`.
        InputError: no customer of that id.
    """
    customers = [customer for customer in script() if only in (None, customer["id"])]
    if not customers:
        raise InputError(f"there is no customer {only!r}; there are: {', '.join(c['id'] for c in script())}")
    return asyncio.run(_play(url, customers, say))


async def _play(url: str, customers: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> int:
    wrong = cautious = 0
    async with httpx2.AsyncClient(base_url=url, timeout=30) as http:
        try:
            await http.get("/healthz")
        except httpx2.TransportError as error:
            raise Unavailable(f"no service answers at {url}. Start it with `duomo run`.") from error
        for customer in customers:
            say(f"\n{customer['title'][customer['language']]}  ({customer['id']})")
            found = await play_customer(http, customer, say=say)
            wrong, cautious = wrong + found[0], cautious + found[1]
    turns = sum(len(customer["turns"]) for customer in customers)
    say(f"\n{turns} turns: {wrong} wrong, {cautious} more cautious than the script hopes for")
    return int(wrong > 0)


async def play_customer(
    http: httpx2.AsyncClient, customer: Mapping[str, Any], *, say: Callable[[str], None] = print
) -> tuple[int, int]:
    """Play one customer. Returns: the number of things that were wrong, and of turns that were too cautious."""
    visitor = await Customer.arrive(http, workspace=NAME, language=customer["language"], patience_s=20)
    sent: list[str] = []
    wrong = cautious = 0
    for turn in customer["turns"]:
        state = Awaiting(visitor)
        if "correct" in turn:
            await _correct(visitor, sent[turn["correct"]["turn"]], turn["correct"])
            say(f"  {'customer':>9}: [corrects] {turn['correct']['text']}")
        else:
            files = [SCENARIO / turn[kind] for kind in _FILES if kind in turn]
            stored = await visitor.say(turn.get("text", ""), files=files, language=turn["lang"])
            sent.append(stored["id"])
            say(f"  {'customer':>9}: {turn.get('text', '')} {' '.join(f'[{f.name}]' for f in files)}".rstrip())
        reply, outcome = None, "nothing"
        with contextlib.suppress(TimeoutError):
            reply = await state.reply()
            outcome = reply["kind"] if reply else "handoff"
        artifacts = [a for event in visitor.events for a in _artifacts(event) if event["seq"] > state.since]
        for artifact in {a["id"]: a for a in artifacts}.values():
            say(f"  {artifact['kind']:>9}: {' '.join(artifact['text'].split())[:160]}")
        text = " ".join(reply["text"].split())[:300] if reply else ""
        titles = ", ".join(c["title"] for c in reply["citations"]) if reply else ""
        say(f"  {outcome:>9}: {text}" + (f"  <- {titles}" if titles else ""))
        if outcome == "nothing":
            wrong += 1
            say(f"  {'WRONG':>9}: nothing came within {TURN_WITHIN_S:.0f} s")
        elif outcome not in turn["expect"].get("outcome", [outcome]):
            hoped = " or ".join(turn["expect"]["outcome"])
            if outcome in ("clarify", "handoff"):
                cautious += 1
                say(f"  {'cautious':>9}: hoped for was {hoped}")
            else:
                wrong += 1
                say(f"  {'WRONG':>9}: the outcome was {outcome}, expected was {hoped}")
        for problem in differences(turn["expect"], outcome, reply, artifacts):
            wrong += 1
            say(f"  {'WRONG':>9}: {problem}")
    return wrong, cautious


def differences(
    expect: Mapping[str, Any], outcome: str, reply: Mapping[str, Any] | None, artifacts: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What is said or read otherwise than the script allows, a sentence each."""
    found = []
    cited = {c["article_id"].rpartition("/")[2] for c in (reply or {}).get("citations", [])}
    if (
        outcome == "answer"
        and "cites" in expect
        and not (cited & set(expect["cites"]) or cited == set(expect["cites"]))
    ):
        found.append(f"cited was {', '.join(sorted(cited)) or 'nothing'}, expected {' or '.join(expect['cites'])}")
    quotes = " ".join(c["quote"] for c in (reply or {}).get("citations", []))
    if outcome == "answer" and "contains" in expect and not any(piece in quotes for piece in expect["contains"]):
        found.append(f"the answer holds none of {', '.join(expect['contains'])}")
    if wanted := expect.get("artifact"):
        texts = [a["text"] for a in artifacts if a["kind"] == wanted["kind"]]
        missing = [piece for piece in wanted["contains"] if not any(piece.lower() in text.lower() for text in texts)]
        if missing:
            found.append(f"the {wanted['kind']} lacks {', '.join(missing)}: it is {texts or 'not there'}")
    return found


class Awaiting:
    """Waits for what follows a message: the bot's reply, or, where people have the conversation, what was read."""

    def __init__(self, visitor: Customer) -> None:
        self._visitor = visitor
        self.since = visitor.seq
        statuses = [e["data"]["status"] for e in visitor.events if e["kind"] == "status"]
        self.with_people = bool(statuses) and statuses[-1] == "open"

    async def reply(self) -> Mapping[str, Any] | None:
        """The bot's reply; None where people have the conversation, and what was sent has been read.

        Raises:
            TimeoutError: neither came within `TURN_WITHIN_S`.
        """
        event = await self._visitor.until(self._ends, timeout_s=TURN_WITHIN_S)
        if not is_reply(event):
            return None
        message: Mapping[str, Any] = event["data"]
        if message["kind"] == "handoff":
            self.with_people = True
            with contextlib.suppress(TimeoutError):  # so that the next turn knows who has the conversation
                await self._visitor.until(lambda e: e["kind"] == "status", timeout_s=5)
        return message

    def _ends(self, event: Mapping[str, Any]) -> bool:
        if is_reply(event):
            return True
        # Once people have the conversation no reply of the bot follows, only what was read or heard.
        return (
            self.with_people
            and all(p["state"] != "received" for p in event["data"].get("parts", []))
            and (event["kind"] == "update" or (event["kind"] == "message" and event["data"]["author"] == "customer"))
        )


async def _correct(visitor: Customer, message_id: str, correction: Mapping[str, Any]) -> None:
    for event in reversed(visitor.events):
        if event["kind"] in ("message", "update") and event["data"]["id"] == message_id:
            for artifact in _artifacts(event):
                if artifact["kind"] == correction["kind"]:
                    await visitor.post(f"artifacts/{artifact['id']}", {"text": correction["text"]})
                    return
    raise InputError(f"nothing of kind {correction['kind']} was recognised in that turn, so it cannot be corrected")


def _artifacts(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if event["kind"] not in ("message", "update"):
        return []
    return [artifact for part in event["data"].get("parts", []) for artifact in part["artifacts"]]
