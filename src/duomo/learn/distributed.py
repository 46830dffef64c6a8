"""Several processes train one network: `torchrun --nproc-per-node=N -m duomo.cli train …`.

Each process takes its share of every batch and the gradients are added up, so that N processes do what one would, up to
the order of floating point sums. One process needs nothing of this: every method then does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class World:
    rank: int = 0
    size: int = 1

    def mine(self, rows: int) -> slice:
        """The rows of a batch that this process takes."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def add(self, value: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.size > 1:
            value = value.contiguous()
            distributed.all_reduce(value)
        return value

    def wait(self) -> None:
        """Until every process has come here."""
        if self.size > 1:
            distributed.all_reduce(torch.zeros(1))


@contextmanager
def world() -> Iterator[World]:
    """The processes that torchrun started; alone otherwise."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    distributed.init_process_group("gloo")
    try:
        yield World(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
