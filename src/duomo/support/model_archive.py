"""A model that comes as a zip archive: unpacked without trust, checked, and taken over by a worker.

The web process unpacks it and compares every hash; it opens no graph. What the folder holds is opened by a worker
(`take_over`), which whoever sent it waits for as for the answer to a question.
"""

from __future__ import annotations

import asyncio
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from duomo.errors import DuomoError, InputError, MediaError, TooLarge
from duomo.models.manifest import Manifest
from duomo.store.postgres import Database
from duomo.support import registry

MIB = 2**20
MAX_BYTES = 512 * MIB  # of the archive
MAX_UNPACKED = 1024 * MIB
MAX_MEMBERS = 200
MAX_RATIO = 200  # unpacked to packed, of a file larger than 1 MiB
MAX_MANIFEST = 8 * MIB
CHUNK = 256 * 1024

_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError, ValueError)


def unpack(archive: IO[bytes], into: Path) -> Path:
    """Write the model of an archive into a new folder, and compare every file with its hash.

    The model lies at the archive's top or in a folder of it, which may be a trained model's whole folder with `onnx/`.
    Only what the manifest names is unpacked.

    Args:
        into: must not exist.
    Returns:
        `into`.
    Raises:
        MediaError: not an archive, or one that leads out of itself.
        TooLarge: more files or bytes than allowed, as stated or as they come.
        InputError, ModelUnavailable: no exported model; says what is wrong with it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened)
            _unpack(opened, members, _top(members), into)
    except _UNREADABLE as error:
        raise MediaError(f"the file is not a zip archive that can be read: {error}.") from error
    Manifest.read(into / registry.MANIFEST).check(into)
    return into


def _members(archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    found = [member for member in archive.infolist() if not member.is_dir()]
    if len(found) > MAX_MEMBERS:
        raise TooLarge(f"the archive holds {len(found)} files, allowed are {MAX_MEMBERS}. Send one model alone.")
    members = {}
    for member in found:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in member.filename or ":" in path.parts[0]:
            raise MediaError(f"{member.filename!r} points outside of the archive.", code="unsafe_path")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise MediaError(f"{member.filename!r} is a symbolic link; send files only.", code="unsafe_path")
        if member.flag_bits & 1:
            raise MediaError(f"{member.filename!r} is encrypted. Send it without a password.")
        if member.file_size > MIB and member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise TooLarge(f"{member.filename!r} unpacks to {member.file_size // max(member.compress_size, 1)} times.")
        members[path] = member
    if sum(member.file_size for member in members.values()) > MAX_UNPACKED:
        raise TooLarge(f"the archive unpacks to more than {MAX_UNPACKED // MIB} MiB.")
    return members


def _top(members: Sequence[PurePosixPath] | dict[PurePosixPath, Any]) -> PurePosixPath:
    """The folder of the manifest that lies highest."""
    tops = sorted((path.parent for path in members if path.name == registry.MANIFEST), key=lambda top: len(top.parts))
    if tops and len(tops[0].parts) <= 2:
        return tops[0]
    if any(path.name == "model.json" for path in members):
        raise InputError(
            "the model is trained but not exported. Run `duomo export FOLDER --onnx`, then send FOLDER/onnx."
        )
    raise InputError(f"the archive holds no {registry.MANIFEST}. Send the folder that `duomo export --onnx` wrote.")


def _unpack(
    archive: zipfile.ZipFile, members: dict[PurePosixPath, zipfile.ZipInfo], top: PurePosixPath, into: Path
) -> None:
    into.mkdir(parents=True, mode=0o700)
    _write(archive, members[top / registry.MANIFEST], into / registry.MANIFEST, MAX_MANIFEST)
    manifest = Manifest.read(into / registry.MANIFEST)
    left = MAX_UNPACKED
    for name in manifest.files:  # which lie inside, says `Manifest.read`
        member = members.get(top / name)
        if member is None:
            raise InputError(f"the archive lacks {name}, which the manifest names. Send the whole folder.")
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        left -= _write(archive, member, into / name, left)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, most: int) -> int:
    """Returns: the bytes that came, which need not be those the archive states."""
    size = 0
    with archive.open(member) as source, path.open("xb") as target:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise TooLarge(f"{member.filename!r} unpacks to more than {most // MIB} MiB.")
            target.write(chunk)
    return size


async def take_over(db: Database, home: Path, workspace_id: str, question_id: str) -> None:
    """The worker's part: open the unpacked folder, register it, and answer who waits. May be run twice."""
    async with db.transaction(workspace_id) as tx:
        row = await tx.one("question", id=question_id)
    if row is None or row["answer"] is not None or row["error"] is not None:
        return
    query = row["query"]
    folder = home / "incoming" / PurePosixPath(query["folder"]).name
    answer: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    try:
        model = await registry.register(
            db, home, workspace_id, folder, origin="folder", name=query["name"], agent_id=query["agent_id"]
        )
        answer = {"id": str(model["id"])}
    except DuomoError as refused:
        error = {"code": refused.code, "message": str(refused)}
    async with db.transaction(workspace_id) as tx:
        await tx.run("answer_question", id=question_id, answer=answer, error=error)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
