"""Results of training stages on disk: written whole or not at all, as tensors and JSON, never as code.

A training run is a list of named stages, each a function of its inputs and the seed. What is finished is read back;
what was under way goes on from its last epoch; so a run that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

Arrays = dict[str, NDArray[Any]]


class Stages:
    """The folder of one run's stages.

    Args:
        folder: None keeps nothing: every stage runs.
        identity: of task and data. Stages of another identity are thrown away.
        writes: whether this process writes; of several, one does.
    """

    def __init__(self, folder: Path | None, *, identity: str, writes: bool = True) -> None:
        self.folder, self.identity, self.writes = folder, identity, writes

    def load(self, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        """What `save` wrote under this name for the same identity, or None."""
        if self.folder is None:
            return None
        try:
            with safe_open(self._path(name), framework="numpy") as file:
                header = json.loads((file.metadata() or {}).get("duomo", "{}"))
                if header.get("identity") != self.identity:
                    return None
                return {key: file.get_tensor(key) for key in file.keys()}, header["facts"]  # noqa: SIM118  # no mapping
        except (FileNotFoundError, SafetensorError):
            return None

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """
        Args:
            facts: JSON values beside the arrays.
        """
        if self.folder is None or not self.writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {"duomo": json.dumps({"identity": self.identity, "facts": facts}, ensure_ascii=False)}
        write_whole(self._path(name), save({key: np.ascontiguousarray(value) for key, value in arrays.items()}, header))

    def drop(self, name: str) -> None:
        if self.folder is not None and self.writes:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name.replace('/', '-')}.safetensors"


def write_whole(path: Path, data: bytes) -> None:
    """Write so that whoever looks sees the old content or the new, also after the power failed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
