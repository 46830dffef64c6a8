"""`duomo policy`: from a file with mistakes to a version that holds."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from duomo.cli import main
from duomo.store.postgres import Database
from duomo.support.policy import SHIPPED, Policy
from tests.support import decided

DEMO = resources.files("duomo.scenarios").joinpath("customer_service/policy.yaml").read_text("utf-8")
STRICT = "thresholds: {answer_from: 0.7, clarify_from: 0.3}\n" + SHIPPED
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def duomo(home: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a fresh workspace with a month of conversations. Gives: exit code, output, complaints."""
    name = f"test-{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        async with await Database.open(dsn, max_size=1) as db:
            workspace = await db.create_workspace(name, {})
            async with db.transaction(workspace.id) as tx:
                for at, turns in decided.month(Policy.shipped(), conversations=25, until=datetime.now(UTC)):
                    await decided.tell(tx, turns, Policy.shipped(), at)

    asyncio.run(make())
    monkeypatch.setenv("DUOMO_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", dsn)

    def run(action: str, *arguments: Any) -> tuple[int, str, str]:
        inside = [] if action == "check" else ["--workspace", name]
        code = main(["policy", action, *map(str, arguments), *inside])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_becomes_the_policy_that_holds(duomo: Run, file: Callable[[str], Path]) -> None:
    assert duomo("show") == (0, SHIPPED, "")
    assert duomo("history")[1] == "nothing has been saved yet; the shipped policy holds\n"
    assert duomo("set", file(STRICT), "--note", "surer") == (0, "version 1 holds from now on\n", "")
    assert duomo("show") == (0, STRICT, "")
    assert json.loads(duomo("show", "--json")[1]) == Policy.parse(STRICT, version=1).as_dict()
    assert duomo("set", file(SHIPPED), "--base", "1")[1] == "version 2 holds from now on\n"
    assert duomo("show", "--version", "1")[1] == STRICT
    code, _, complaint = duomo("set", file(STRICT), "--base", "1")
    assert (code, complaint.startswith("duomo policy: the policy is at version 2, yours was made from version 1.")) == (
        2, True,
    )  # fmt: skip
    assert [(one["version"], one["note"]) for one in json.loads(duomo("history", "--json")[1])] == [
        (2, ""),
        (1, "surer"),
    ]
    assert duomo("show", "--version", "7")[2] == (
        "duomo policy: the policy has no version 7; `duomo policy history` lists them.\n"
    )


def test_a_check_tells_mistakes_with_their_lines_and_reads_the_table_aloud(
    duomo: Run, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = duomo("check", file(DEMO))
    assert (code, out.splitlines()[0]) == (0, "  1  危险 danger: wish emergency -> hand_over to repair (urgent)")
    assert "intent double_charge, payment_failed, refund_status -> answer from 0.6 (high)" in out
    path = file("table:\n  - {do: answr}\n  - {do: answer, colour: red}\n")
    code, out, complaint = duomo("check", path)
    assert (code, out) == (2, "")
    assert complaint.splitlines()[:2] == [
        f"duomo policy: 2 mistakes in {path}:",
        f"{path}:2: row 1: do is 'answr'; allowed: answer, clarify, hand_over. Did you mean answer?",
    ]
    assert duomo("check", path.with_name("none.yaml"))[2].endswith("none.yaml: No such file or directory\n")
    path.write_bytes(b"\xff\xfe")
    assert duomo("check", path)[2] == f"duomo policy: {path} is not UTF-8 text; save it as UTF-8\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("teams: [a]\n" + SHIPPED))
    assert duomo("check", "-")[2] == "-:1: no row hands over to a\n"


def test_a_file_is_tried_on_past_conversations(duomo: Run, file: Callable[[str], Path]) -> None:
    code, out, _ = duomo("dry-run", file(STRICT))
    lines = out.splitlines()
    assert code == 0
    assert lines[0].endswith("in 25 conversations")
    assert [line.split("  ")[0].strip() for line in lines[2:6]] == ["turns", "", "conversations", ""]
    assert "conversations handed over, between" in lines[6]
    assert " -> " in lines[7]
    told = json.loads(duomo("dry-run", file(STRICT), "--json")[1])
    assert lines[0].startswith(f"{told['changed']} of {told['turns']} turns")
    assert duomo("dry-run", file(STRICT), "--days", "0.0001")[1] == "no conversations in that time\n"
    assert duomo("show")[1] == SHIPPED
