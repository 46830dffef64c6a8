"""A scenario is played over the protocol; where nothing comes, or a person has the conversation, that is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from duomo import play as demo
from duomo.cli import testing
from duomo.cli.scenarios import load
from duomo.cli.testing import Miss, Run
from duomo.client import Agent

Event = tuple[str, Mapping[str, Any]]
ANSWER = {"author": "bot", "kind": "answer", "text": "In three days.", "language": "en", "citations": [], "options": []}
HANDOFF = ANSWER | {"kind": "handoff", "text": "A person will answer."}
OPEN: list[Event] = [("message", HANDOFF), ("status", {"status": "open"})]
UNDERSTOOD = {"model": {"name": "shop"}, "understood": {"heads": {"intent": {"label": "refund"}}}}


@dataclass
class Service:
    """What follows each message of the customer, and what agents see of a message once they have looked a while.

    Attributes:
        follows: for each message, the (kind, data) of events.
        decisions: of the customer's messages, by their place, after `looks` looks.
        unread: places of messages with a file that is never read.
    """

    follows: Sequence[Sequence[Event]]
    decisions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    looks: int = 0
    unread: Sequence[int] = ()
    sent: int = 0
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith("/events"):
            return self._stream(int(request.url.params["after"]), by_agent="/agent/" in path)
        if "/messages/" in path:
            return self._say(path.rpartition("/")[2])
        return httpx2.Response(200, json={"token": "t"})

    def _say(self, id: str) -> httpx2.Response:
        parts = [{"state": "received", "artifacts": []}] if self.sent in self.unread else []
        message = {"id": id, "author": "customer", "kind": "text", "parts": parts, "decision": {}, "place": self.sent}
        self.events.append(("message", message))
        for kind, data in self.follows[self.sent]:
            self.events.append((kind, {"id": f"{id}+", "decision": {"model": None}, "parts": [], **data}))
        self.sent += 1
        return httpx2.Response(200, json=message)

    def _stream(self, after: int, *, by_agent: bool) -> httpx2.Response:
        if by_agent:
            self.looks -= 1
            if self.looks < 0:
                for _, data in self.events:
                    data["decision"] = self.decisions.get(data.get("place", -1), data["decision"])
        frames = [
            f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
            for seq, (kind, data) in enumerate(self.events, 1)
            if seq > after
        ]
        return httpx2.Response(200, text="".join(frames))


async def played(service: Service, tmp_path: Path, turns: str, *, model: bool) -> Run:
    file = tmp_path / "a.yaml"
    file.write_text(f"scenarios:\n  - name: x\n    turns: {turns}\n", encoding="utf-8")
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(service.answer), base_url="http://test") as http:
        return await testing.play(http, Agent(http, ""), load([file])[0], workspace="demo", model=model)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TURN_WITHIN_S", 0.6)
    monkeypatch.setattr(testing, "LOOKS_EVERY_S", 0.01)


@pytest.mark.parametrize("expect", ["{decision: nothing}", "{intent: refund, not_said: soup}", "{}"])
async def test_where_nothing_comes_the_scenario_fails_whatever_it_expects(tmp_path: Path, expect: str) -> None:
    service = Service([[], []])
    run = await played(service, tmp_path, f"[{{text: hi, expect: {expect}}}, {{text: hello}}]", model=True)
    assert run.misses == [Miss(1, 3, "an answer", "nothing within 1 s")]
    assert service.sent == 1


async def test_files_that_nobody_reads_for_a_person_fail_it_too(tmp_path: Path) -> None:
    service = Service([OPEN, []], unread=[1])
    run = await played(service, tmp_path, "[{text: a person}, {text: look, expect: {decision: nothing}}]", model=True)
    assert run.misses == [Miss(2, 3, "what was sent is read", "nothing within 1 s")]


PERSON = "[{text: a person}, {text: my money, expect: {decision: nothing, intent: WANTED}}]"


@pytest.mark.parametrize(("wanted", "misses"), [("refund", []), ("coupon", [Miss(2, 3, "intent coupon", "refund")])])
async def test_what_a_model_reads_along_for_a_person_is_compared(
    tmp_path: Path, wanted: str, misses: list[Miss]
) -> None:
    service = Service([OPEN, []], {1: UNDERSTOOD}, looks=3)
    run = await played(service, tmp_path, PERSON.replace("WANTED", wanted), model=True)
    assert (run.misses, run.unchecked) == (misses, 0)


async def test_a_turn_that_the_model_did_not_read_is_told_apart_from_no_model(tmp_path: Path) -> None:
    unread = [Miss(2, 3, "intent refund", "not read by the model")]
    for model, misses, unchecked in ((True, unread, 0), (False, [], 1)):
        run = await played(Service([OPEN, []]), tmp_path, PERSON.replace("WANTED", "refund"), model=model)
        assert (run.misses, run.unchecked) == (misses, unchecked)


async def test_an_answer_without_the_model_s_reading_is_told_so_where_one_is_active(tmp_path: Path) -> None:
    turns = "[{text: hi, expect: {decision: answer, intent: refund}}]"
    for model, came in ((True, ["not read by the model"]), (False, [])):
        run = await played(Service([[("message", ANSWER)]]), tmp_path, turns, model=model)
        assert [miss.came for miss in run.misses] == came


async def test_a_scripted_customer_who_gets_no_answer_is_wrong(tmp_path: Path) -> None:
    said: list[str] = []
    customer = {"language": "en", "turns": [{"lang": "en", "text": "hi", "expect": {}}]}
    transport = httpx2.MockTransport(Service([[]]).answer)
    async with asyncio.timeout(20), httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
        assert await demo.play_customer(http, customer, say=said.append) == (1, 0)
    assert said[-1] == "      WRONG: nothing came within 1 s"
