"""Multipart bodies, read as they arrive: files go to disk and are counted on the way, fields stay in memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from duomo.errors import InputError, TooLarge

_FIELDS = 16  # small values beside the files
_SILENCE = 60.0  # seconds after which a sender that says nothing is dropped
_LINGER_S, _LINGER_BYTES = 10.0, 64 * 2**20


@dataclass(slots=True)
class Upload:
    """One file of a body, on disk until the body is closed."""

    name: str
    file: IO[bytes]
    size: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        return str(self._hash.hexdigest())

    def read(self, size: int = -1) -> bytes:
        self.file.seek(0)
        return self.file.read(size)


@dataclass(slots=True)
class Body:
    fields: dict[str, str]
    files: list[Upload]


@asynccontextmanager
async def multipart(
    request: Request, *, folder: Path, max_files: int, max_bytes: int, max_field: int
) -> AsyncIterator[Body]:
    """Read the whole body; its files vanish when the context ends.

    Args:
        folder: where the temporary files lie.
        max_files: files in the body.
        max_bytes: of one file.
        max_field: bytes of one other value.
    Raises:
        TooLarge: at the first byte beyond a limit; what follows is not kept.
        InputError: not multipart, or malformed.
    """
    reader = _Reader(folder=folder, max_files=max_files, max_bytes=max_bytes, max_field=max_field)
    try:
        try:
            await _feed(request, reader)
        except InputError:
            await _linger(request)
            raise
        yield Body(reader.fields, reader.files)
    finally:
        for upload in reader.files:
            upload.file.close()


async def _feed(request: Request, reader: _Reader) -> None:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InputError("the body is not multipart/form-data with a boundary. Send a form.")
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())  # type: ignore[arg-type]
        chunks = request.stream().__aiter__()
        while True:
            async with asyncio.timeout(_SILENCE):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise InputError("the form is malformed. Send it again.") from error
    except TimeoutError as error:
        raise InputError(f"nothing arrived for {_SILENCE:.0f} s. Send it again.") from error
    if not reader.complete:
        raise InputError("the form ends too early. Send it again.")


async def _linger(request: Request) -> None:
    """Take a little more and throw it away: a browser that is cut off while sending never reads the refusal."""
    with contextlib.suppress(TimeoutError, RuntimeError):  # RuntimeError: the body was read to its end
        async with asyncio.timeout(_LINGER_S):
            thrown = 0
            async for chunk in request.stream():
                thrown += len(chunk)
                if thrown > _LINGER_BYTES:
                    return


class _Reader:
    """The parser's callbacks; they run between two reads and may refuse at any byte."""

    def __init__(self, *, folder: Path, max_files: int, max_bytes: int, max_field: int) -> None:
        self.fields: dict[str, str] = {}
        self.files: list[Upload] = []
        self.complete = False
        self._folder, self._max_files, self._max_bytes, self._max_field = folder, max_files, max_bytes, max_field
        self._header, self._value = b"", b""
        self._disposition = b""
        self._name = ""
        self._upload: Upload | None = None
        self._field = bytearray()

    def callbacks(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in dir(self) if name.startswith("on_")}

    def on_part_begin(self) -> None:
        self._disposition, self._upload, self._field = b"", None, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InputError("a part of the form has no name. Send it again.")
        self._name = _text(options[b"name"])
        if b"filename" not in options:
            if len(self.fields) >= _FIELDS:
                raise InputError(f"the form has more than {_FIELDS} fields.")
            return
        if len(self.files) >= self._max_files:
            raise TooLarge(f"more than {self._max_files} files in one message. Send the rest in another.")
        # the name is shown to people and never used as a path
        name = _text(options[b"filename"]).replace("\\", "/").rsplit("/", 1)[-1][-200:]
        self._upload = Upload(name, TemporaryFile(dir=self._folder))  # noqa: SIM115 - closed by `multipart`
        self.files.append(self._upload)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._upload is None:
            if len(self._field) + size > self._max_field:
                raise TooLarge(f"{self._name!r} is longer than {self._max_field} bytes.")
            self._field += data[start:end]
        elif self._upload.size + size > self._max_bytes:
            allowed = self._max_bytes / 2**20
            raise TooLarge(f"{self._upload.name!r} is larger than the allowed {allowed:.0f} MB. Send a smaller one.")
        else:
            self._upload.write(data[start:end])

    def on_part_end(self) -> None:
        if self._upload is None:
            self.fields[self._name] = _text(bytes(self._field))

    def on_end(self) -> None:
        self.complete = True


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("a text in the form is not UTF-8.") from None
