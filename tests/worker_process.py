"""A worker with stand-ins for its models, for tests that kill it.

    python -m tests.worker_process DSN HOME QUEUES

The first turn, and the first picture, stop for a minute after they made the file HOME/in-turn or HOME/in-perceive;
later ones, in whatever process, go on at once. With the file HOME/deadly there, every turn kills its own process.
A training makes the file HOME/training-ID-PID and lasts a minute.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from duomo import worker
from duomo.knowledge.retrieve import Query
from duomo.models.embed import Pixels, Vectors
from duomo.models.speech import Waveform
from duomo.settings import Settings
from duomo.settings import load as load_settings
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database
from duomo.support.answer import Answerer
from duomo.support.perceive import Senses
from duomo.support.turn import Desk
from duomo.testing import FakeEmbedder
from duomo.types import Artifact, Language, Passage
from tests.support.conftest import calibration, passage


class Slow:
    """A knowledge base and eyes that can be caught in the middle of their work."""

    def __init__(self, home: Path) -> None:
        self.home = home

    async def retrieve(self, workspace_id: str, query: Query) -> list[Passage]:
        if (self.home / "deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if self._first("in-turn"):
            await asyncio.sleep(60)
        return [passage("Delivery to Hong Kong costs ¥35.")]

    def voice(self, waveform: Waveform, *, language_hint: Language | None = None) -> list[Artifact]:
        raise AssertionError("no test sends sound here")

    def picture(self, image: Pixels) -> tuple[list[Artifact], Vectors]:
        if self._first("in-perceive"):
            time.sleep(60)
        return [Artifact("ocr", "E21", 0.9, "eyes", "1", 5)], np.ones(8, dtype=np.float32)

    def _first(self, name: str) -> bool:
        try:
            (self.home / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


async def unrepaired(workspace_id: str, text: str, language: Language | None) -> str:
    return text


async def train(db: Database, blobs: Blobs, home: Path, workspace_id: str, improvement_id: str) -> None:
    (home / f"training-{improvement_id}-{os.getpid()}").touch()
    await asyncio.sleep(60)


def load(db: Database, blobs: Blobs, queues: Sequence[str], settings: Settings) -> worker.Work:
    slow = Slow(settings.home)
    answerer = Answerer(slow, FakeEmbedder(), calibration=calibration())
    return worker.Work(
        db, blobs, Desk(db, blobs, answerer), Senses(db, blobs, slow, unrepaired), home=settings.home
    )  # fmt: skip


def main(dsn: str, home: str, queues: str) -> None:
    worker.STALLED_S = dict.fromkeys(worker.STALLED_S, 6.0)  # type: ignore[misc]
    worker.improving.run = train  # type: ignore[assignment]
    settings = load_settings({}, home=Path(home))
    asyncio.run(worker.run(dsn, queues.split(","), settings, ready=lambda: print("ready", flush=True), load=load))


if __name__ == "__main__":
    main(*sys.argv[1:])
