"""Files: the two pages, what they load, the shop's pictures, and customers' media behind their signature."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from functools import lru_cache
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from duomo.errors import NotFound
from duomo.server.site import SiteDep

router = APIRouter(include_in_schema=False)
media_router = APIRouter(tags=["customer"])

_PACKAGE = Path(str(resources.files("duomo")))
WEB = _PACKAGE / "web"
SCENARIOS = _PACKAGE / "scenarios"

_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".wav": "audio/wav",
}
_SHOWN = ("image/", "audio/")  # everything else is downloaded, never opened
_INERT = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",  # a widget shows it on another site's page
    "Cache-Control": "private, max-age=3600, immutable",
}


@router.get("/")
async def shop(request: Request) -> Response:
    return _file(request, WEB, "shop/index.html")


@router.get("/console")
@router.get("/console/")
async def console(request: Request) -> Response:
    return _file(request, WEB, "console/index.html")


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    return _file(request, WEB, "shared/favicon.svg")


@router.get("/w/widget.js")
async def widget(request: Request) -> Response:
    return _file(request, WEB, "widget/widget.js")


@router.get("/w/scenarios/{scenario}/media/{path:path}")
async def scenario_media(request: Request, scenario: str, path: str) -> Response:
    if not scenario.isidentifier():
        raise NotFound("there is no such page.")
    return _file(request, SCENARIOS / scenario / "media", path)


@router.get("/w/{path:path}")
async def asset(request: Request, path: str) -> Response:
    return _file(request, WEB, path)


@media_router.get("/media/{signed}", response_class=FileResponse)
async def media(site: SiteDep, signed: str) -> FileResponse:
    """A file of a message or of the knowledge, by the address that stands in the message. It cannot run anything."""
    grant = site.keys.media(signed)
    name = None
    async with site.db.transaction(grant.workspace_id) as tx:
        if grant.conversation_id is None:
            row = await tx.one("knowledge_picture", key=grant.key)
        else:
            row = await tx.one("part_of_blob", conversation_id=grant.conversation_id, key=grant.key)
            name = row["name"] if row else None
    if row is None:
        raise NotFound("there is no such file.")
    mime = str(row["mime"])
    shown = mime.startswith(_SHOWN) and mime != "image/svg+xml"
    return FileResponse(
        site.blobs.path(grant.workspace_id, grant.key),
        media_type=mime if shown else "application/octet-stream",
        headers={**_INERT, "Content-Disposition": _disposition("inline" if shown else "attachment", name, mime)},
    )


def _disposition(how: str, name: str | None, mime: str) -> str:
    stem = Path(name or "file").stem or "file"
    ending = mimetypes.guess_extension(mime) or ".bin"  # of what it is, not of what it was called
    return f"{how}; filename*=UTF-8''{quote(stem + ending, safe='')}"


def _file(request: Request, root: Path, path: str) -> Response:
    """A file of the package; the browser asks each time whether it is still the same."""
    found = _inside(root, path)
    tag = _tag(str(found), os.stat(found).st_mtime_ns)
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"}
    if root == WEB:  # a widget on another site's page loads its modules with CORS
        headers["Access-Control-Allow-Origin"] = "*"
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(found, media_type=_TYPES.get(found.suffix, "application/octet-stream"), headers=headers)


def _inside(root: Path, path: str) -> Path:
    """
    Raises:
        NotFound: not a file below `root`, whatever the path tries.
    """
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, ValueError):
        raise NotFound("there is no such page.") from None
    if not found.is_relative_to(root.resolve()) or not found.is_file() or found.suffix == ".py":
        raise NotFound("there is no such page.")
    return found


@lru_cache(maxsize=512)
def _tag(path: str, _changed: int) -> str:
    return f'"{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:20]}"'
