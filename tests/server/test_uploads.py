"""Promise 7: limits are counted while a body arrives, and what is too much is never kept."""

from __future__ import annotations

import resource
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from duomo.server.site import Rates
from duomo.settings import Settings
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from tests.server.conftest import Person, Running, become_visitor, png

BOUNDARY = "frontier"
SMALL = 1000  # bytes allowed in the workspace of these tests


@pytest.fixture
async def workspace(db: Database) -> Workspace:
    return await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {"max_bytes": SMALL, "max_files": 2})


@pytest.fixture
async def visitor(http: httpx2.AsyncClient, workspace: Workspace) -> Person:
    return await become_visitor(http, workspace)


def request_head(web: Running, visitor: Person, length: str) -> bytes:
    port = web.url.rsplit(":", 1)[1]
    path = f"/api/v1/conversations/{visitor.conversation}/messages/{uuid.uuid4()}"
    return (
        f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {visitor.headers['Authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{length}\r\n\r\n"
    ).encode()


def part_head(name: str = "file", filename: str = "a.png") -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode()


def talk_raw(web: Running, pieces: Iterator[bytes]) -> bytes:
    """Send pieces until the server closes or they end; then what it answered."""
    with socket.create_connection(("127.0.0.1", int(web.url.rsplit(":", 1)[1])), timeout=20) as wire:
        try:
            for piece in pieces:
                wire.sendall(piece)
        except OSError:
            pass
        try:
            return wire.recv(65536)
        except OSError:
            return b""


async def test_a_file_at_the_limit_is_taken_and_one_byte_more_is_not(visitor: Person) -> None:
    picture = png()
    fits = picture + b"\0" * (SMALL - len(picture))
    assert (await visitor.send_file(fits, "a.png")).status_code == 201
    answer = await visitor.send_file(fits + b"\0", "a.png")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_body_that_hides_its_length_is_counted_while_it_arrives(web: Running, visitor: Person) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield request_head(web, visitor, "Transfer-Encoding: chunked")
        first = part_head() + b"\x89PNG\r\n\x1a\n"
        yield f"{len(first):x}\r\n".encode() + first + b"\r\n"
        piece = b"10000\r\n" + b"\0" * 0x10000 + b"\r\n"
        while sent < 2**30:
            yield piece
            sent += 0x10000

    before = list(web.site.incoming.iterdir())
    answer = talk_raw(web, endless())
    assert sent < 200 * 2**20  # it hung up long before the gigabyte
    assert answer in (b"",) or answer.startswith(b"HTTP/1.1 413")
    assert list(web.site.incoming.iterdir()) == before


async def test_a_refused_upload_costs_no_memory(web: Running, visitor: Person) -> None:
    await visitor.send_file(png(), "a.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block = b"\0" * 2**20

    async def body():  # type: ignore[no-untyped-def]
        yield part_head()
        for _ in range(48):
            yield block
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    answer = await visitor.put(
        f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}",
        content=body(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert answer.status_code == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB, client and server together


async def test_one_file_too_many_is_refused_and_none_is_stored(
    visitor: Person, home: Path, workspace: Workspace
) -> None:
    files = [("file", (f"{n}.png", png(n + 1))) for n in range(3)]
    answer = await visitor.put(f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert list(Blobs(home / "media").keys(workspace.id)) == []


async def test_a_body_that_ends_too_early_stores_nothing(
    web: Running, visitor: Person, db: Database, workspace: Workspace
) -> None:
    body = part_head() + png()  # without the closing boundary
    answer = await visitor.put(
        f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
    async with db.transaction(workspace.id) as tx:
        assert await tx.all("messages", conversation_id=visitor.conversation, ids=None, after=0) == []


async def test_a_sender_who_leaves_in_the_middle_leaves_nothing(web: Running, visitor: Person) -> None:
    head = request_head(web, visitor, "Content-Length: 900")
    with socket.create_connection(("127.0.0.1", int(web.url.rsplit(":", 1)[1])), timeout=20) as wire:
        wire.sendall(head + part_head() + b"\x89PNG\r\n\x1a\n")
    assert (await visitor.say("still here")).json()["seq"] == 1
    assert list(web.site.incoming.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\photos\\screen.png", "screen.png"),
        ("截图.png", "截图.png"),
        ("x" * 500 + ".png", "x" * 196 + ".png"),
    ],
)
async def test_a_file_s_name_is_a_label_and_never_a_path(visitor: Person, sent: str, shown: str) -> None:
    body = part_head(filename="NAME").replace(b"NAME", sent.replace("\\", "\\\\").encode())
    answer = await visitor.put(
        f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}",
        content=body + png() + f"\r\n--{BOUNDARY}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert [part["name"] for part in answer.json()["parts"]] == [shown]


async def test_what_a_file_is_its_content_decides(visitor: Person) -> None:
    answer = await visitor.send_file(png(), "song.mp3")
    [part] = answer.json()["parts"]
    assert (part["kind"], part["mime"], part["state"], part["url"]) == ("image", "image/png", "received", None)


async def test_who_sends_too_much_is_asked_to_wait(
    visitor: Person, web: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.site, "rates", Rates.of(Settings(messages_per_minute=3, uploads_per_minute=1)))
    pictures = [await visitor.send_file(png(), "a.png") for _ in range(2)]
    assert [a.status_code for a in pictures] == [201, 429]
    texts = [await visitor.say("hello") for _ in range(2)]
    assert [a.status_code for a in texts] == [201, 429]
    assert texts[1].json()["error"]["code"] == "too_many"
    assert int(texts[1].headers["Retry-After"]) == texts[1].json()["error"]["retry_after"] == 20


async def test_one_address_cannot_be_endless_visitors(
    http: httpx2.AsyncClient, web: Running, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.site, "rates", Rates.of(Settings(visitors_per_minute=2)))
    answers = [await http.post("/api/v1/visitors", json={"workspace": workspace.name}) for _ in range(3)]
    assert [a.status_code for a in answers] == [201, 201, 429]


async def test_every_change_of_a_visitor_counts(visitor: Person, web: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.site, "rates", Rates.of(Settings(messages_per_minute=5)))
    here = f"conversations/{visitor.conversation}"
    answers = [
        await visitor.put(f"conversations/{uuid.uuid4()}", {}),
        await visitor.post(f"{here}/handoff"),
        await visitor.post(f"{here}/csat", {"score": 5}),
        await visitor.post(f"{here}/messages/{uuid.uuid4()}/feedback", {"value": "up"}),
        await visitor.post(f"{here}/artifacts/{uuid.uuid4()}", {"text": "x"}),
        await visitor.say("hello"),
    ]
    assert [a.status_code for a in answers] == [201, 204, 204, 404, 404, 429]
    assert (await visitor.get("conversations")).status_code == 200
