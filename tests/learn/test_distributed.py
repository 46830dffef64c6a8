import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from duomo.learn.distributed import World, world
from tests.learn import shared_training

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-3  # of log-probabilities, logits and numbers: the order of floating point sums differs


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 5, 16])
def test_processes_share_a_batch_without_gap_or_overlap(size, rows):
    taken = [list(range(rows))[World(rank, size).mine(rows)] for rank in range(size)]

    assert [row for part in taken for row in part] == list(range(rows))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_one_process_has_no_one_to_wait_for(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    value = torch.arange(3.0)

    with world() as alone:
        alone.wait()
        assert alone == World(0, 1)
        assert alone.add(value) is value


def test_two_processes_train_what_one_trains(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "-m", "tests.learn.shared_training", str(tmp_path / "scores")],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]

    alone = shared_training.scores(World())

    first, second = (np.load(tmp_path / f"scores.{rank}.npz") for rank in (0, 1))
    for name, said in alone.items():
        np.testing.assert_allclose(first[name], said, atol=TOLERANCE, err_msg=name)
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
