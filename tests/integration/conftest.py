"""The whole service as `duomo run` starts it, with a few articles of the demo shop."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from duomo.demo import SCENARIO
from duomo.service import Service
from tests.conftest import reachable

TOPICS = ("delivery-times", "delivery-change-address", "refund-times", "return-faulty", "payment-failed")


@dataclass(frozen=True)
class Running:
    service: Service
    url: str
    dsn: str
    home: Path
    network_log: Path

    @property
    def watched(self) -> dict[str, str]:
        """Environment that makes a Python process write its attempts to reach other hosts into `network_log`."""
        return watched(self.network_log)


def watched(log: Path) -> dict[str, str]:
    return {"NETWORK_LOG": str(log), "PYTHONPATH": str(Path(__file__).parent / "watched")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def duomo(home: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "duomo.cli", *map(str, arguments), "--home", str(home)],
        capture_output=True, text=True, timeout=300, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def read_a_few_articles(home: Path) -> None:
    folder = home / "articles"
    for language in ("zh", "en"):
        (folder / language).mkdir(parents=True)
        for topic in TOPICS:
            shutil.copy(SCENARIO / "articles" / language / f"{topic}.md", folder / language)
    ingested = duomo(home, "ingest", folder)
    assert ingested.returncode == 0, ingested.stderr


@contextlib.contextmanager
def whole_service(home: Path, *, articles: bool = True) -> Iterator[Running]:
    """Started as `duomo run` starts it; `home` is new and may be passed through by everyone."""
    if articles:
        read_a_few_articles(home)
    port = free_port()
    log = home / "network.log"
    log.write_text("")
    log.chmod(0o666)  # confined children may be another user
    environment = {**os.environ, **watched(log), "DUOMO_HOME": str(home), "DUOMO_PORT": str(port)}
    environment |= {f"DUOMO_{name}_PER_MINUTE": "100000" for name in ("VISITORS", "MESSAGES", "UPLOADS")}
    service = Service(home, environment=environment, database_url=None)
    with service.running(say=print) as dsn:
        yield Running(service, f"http://127.0.0.1:{port}", dsn, home, log)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with whole_service(reachable(tmp_path_factory.mktemp("service"))) as started:
        yield started


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo workspace with all of its articles; whoever uses it leaves it as it was."""
    home = reachable(tmp_path_factory.mktemp("demo"))
    with whole_service(home, articles=False) as started:
        loaded = duomo(home, "demo")
        assert loaded.returncode == 0, loaded.stderr
        yield started


@pytest.fixture
async def http(running: Running) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=running.url, timeout=30) as client:
        yield client
