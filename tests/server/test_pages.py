"""Pages, their files, and promise 11: customers' media are served inert, to who may see them."""

from __future__ import annotations

import re
import uuid
from importlib.util import cache_from_source
from pathlib import Path

import httpx2
import pytest

from duomo.server.auth import MediaGrant
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from tests.server.conftest import Person, Running, png, within

AUDIO = b"RIFF" + b"\0" * 4 + b"WAVE" + bytes(range(256)) * 8


async def ready_part(
    db: Database, blobs: Blobs, workspace: Workspace, visitor: Person, data: bytes, mime: str, name: str
) -> str:
    """A message with a file that a worker has made ready. Returns: its address."""
    id = str(uuid.uuid4())
    await visitor.say("look", id=id)
    key = blobs.put(workspace.id, data)
    kind = mime.split("/")[0] if mime.startswith(("image/", "audio/")) else "document"
    async with db.transaction(workspace.id) as tx:
        await tx.run("insert_blob", key=key, mime=mime, size=len(data))
        await tx.connection.execute(
            "INSERT INTO parts (message_id, position, kind, state, mime, name, blob) "
            "VALUES (%s, 0, %s, 'ready', %s, %s, %s)",
            (id, kind, mime, name, key),
        )
    [frame] = [f for f in await within(10, visitor.read_events(1)) if f.data["id"] == id]
    return str(frame.data["parts"][0]["url"])


async def test_a_picture_is_shown_and_cannot_do_anything(
    visitor: Person, db: Database, blobs: Blobs, workspace: Workspace
) -> None:
    url = await ready_part(db, blobs, workspace, visitor, png(), "image/png", "截图.exe")
    answer = await visitor.http.get(url)
    assert (answer.status_code, answer.content) == (200, png())
    headers = {
        name: answer.headers[name]
        for name in ("content-type", "content-disposition", "x-content-type-options", "content-security-policy")
    }
    assert headers == {
        "content-type": "image/png",
        "content-disposition": "inline; filename*=UTF-8''%E6%88%AA%E5%9B%BE.png",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
    }


@pytest.mark.parametrize("mime", ["application/pdf", "text/plain", "text/html", "image/svg+xml"])
async def test_what_could_run_is_downloaded(
    visitor: Person, db: Database, blobs: Blobs, workspace: Workspace, mime: str
) -> None:
    url = await ready_part(db, blobs, workspace, visitor, b"<script>alert(1)</script>", mime, "a.html")
    answer = await visitor.http.get(url)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''a.")


async def test_sound_can_be_played_from_the_middle(
    visitor: Person, db: Database, blobs: Blobs, workspace: Workspace
) -> None:
    url = await ready_part(db, blobs, workspace, visitor, AUDIO, "audio/wav", "note.wav")
    answer = await visitor.http.get(url, headers={"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, AUDIO[100:200])
    assert answer.headers["content-range"] == f"bytes 100-199/{len(AUDIO)}"


async def test_an_address_opens_one_file_of_one_conversation(
    visitor: Person, db: Database, blobs: Blobs, workspace: Workspace, web: Running
) -> None:
    url = await ready_part(db, blobs, workspace, visitor, png(), "image/png", "a.png")
    grant = web.site.keys.media(url.removeprefix("/api/v1/media/"))
    elsewhere = [
        MediaGrant(grant.workspace_id, str(uuid.uuid4()), grant.key),
        MediaGrant(grant.workspace_id, None, grant.key),
        MediaGrant(str(uuid.uuid4()), grant.conversation_id, grant.key),
        MediaGrant(grant.workspace_id, grant.conversation_id, "00" * 32),
    ]
    statuses = [(await visitor.http.get(web.site.keys.media_url(other))).status_code for other in elsewhere]
    assert statuses == [404, 404, 404, 404]


async def test_an_altered_or_expired_address_opens_nothing(
    visitor: Person, db: Database, blobs: Blobs, workspace: Workspace, web: Running
) -> None:
    url = await ready_part(db, blobs, workspace, visitor, png(), "image/png", "a.png")
    grant = web.site.keys.media(url.removeprefix("/api/v1/media/"))
    expired = web.site.keys.media_url(grant, now=1_000_000.0)
    altered = url[:30] + ("A" if url[30] != "A" else "B") + url[31:]
    for wrong in (expired, altered, "/api/v1/media/x", "/api/v1/media/a.b", "/api/v1/media/%00"):
        assert (await visitor.http.get(wrong)).status_code == 404


async def test_an_address_stands_nowhere_in_the_log(
    visitor: Person, db: Database, blobs: Blobs, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    url = await ready_part(db, blobs, workspace, visitor, png(), "image/png", "a.png")
    with caplog.at_level("INFO", logger="duomo.server"):
        await visitor.http.get(url)
        await visitor.say("my card is 4929")
    assert "GET /api/v1/media/… 200" in caplog.text
    assert url not in caplog.text
    assert "4929" not in caplog.text


async def test_a_file_that_is_not_ready_has_no_address(visitor: Person) -> None:
    [part] = (await visitor.send_file(png(), "a.png")).json()["parts"]
    assert part["url"] is None


# Pages ------------------------------------------------------------------------------------------------------------


async def test_a_file_is_sent_once_and_then_confirmed(http: httpx2.AsyncClient) -> None:
    first = await http.get("/w/shared/api.js")
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = await http.get("/w/shared/api.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/w/../server/app.py",
        "/w/%2e%2e/server/app.py",
        "/w/..%2fserver%2fapp.py",
        "/w//etc/passwd",
        "/w/%2fetc/passwd",
        "/w/shared",
        "/w/",
        "/w/%00",
        "/w/" + "x" * 5000,
        "/w/scenarios/customer_service/media/../workspace.json",
        "/w/scenarios/customer_service/media/%2e%2e/workspace.json",
        "/w/scenarios/../../server/media/app.py",
        f"/w/scenarios/%2e%2e/media/__pycache__/{Path(cache_from_source('sniff.py')).name}",
    ],
)
async def test_no_path_leads_out_of_the_pages(web: Running, path: str) -> None:
    async with httpx2.AsyncClient() as http:
        request = http.build_request("GET", web.url)
        request.url = request.url.copy_with(raw_path=path.encode())
        answer = await http.send(request)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_a_link_in_the_pages_does_not_lead_out(
    http: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from duomo.server import pages

    (tmp_path / "web").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "web" / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(pages, "WEB", tmp_path / "web")
    assert (await http.get("/w/link.txt")).status_code == 404


async def test_pages_run_only_our_own_scripts(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/console")
    policy = dict(re.findall(r"([a-z-]+) ([^;]+)", answer.headers["content-security-policy"]))
    assert answer.status_code == 200
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert policy["frame-ancestors"] == "'self'"
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=", answer.text)


async def test_the_api_describes_itself_without_another_host(http: httpx2.AsyncClient) -> None:
    page = await http.get("/docs")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)
    described = (await http.get("/openapi.json")).json()["paths"]
    for path in described:
        assert path in page.text.replace("&#x27;", "'")


async def test_every_call_of_the_protocol_is_described(http: httpx2.AsyncClient) -> None:
    protocol = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    named = {
        (method, re.sub(r"\{[^}]*\}", "{}", path.split("?")[0]))
        for row in re.findall(r"^\| (`(?:GET|POST|PUT|DELETE) .*?) \|", protocol, re.MULTILINE)
        for method, path in re.findall(r"`(GET|POST|PUT|DELETE) ([^\s`]+)", row)
    }
    paths = (await http.get("/openapi.json")).json()["paths"]
    served = {
        (method.upper(), re.sub(r"\{[^}]*\}", "{}", path.removeprefix("/api/v1/")))
        for path, methods in paths.items()
        if path.startswith("/api/v1/")
        for method in methods
    }
    assert named == served


async def test_health_says_that_the_process_runs_and_readiness_what_is_missing(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"database": True, "worker": False})
