"""A running web server on a free port, and people who use it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from duomo.server.__main__ import WebServer, web_server
from duomo.server.auth import save_agent
from duomo.server.site import Site
from duomo.settings import Settings
from duomo.store.postgres import Database, Workspace

PASSWORD = "correct horse battery"


@dataclass
class Running:
    server: WebServer
    url: str

    @property
    def site(self) -> Site:
        found = self.server.config.app.state.site  # type: ignore[union-attr]
        assert isinstance(found, Site)
        return found


def start(settings: Settings) -> Iterator[Running]:
    server = web_server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(server, f"http://127.0.0.1:{port}")
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def web(dsn: str, home: Path) -> Iterator[Running]:
    generous = dict.fromkeys(("visitors_per_minute", "messages_per_minute", "uploads_per_minute"), 1000000)
    yield from start(Settings(home=home, database_url=dsn, port=0, sign_ins_per_minute=1_000_000, **generous))


@dataclass
class Frame:
    """One server-sent event."""

    seq: int | None
    kind: str
    data: Any


@dataclass
class Person:
    """Somebody with a browser: a visitor (token) or an agent (cookie and CSRF token)."""

    http: httpx2.AsyncClient
    headers: dict[str, str]
    id: str = ""
    base: str = "/api/v1"
    conversation: str = field(default_factory=lambda: str(uuid.uuid4()))

    async def call(self, method: str, path: str, **sent: Any) -> httpx2.Response:
        headers = self.headers | sent.pop("headers", {})
        return await self.http.request(method, f"{self.base}/{path}", headers=headers, **sent)

    async def get(self, path: str, **sent: Any) -> httpx2.Response:
        return await self.call("GET", path, **sent)

    async def post(self, path: str, body: Any = None, **sent: Any) -> httpx2.Response:
        return await self.call("POST", path, json={} if body is None else body, **sent)

    async def put(self, path: str, body: Any = None, **sent: Any) -> httpx2.Response:
        return await self.call("PUT", path, **({"json": body} if body is not None else {}), **sent)

    async def say(self, text: str, *, id: str | None = None, conversation: str | None = None) -> httpx2.Response:
        path = f"conversations/{conversation or self.conversation}/messages/{id or uuid.uuid4()}"
        return await self.put(path, {"text": text})

    async def send_file(self, data: bytes, name: str, *, id: str | None = None, text: str = "") -> httpx2.Response:
        path = f"conversations/{self.conversation}/messages/{id or uuid.uuid4()}"
        return await self.put(path, data={"text": text}, files={"file": (name, data, "application/octet-stream")})

    @asynccontextmanager
    async def events(
        self, after: int = 0, *, conversation: str | None = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Frame]]:
        path = f"{self.base}/conversations/{conversation or self.conversation}/events?after={after}"
        async with self.http.stream("GET", path, headers=self.headers | (headers or {}), timeout=60) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            yield frames(response)

    async def read_events(self, count: int, after: int = 0) -> list[Frame]:
        async with self.events(after) as stream:
            return [await anext(stream) for _ in range(count)]


async def frames(response: httpx2.Response) -> AsyncIterator[Frame]:
    """The events of a stream; comments are left out."""
    found: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif "data" in found:
            seq = found.get("id")
            yield Frame(int(seq) if seq else None, found["event"], json.loads(found["data"]))
            found = {}


@pytest.fixture
async def http(web: Running) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=web.url, timeout=30) as client:
        yield client


async def become_visitor(http: httpx2.AsyncClient, workspace: Workspace, *, opened: bool = True) -> Person:
    answer = await http.post("/api/v1/visitors", json={"workspace": workspace.name, "language": "en"})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    person = Person(http, {"Authorization": f"Bearer {body['token']}"}, body["contact_id"])
    if opened:
        assert (await person.put(f"conversations/{person.conversation}", {"language": "en"})).status_code == 201
    return person


async def add_agent(db: Database, workspace: Workspace, email: str, name: str) -> None:
    async with db.transaction(workspace.id) as tx:
        await save_agent(tx, email=email, name=name, password=PASSWORD)


async def become_agent(url: str, workspace: Workspace, email: str) -> Person:
    http = httpx2.AsyncClient(base_url=url, timeout=30)
    sent = {"workspace": workspace.name, "email": email, "password": PASSWORD}
    answer = await http.post("/api/v1/agent/session", json=sent)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Person(http, {"X-CSRF-Token": body["csrf"]}, body["agent"]["id"], base="/api/v1/agent")


@pytest.fixture
async def visitor(http: httpx2.AsyncClient, workspace: Workspace) -> Person:
    return await become_visitor(http, workspace)


@pytest.fixture
async def agent(web: Running, db: Database, workspace: Workspace) -> AsyncIterator[Person]:
    await add_agent(db, workspace, "lin@example.com", "Lin")
    person = await become_agent(web.url, workspace, "lin@example.com")
    yield person
    await person.http.aclose()


@pytest.fixture
async def colleague(web: Running, db: Database, workspace: Workspace) -> AsyncIterator[Person]:
    await add_agent(db, workspace, "mei@example.com", "Mei")
    person = await become_agent(web.url, workspace, "mei@example.com")
    yield person
    await person.http.aclose()


def png(size: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), (20, 40, 60)).save(out, "PNG")
    return out.getvalue()


async def within(seconds: float, awaited: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await awaited
