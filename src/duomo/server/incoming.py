"""A message as it arrives: a JSON object, or a form with files that are stored before the message is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from duomo.errors import InputError
from duomo.media.sniff import HEAD, sniff
from duomo.server.limits import address
from duomo.server.shapes import MAX_TEXT
from duomo.server.site import Site
from duomo.server.uploads import Upload, multipart
from duomo.store.postgres import Workspace
from duomo.support.conversation import IncomingFile, Settings

Sent = TypeVar("Sent", bound=BaseModel)


@asynccontextmanager
async def read_message(
    request: Request, site: Site, workspace: Workspace, shape: type[Sent], *, sender: str
) -> AsyncIterator[tuple[Sent, Sequence[IncomingFile]]]:
    """The fields of a message and its files, which are stored and recognised.

    Args:
        sender: whose rate of files counts.
    Raises:
        TooMany, TooLarge, MediaError, InputError: as the protocol says.
    """
    if not request.headers.get("content-type", "").startswith("multipart/"):
        yield parse(shape, await request.body()), ()
        return
    limits = Settings.of(workspace.settings)
    async with multipart(
        request,
        folder=site.incoming,
        max_files=limits.max_files,
        max_bytes=limits.max_bytes,
        max_field=4 * MAX_TEXT,
    ) as body:
        sent = parse(shape, {name: value for name, value in body.fields.items() if value != ""})
        if body.files:
            site.rates.uploads_by_address.take(address(request), amount=len(body.files))
            site.rates.uploads.take(sender, amount=len(body.files))
        yield sent, [await store_file(site, workspace, upload) for upload in body.files]


async def store_file(site: Site, workspace: Workspace, upload: Upload) -> IncomingFile:
    """
    Raises:
        MediaError: its content is not of an accepted type.
    """
    found = sniff(upload.read(HEAD), upload.name)
    key = await keep_file(site, workspace, upload)
    return IncomingFile(kind=found.kind, mime=found.mime, name=upload.name, blob_key=key, size=upload.size)


async def keep_file(site: Site, workspace: Workspace, upload: Upload) -> str:
    """Store a file whatever it is. Returns: its key."""
    async with site.storing:
        return await asyncio.to_thread(lambda: site.blobs.put(workspace.id, upload.read()))


def parse(shape: type[Sent], data: bytes | dict[str, str]) -> Sent:
    """
    Raises:
        InputError: names the first field that is wrong, without quoting what stood there.
    """
    try:
        return shape.model_validate_json(data) if isinstance(data, bytes) else shape.model_validate(data)
    except ValidationError as error:
        raise InputError(first_problem(error.errors())) from None


def first_problem(problems: Sequence[object]) -> str:
    """Of pydantic's list: where and what, never the value."""
    for problem in problems:
        if isinstance(problem, dict):
            where = ".".join(str(step) for step in problem["loc"] if step not in {"body", "path", "query"})
            return f"{where or 'the body'}: {problem['msg']}"
    return "the request cannot be read."
