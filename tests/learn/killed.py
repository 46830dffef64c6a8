"""Trains in child processes that are killed with SIGKILL, until one comes through.

    python -m tests.learn.killed FOLDER

Prints JSON: by training the SHA-256 of weights.safetensors never disturbed and of those of killed runs, how many kills
it took, and in which stages they fell.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from duomo.learn import train
from duomo.learn.checkpoint import Stages
from duomo.learn.model import Model
from duomo.learn.task import Head, Task
from duomo.models.manifest import sha256
from tests.learn.synthetic import Rows, rows, task

HEADS = (Head("intent"), Head("price", "number"))
TRAININGS: dict[str, Task] = {
    "supervised": task(*HEADS, epochs=4, balance="g_blend"),
    "semi-supervised": task(*HEADS, epochs=3, folds=2, mode="semi-supervised"),
    "self-supervised": task(*HEADS, epochs=3, fusion="intermediate", mode="self-supervised"),
}


def data() -> Rows:
    given = rows(120)
    truth = given.labels["intent"]
    known = [label if row < 90 else None for row, label in enumerate(truth)]
    return given.label(intent=known, price=[None if label is None else float("abc".index(label)) for label in known])


def once(of: Task, folder: Path, told: Callable[[str], None]) -> None:
    given = data()
    stages = Stages(folder / "stages", identity="always this")
    model = Model(of).fit_features(
        given.features, given.views, given.labels, given.groups,
        stages=stages, progress=lambda entry: told(entry["stage"]),
    )  # fmt: skip
    model.save(folder / "model")


def child(run: Callable[[], None]) -> int:
    """The process that runs it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        run()
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def ended(pid: int) -> bool:
    """Whether it came through, not killed."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def killed_at_events(of: Task, folder: Path, dice: random.Random) -> tuple[int, list[str]]:
    """Each child kills itself after a few stages or epochs."""
    log = folder / "log"
    kills, most = 0, 6
    while True:
        left = [dice.randint(1, most)]  # finished stages are told again

        def told(stage: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                with log.open("a") as file:
                    file.write(stage + "\n")
                os.kill(os.getpid(), signal.SIGKILL)

        if ended(child(lambda told=told: once(of, folder, told))):  # type: ignore[misc]
            return kills, log.read_text().split()
        kills, most = kills + 1, most + 6


def killed_at_moments(of: Task, folder: Path, dice: random.Random) -> int:
    """Each child is killed from outside after some milliseconds, also while it writes."""
    kills, longest = 0, 0.2
    while True:
        pid = child(lambda: once(of, folder, lambda stage: None))
        time.sleep(dice.uniform(0.05, longest))
        os.kill(pid, signal.SIGKILL)
        if ended(pid):
            return kills
        kills, longest = kills + 1, longest * 1.5


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    train.SAVE_EVERY_S = 0.0  # a checkpoint after every epoch
    dice = random.Random(0)
    found = {}
    for name, of in TRAININGS.items():
        places = [folder / name / how for how in ("whole", "events", "moments")]
        for place in places:
            place.mkdir(parents=True)
        assert ended(child(lambda of=of, at=places[0]: once(of, at, lambda stage: None)))  # type: ignore[misc]
        kills, stages = killed_at_events(of, places[1], dice)
        kills += killed_at_moments(of, places[2], dice)
        hashes = [sha256(place / "model" / "weights.safetensors") for place in places]
        found[name] = {"hashes": hashes, "kills": kills, "stages": stages}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
