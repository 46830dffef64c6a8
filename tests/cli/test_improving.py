"""`duomo improve` as an operator types it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duomo.cli import main
from duomo.store.postgres import Database
from tests.support.learning import contact_who_is, conversation_of, lines, new_turn

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def duomo(home: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a fresh workspace with one labelled turn. Gives: exit code, what it printed, what it told."""
    name = f"test-{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        async with await Database.open(dsn, max_size=2) as db:
            workspace = await db.create_workspace(name, {})
            customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
            await new_turn(customer, "Mail it to lin@example.com", labels={"intent": "invoice"})

    asyncio.run(make())
    monkeypatch.setenv("DUOMO_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", dsn)

    def run(*arguments: Any) -> tuple[int, str, str]:
        code = main(["improve", *map(str, arguments), "--workspace", name])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_samples_are_written_to_a_folder(duomo: Run, tmp_path: Path) -> None:
    code, out, _ = duomo("--export", tmp_path)

    assert (code, out) == (
        0,
        f"{tmp_path}: 1 turns: 1 labelled, 0 not, 0 held out (0 labelled); 0 pictures, 0 voice notes\n",
    )
    assert [line["text"] for line in lines(tmp_path, "train")] == ["Mail it to [email]"]
    assert json.loads(duomo("--export", tmp_path, "--json")[1])["counts"]["train"] == 1


def test_a_run_that_cannot_learn_says_why_and_the_next_one_begins_anew(duomo: Run) -> None:
    code, out, told = duomo()

    assert code == 3
    why = (
        "head intent: 0 labels have 3 labelled turns or more (fewer: invoice 1); two at least are needed. "
        "Label more turns."
    )
    assert out.splitlines()[-1] == f"failed: {why}"
    assert told.splitlines()[0] == "duomo: exporting conversations"
    assert told.splitlines()[-1] == f"duomo improve: {why}"

    code, out, _ = duomo("--json")
    assert (code, json.loads(out.splitlines()[0])["state"]) == (3, "failed")
