"""Files by the hash of their content, on a disk that every process sees."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from duomo.errors import NotFound

_KEY = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """`ROOT/WORKSPACE/ab/abcdef…`. A file is whole or absent; its row in table `blobs` is written after it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, workspace_id: str, data: bytes) -> str:
        """Store bytes so that they survive a crash the moment this returns.

        Returns:
            The key: SHA-256 of the bytes, hexadecimal.
        """
        key = hashlib.sha256(data).hexdigest()
        path = self._path(workspace_id, key)
        if path.exists():
            os.utime(path)  # the sweep counts a file's age from its last use
            return key
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(file.name, path)
        _sync_directory(path.parent)
        return key

    def get(self, workspace_id: str, key: str) -> bytes:
        """
        Raises:
            NotFound: no such file in this workspace.
        """
        return self.path(workspace_id, key).read_bytes()

    def path(self, workspace_id: str, key: str) -> Path:
        path = self._path(workspace_id, key)
        if not path.is_file():
            raise NotFound(f"the file {key[:12]}… is not stored here.")
        return path

    def delete(self, workspace_id: str, key: str) -> None:
        self._path(workspace_id, key).unlink(missing_ok=True)

    def keys(self, workspace_id: str) -> Iterator[str]:
        for path in (self.root / str(workspace_id)).glob("??/*"):
            if _KEY.fullmatch(path.name):
                yield path.name

    def sweep(self, workspace_id: str, known: Collection[str], *, older_than_s: float = 3600) -> int:
        """Delete the files that no row names and that are old enough not to be on their way into one.

        Returns:
            How many were deleted.
        """
        border = time.time() - older_than_s
        removed = 0
        for path in (self.root / str(workspace_id)).glob("??/*"):
            if path.name not in known and path.stat().st_mtime < border:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _path(self, workspace_id: str, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise NotFound(f"{key[:80]!r} is not a file's key.")
        return self.root / str(workspace_id) / key[:2] / key


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
