"""Find the files to ingest: on disk, in folders, in zip archives. Hostile archives end here."""

from __future__ import annotations

import io
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from duomo.errors import InputError, MediaError, TooLarge

MIB = 1 << 20
MAX_FILE_BYTES = 64 * MIB
MAX_RECORDS_BYTES = 512 * MIB  # JSONL and CSV, which are read line by line
MAX_ARCHIVE_BYTES = 512 * MIB
MAX_UNPACKED_BYTES = 2048 * MIB  # of one archive, all files together
MAX_MEMBERS = 20_000
ABOVE = 2  # folders above a file named alone in which the pictures of an article may lie
MAX_RATIO = 200  # unpacked to packed bytes of one member over 1 MiB; text reaches about 20

UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError, ValueError)
"""What `zipfile` raises for archives that are broken, cut, of an unknown compression or encrypted."""


def _nothing(_: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Source:
    """One file to ingest.

    Attributes:
        name: its path within what is ingested, with slashes: "zh/delivery-times.md".
        read: returns its bytes; raises InputError, with what is wrong, for a file that must be refused.
        within: the folder or archive it was found in; empty for a file named itself.
        beside: returns the bytes of the file at a path relative to this one, or None: the pictures of an article.
    """

    name: str
    read: Callable[[], bytes]
    within: str = ""
    beside: Callable[[str], bytes | None] = _nothing

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    @property
    def stem(self) -> str:
        """The path without its last suffix, "zh/delivery-times": the id of the article."""
        return str(PurePosixPath(self.name).with_suffix(""))


def sources_from_paths(paths: Iterable[Path]) -> Iterator[Source]:
    """The files at `paths`, those inside folders and archives too, in a stable order. Hidden files are passed over.

    Raises:
        InputError: a path does not exist.
    """
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                name = file.relative_to(path)
                if file.is_file() and not file.is_symlink() and not _hidden(name.as_posix()):
                    beside = _neighbours(file, top=path.resolve().parent)
                    yield from sources_from_file(name.as_posix(), _reader(file), str(path.resolve()), beside)
        elif path.is_file():
            beside = _neighbours(path, top=path.resolve().parents[min(ABOVE, len(path.resolve().parents) - 1)])
            yield from sources_from_file(path.name, _reader(path), beside=beside)
        else:
            raise InputError(f"there is no file or folder {path}. Check the path.")


def sources_from_file(
    name: str, read: Callable[[], bytes], within: str = "", beside: Callable[[str], bytes | None] = _nothing
) -> Iterator[Source]:
    """One file, or the members of an archive. An archive that is refused is one source whose `read` says why."""
    if not name.lower().endswith(".zip"):
        yield Source(name, read, within, beside)
        return
    try:
        yield from _members(name, read())
    except InputError as error:
        yield Source(name, _refusal(error), within)


def _reader(path: Path) -> Callable[[], bytes]:
    limit = MAX_RECORDS_BYTES if path.suffix.lower() in (".jsonl", ".csv", ".zip") else MAX_FILE_BYTES

    def read() -> bytes:
        found = path.stat().st_size
        if found > limit:
            raise TooLarge(f"{path.name} has {found // MIB} MiB, allowed are {limit // MIB}. Split it.")
        return path.read_bytes()

    return read


def _neighbours(file: Path, *, top: Path) -> Callable[[str], bytes | None]:
    """Reads a picture that an article names, unless it lies outside of `top`."""

    def beside(reference: str) -> bytes | None:
        path = (file.parent / reference).resolve()
        if not path.is_relative_to(top) or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return None
        return path.read_bytes()

    return beside


def _members(name: str, data: bytes) -> Iterator[Source]:
    if len(data) > MAX_ARCHIVE_BYTES:
        raise TooLarge(f"{name} has {len(data) // MIB} MiB, allowed are {MAX_ARCHIVE_BYTES // MIB}. Split it.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except UNREADABLE as error:
        raise MediaError(f"{name} is not a zip archive that can be read: {error}.") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise TooLarge(f"{name} holds {len(members)} files, allowed are {MAX_MEMBERS}. Split it.")
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_UNPACKED_BYTES:
        raise TooLarge(f"{name} unpacks to {unpacked // MIB} MiB, allowed are {MAX_UNPACKED_BYTES // MIB}. Split it.")
    by_name = {_member_name(member): member for member in members}

    def beside_of(inner: str) -> Callable[[str], bytes | None]:
        def beside(reference: str) -> bytes | None:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(inner), reference))
            member = by_name.get(path)
            try:
                if member is None:
                    return None
                _check_member(member, path)
                return _member_reader(archive, member, path)()
            except InputError:
                return None

        return beside

    for member in sorted(members, key=_member_name):
        inner = _member_name(member)
        if _hidden(inner) or inner.startswith("__MACOSX/"):
            continue
        try:
            _check_member(member, inner)
        except InputError as error:
            yield Source(f"{name}/{inner}", _refusal(error), name)
        else:
            yield Source(inner, _member_reader(archive, member, inner), name, beside_of(inner))


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or (len(name) > 1 and name[1] == ":"):
        raise MediaError(f"{name!r} points outside of its archive.", code="unsafe_path")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise MediaError(f"{name} is a symbolic link; archives may hold files only.", code="unsafe_path")
    if member.flag_bits & 1:
        raise MediaError(f"{name} is encrypted. Unpack it first.")
    if path.suffix.lower() == ".zip":
        raise MediaError(f"{name} is an archive within an archive. Unpack it first.")
    if member.file_size > MAX_FILE_BYTES:
        raise TooLarge(f"{name} unpacks to {member.file_size // MIB} MiB, allowed are {MAX_FILE_BYTES // MIB}.")
    if member.file_size > MIB and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        raise TooLarge(f"{name} unpacks to {member.file_size // max(member.compress_size, 1)} times its size.")


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(member) as file:
                return file.read(member.file_size)  # and no more: what is beyond the declared size fails its checksum
        except UNREADABLE as error:
            raise MediaError(f"{name} cannot be unpacked: {error}.") from error

    return read


def _member_name(member: zipfile.ZipInfo) -> str:
    """The name as its writer meant it: archives made on Chinese Windows carry GBK without saying so."""
    name = member.filename
    if not member.flag_bits & 0x800:
        try:
            raw = name.encode("cp437")
        except UnicodeEncodeError:
            return name.replace("\\", "/")
        for encoding in ("utf-8", "gb18030"):
            try:
                return raw.decode(encoding).replace("\\", "/")
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)


def _refusal(error: InputError) -> Callable[[], bytes]:
    def read() -> bytes:
        raise error

    return read
