"""`duomo test`: scenarios played against a running service, several times, and compared with what is expected."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import itertools
import json
import math
import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duomo.errors import InputError, Unavailable

if TYPE_CHECKING:
    import httpx2

    from duomo.cli import Add
    from duomo.cli.scenarios import Came, Scenario, Turn
    from duomo.client import Agent, Customer

LOOKS_EVERY_S = 0.2  # at what a model that reads along has understood
_DECISIONS = {"answer": "answer", "clarify": "clarify", "handoff": "hand_over"}


def test(given: argparse.Namespace) -> int:
    """Play scenario files against a running service, several times each; exit code 1 when something came otherwise."""
    from duomo.cli import scenarios

    found = scenarios.load(given.paths)
    if given.only and not (found := [one for one in found if one.name in given.only]):
        raise InputError(f"no scenario is called {' or '.join(given.only)}.")
    runs = given.runs or given.k
    if runs < given.k:
        raise InputError(f"--runs is {runs}; at least {given.k} are needed for pass^{given.k}.")
    results = asyncio.run(_play(given, found, runs, _silent if given.json else print))
    report = summary(results, k=given.k, runs=runs)
    if given.junit:
        given.junit.write_bytes(junit(results))
    if given.json:
        print(json.dumps({"url": _url(given), **report}, ensure_ascii=False))
    else:
        _tell(report)
    return int(any(result.passed < len(result.runs) for result in results))


def _silent(_: str) -> None:
    """The report as JSON is all that is printed."""


# Playing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Miss:
    """An expectation that was not met, in one run."""

    turn: int  # from 1
    line: int
    expected: str
    came: str


@dataclass(frozen=True, slots=True)
class Run:
    misses: Sequence[Miss]
    unchecked: int  # expectations of a model where none is active
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    scenario: Scenario
    runs: Sequence[Run]

    @property
    def passed(self) -> int:
        return sum(not run.misses for run in self.runs)


async def _play(
    given: argparse.Namespace, found: Sequence[Scenario], runs: int, say: Callable[[str], None]
) -> list[Result]:
    import httpx2

    from duomo.client import Agent

    url = _url(given)
    email, password = _sign_in(given)
    async with (
        httpx2.AsyncClient(base_url=url, timeout=30) as http,
        httpx2.AsyncClient(base_url=url, timeout=30) as console,
    ):
        try:
            await http.get("/healthz")
        except httpx2.TransportError as error:
            raise Unavailable(f"no service answers at {url}. Start it with `duomo run`.") from error
        agent = await Agent.sign_in(console, workspace=given.workspace, email=email, password=password, patience_s=20)
        model = not {"active", "canary"}.isdisjoint((await agent.get("models"))["roles"])
        results = []
        for scenario in found:
            played = [await play(http, agent, scenario, workspace=given.workspace, model=model) for _ in range(runs)]
            results.append(result := Result(scenario, played))
            say(f"{'pass' if result.passed == runs else 'FAIL':<5}{result.passed}/{runs}  {scenario.name}")
    return results


class Silent(Exception):
    """Nothing came of a turn in time; says what should have."""


async def play(http: httpx2.AsyncClient, agent: Agent, scenario: Scenario, *, workspace: str, model: bool) -> Run:
    """Play a scenario once, as a customer of its own.

    Args:
        model: whether one is active that reads what customers send.
    """
    from duomo.cli.scenarios import differences, unchecked
    from duomo.client import Customer
    from duomo.play import TURN_WITHIN_S

    started = time.monotonic()
    visitor = await Customer.arrive(http, workspace=workspace, language=scenario.language, patience_s=20)
    misses: list[Miss] = []
    left = 0
    options: Sequence[str] = ()
    for number, turn in enumerate(scenario.turns, 1):
        if turn.choose is not None and turn.choose > len(options):
            offered = f"{len(options)} options" if options else "no options"
            misses.append(Miss(number, turn.line, f"option {turn.choose} is offered", offered))
            break
        try:
            came, options = await _turn(visitor, agent, turn, options, model=model)
        except Silent as silent:
            misses.append(Miss(number, turn.expect.line, str(silent), f"nothing within {TURN_WITHIN_S:.0f} s"))
            break
        misses += [Miss(number, d.line, d.expected, d.came) for d in differences(turn.expect, came)]
        left += unchecked(turn.expect, came)
    return Run(misses, left, time.monotonic() - started)


async def _turn(
    visitor: Customer, agent: Agent, turn: Turn, options: Sequence[str], *, model: bool
) -> tuple[Came, Sequence[str]]:
    """Send a turn and see what comes of it.

    Returns:
        That, and the options the bot offers.
    Raises:
        Silent: nothing came of it.
    """
    from duomo.cli.scenarios import Came
    from duomo.play import Awaiting

    waiting = Awaiting(visitor)
    text = options[turn.choose - 1] if turn.choose else turn.text
    sent = await visitor.say(text, files=list(turn.files), language=turn.language)
    try:
        reply = await waiting.reply()
    except TimeoutError:
        raise Silent("what was sent is read" if waiting.with_people else "an answer") from None
    artifacts = _artifacts(visitor, sent["id"])
    recognised: dict[str, Any] = {
        "heard": " ".join(a["text"] for a in artifacts if a["kind"] == "transcript"),
        "read": " ".join(a["text"] for a in artifacts if a["kind"] in ("ocr", "document_text")),
    }
    if reply is None:
        read = await _read_along(agent, visitor.conversation, sent["id"]) if model and turn.expect.heads else {}
        return Came("nothing", heads=_labels(read, model=model), **recognised), ()
    seen = await agent.message(visitor.conversation, reply["id"])
    decision: Mapping[str, Any] = seen["decision"]
    policy = decision.get("policy") or {}
    came = Came(
        decision=_DECISIONS[reply["kind"]],
        text=reply["text"],
        language=reply["language"],
        cited=[citation["article_id"] for citation in reply["citations"]],
        heads=_labels(decision, model=model),
        team=policy.get("team"),
        priority=policy.get("priority"),
        **recognised,
    )
    return came, reply["options"]


async def _read_along(agent: Agent, conversation: str, message_id: str) -> Mapping[str, Any]:
    """What stands with a message for a person once the model has read it, or did not in time."""
    from duomo.play import TURN_WITHIN_S

    ends = time.monotonic() + TURN_WITHIN_S
    while True:
        decision: Mapping[str, Any] = (await agent.message(conversation, message_id))["decision"]
        if decision.get("understood") or time.monotonic() > ends:
            return decision
        await asyncio.sleep(LOOKS_EVERY_S)


def _labels(decision: Mapping[str, Any], *, model: bool) -> Mapping[str, str] | None:
    if understood := decision.get("understood"):
        return {name: head["label"] for name, head in understood["heads"].items()}
    return {} if model else None


def _artifacts(visitor: Customer, message_id: str) -> list[Mapping[str, Any]]:
    """What was recognised in a message's files, as it was last told."""
    told = [e["data"] for e in visitor.events if e["kind"] in ("message", "update") and e["data"]["id"] == message_id]
    return [artifact for part in told[-1]["parts"] for artifact in part["artifacts"]] if told else []


def _url(given: argparse.Namespace) -> str:
    from duomo.settings import load

    if given.url:
        return str(given.url).rstrip("/")
    settings = load(os.environ, home=given.home, port=given.port)
    return f"http://{'127.0.0.1' if settings.host in ('', '::', '0.0.0.0') else settings.host}:{settings.port}"


def _sign_in(given: argparse.Namespace) -> tuple[str, str]:
    from duomo import demo
    from duomo.settings import load

    if given.email:
        password = given.password or (getpass.getpass("password: ") if sys.stdin.isatty() else "")
        if not password:
            raise InputError(f"{given.email} needs a password. Give it with --password, or start from a terminal.")
        return given.email, password
    home = load(os.environ, home=given.home).home
    kept = demo.kept_sign_in(home)
    if kept is None or kept.workspace != given.workspace:
        raise InputError(
            f"reading why the bot answered needs an agent of {given.workspace}: give --email and --password, "
            f"or --home of a service with the demo ({home} has none)."
        )
    return kept.email, kept.password


# Reporting --------------------------------------------------------------------------------------------------------


def pass_k(passed: int, runs: int, k: int) -> float:
    """The probability that k runs all pass, estimated from `passed` of `runs`.

    Source: tau-bench, Yao et al. 2024, arXiv:2406.12045, section 3: C(passed, k) / C(runs, k), which is unbiased.
    """
    return math.comb(passed, k) / math.comb(runs, k)


def summary(results: Sequence[Result], *, k: int, runs: int) -> dict[str, Any]:
    """Everything that was found, in plain JSON types."""
    chances = [[pass_k(result.passed, runs, i) for i in range(1, k + 1)] for result in results]
    return {
        "k": k,
        "runs": runs,
        "n": len(results),
        "passed": sum(result.passed == runs for result in results),
        "pass": {f"{i}": sum(chance[i - 1] for chance in chances) / len(results) for i in range(1, k + 1)},
        "unchecked": sum(run.unchecked for result in results for run in result.runs),
        "scenarios": [
            {
                "name": result.scenario.name,
                "file": str(result.scenario.file),
                "line": result.scenario.line,
                "turns": len(result.scenario.turns),
                "passed": result.passed,
                "pass": {f"{i}": chance[i - 1] for i in range(1, k + 1)},
                "seconds": round(sum(run.seconds for run in result.runs) / runs, 2),
                "differed": differed(result),
            }
            for result, chance in zip(results, chances, strict=True)
        ],
    }


def differed(result: Result) -> list[dict[str, Any]]:
    """Expectations that were not met, each with the runs in which it was not and what came instead."""
    found: dict[tuple[int, int, str], dict[str, list[int]]] = {}
    for number, run in enumerate(result.runs, 1):
        for miss in run.misses:
            found.setdefault((miss.turn, miss.line, miss.expected), {}).setdefault(miss.came, []).append(number)
    return [
        {"turn": turn, "line": line, "expected": expected, "came": [{"what": w, "runs": r} for w, r in came.items()]}
        for (turn, line, expected), came in found.items()
    ]


def _tell(report: Mapping[str, Any]) -> None:
    for scenario in report["scenarios"]:
        if not scenario["differed"]:
            continue
        print(f"\n{scenario['name']}  pass^{report['k']} = {scenario['pass'][str(report['k'])]:.2f}")
        for one in scenario["differed"]:
            print(f"  {scenario['file']}:{one['line']}: turn {one['turn']}: expected {one['expected']}")
            for came in one["came"]:
                runs = (
                    "every run" if len(came["runs"]) == report["runs"] else f"run {', '.join(map(str, came['runs']))}"
                )
                print(f"      came {came['what']}  ({runs})")
    shares = ", ".join(f"pass^{i} {value:.3f}" for i, value in report["pass"].items())
    print(
        f"\n{report['passed']} of {report['n']} scenarios pass all {report['runs']} runs; {shares} (n = {report['n']})"
    )
    if report["unchecked"]:
        print(f"{report['unchecked']} expectations of intent and other heads were not checked: no model is active.")


def junit(results: Sequence[Result]) -> bytes:
    """The format that CI systems read: a suite a file, a case a scenario."""
    root = ET.Element("testsuites", name="duomo test")
    for file, group in itertools.groupby(results, key=lambda result: result.scenario.file):
        members = list(group)
        failures = sum(result.passed < len(result.runs) for result in members)
        suite = ET.SubElement(root, "testsuite", name=str(file), tests=str(len(members)), failures=str(failures))
        for result in members:
            seconds = sum(run.seconds for run in result.runs)
            case = ET.SubElement(
                suite, "testcase", name=result.scenario.name, classname=file.stem, time=f"{seconds:.2f}"
            )
            if result.passed == len(result.runs):
                continue
            lines = [
                f"{file}:{one['line']}: turn {one['turn']}: expected {one['expected']}, came {came['what']}"
                f" (runs {', '.join(map(str, came['runs']))})"
                for one in differed(result)
                for came in one["came"]
            ]
            failure = ET.SubElement(case, "failure", message=f"{result.passed} of {len(result.runs)} runs passed")
            failure.text = _printable("\n".join(lines))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c in "\n\t")  # XML cannot hold the others


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the commands of this module."""
    command = add(test, common)
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="scenario files, or folders of them")
    command.add_argument("--url", help="of the service (default: this machine, --port)")
    command.add_argument("--port", type=int)
    command.add_argument("--workspace", default="demo", metavar="NAME", help="default: demo")
    command.add_argument("--email", help="an agent's, to see why the bot answered so (default: the demo's)")
    command.add_argument("--password", help="the agent's (default: asked for)")
    command.add_argument("-k", type=_count, default=3, metavar="N", help="report that N runs all pass (default: 3)")
    command.add_argument("--runs", type=_count, metavar="N", help="play each scenario N times (default: k)")
    command.add_argument("--only", action="append", metavar="NAME", help="one scenario; may be given again")
    command.add_argument("--json", action="store_true")
    command.add_argument("--junit", type=Path, metavar="FILE", help="write what CI systems read")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= int(text) <= 100:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text} was asked for, allowed are 1 to 100")
