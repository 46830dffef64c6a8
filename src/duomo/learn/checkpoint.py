"""Results of training stages on disk: written whole or not at all, as tensors and JSON, never as code.

A training run is a list of named stages, each a function of its inputs and the seed. What is finished is read back;
what was under way goes on from its last epoch; so a run that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
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
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
        except (FileNotFoundError, SafetensorError, ValueError):
            return None
        if not isinstance(header, dict) or header.get("identity") != self.identity:
            return None
        facts: dict[str, Any] = header.get("facts", {})
        return (arrays, facts) if header.get("digest") == _digest(name, arrays, facts) else None

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """
        Args:
            facts: JSON values beside the arrays.
        """
        if self.folder is None or not self.writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        header = {"identity": self.identity, "facts": facts, "digest": _digest(name, whole, facts)}
        write_whole(self._path(name), save(whole, {"duomo": json.dumps(header, ensure_ascii=False)}))

    def drop(self, name: str) -> None:
        if self.folder is not None and self.writes:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        # Heads bear any name of 100 characters: what is readable of it stands before a hash that tells names apart.
        readable = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[:80]
        return self.folder / f"{readable}-{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}.safetensors"


def _digest(name: str, arrays: Mapping[str, NDArray[Any]], facts: object) -> str:
    """Of what a stage says, so that a disk's wrong bit is not taken for a weight."""
    digest = hashlib.blake2b(json.dumps([name, facts], sort_keys=True).encode(), digest_size=16)
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}\n".encode())
        digest.update(arrays[key].data)
    return digest.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write so that whoever looks sees the old content or the new, also after the power failed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
