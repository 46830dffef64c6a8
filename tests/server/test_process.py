"""The web process as it is started: says when it is ready, tells of mistyped variables, stops when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "duomo.server", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("DUOMO_")}, **environment},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_says_ready_and_stops_in_order(dsn: str, home: Path, number: signal.Signals, code: int) -> None:
    with process("--home", str(home), "--port", "0", DATABASE_URL=dsn, DUOMO_PROT="1") as child:
        assert child.stdout
        said = []
        while not said or said[-1] != "ready\n":
            said.append(child.stdout.readline())
            assert said[-1], "".join(said)
        child.send_signal(number)
        rest, _ = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Application shutdown complete" in rest
    assert "Traceback" not in rest
    assert any("DUOMO_PROT is set but nothing reads it. Did you mean DUOMO_PORT?" in line for line in said)


def test_a_wrong_setting_ends_it_with_two(home: Path) -> None:
    with process("--home", str(home), DUOMO_PORT="eight") as child:
        said, _ = child.communicate(timeout=60)
    assert (child.returncode, said) == (2, "DUOMO_PORT is 'eight', expected a whole number.\n")


def test_without_a_database_it_ends_with_three(home: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    with process("--home", str(home), "--port", "0", DATABASE_URL=url) as child:
        said, _ = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "PostgreSQL does not answer" in said
    assert "ready" not in said
