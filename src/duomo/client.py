"""A customer at the other end of the protocol: what the widget does, for scripts, benchmarks and tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mimetypes
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from duomo.errors import Unavailable

RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)  # pauses between tries; the last one repeats


@dataclass
class Customer:
    """One visitor in one conversation, who keeps trying as the widget does.

    Attributes:
        patience_s: how long an unreachable server is tried for.
    """

    http: httpx2.AsyncClient
    token: str
    conversation: str
    patience_s: float = 60.0
    seq: int = 0  # of the last event seen
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    async def arrive(
        cls, http: httpx2.AsyncClient, *, workspace: str = "demo", language: str = "en", patience_s: float = 60.0
    ) -> Customer:
        visitor = await _insist(
            lambda: http.post("/api/v1/visitors", json={"workspace": workspace, "language": language}), patience_s
        )
        customer = cls(http, visitor.json()["token"], str(uuid.uuid4()), patience_s)
        await _insist(
            lambda: http.put(customer._path(""), json={"language": language}, headers=customer._headers), patience_s
        )
        return customer

    async def say(
        self, text: str = "", *, files: Sequence[Path] = (), id: str | None = None, language: str | None = None
    ) -> dict[str, Any]:
        """Send a message; the same `id` again stores nothing twice.

        Returns:
            The message as stored.
        """
        message = id or str(uuid.uuid4())
        fields = {"text": text, **({"language": language} if language else {})}
        parts = [("file", (f.name, f.read_bytes(), mimetypes.guess_type(f.name)[0])) for f in files]
        answer = await _insist(
            lambda: (
                self.http.put(
                    self._path(f"/messages/{message}"), data=fields, files=parts or None, headers=self._headers
                )
                if parts
                else self.http.put(self._path(f"/messages/{message}"), json=fields, headers=self._headers)
            ),
            self.patience_s,
        )
        stored: dict[str, Any] = answer.json()
        return stored

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        """Any other call of the conversation, e.g. `handoff`."""
        return await _insist(
            lambda: self.http.post(self._path(f"/{path}"), json=dict(body), headers=self._headers), self.patience_s
        )

    async def listen(self) -> AsyncGenerator[dict[str, Any], None]:
        """Events {seq, kind, data} from the last one seen, across reconnects; ends only when it is closed."""
        while True:
            with contextlib.suppress(httpx2.TransportError):
                async with self.http.stream(
                    "GET", self._path(f"/events?after={self.seq}"), headers=self._headers, timeout=30
                ) as response:
                    if response.status_code == 200:
                        async for event in _frames(response):
                            if event["seq"]:
                                self.seq = event["seq"]
                            self.events.append(event)
                            yield event
            await asyncio.sleep(0.2)

    async def until(self, wanted: Callable[[dict[str, Any]], bool], *, timeout_s: float = 30.0) -> dict[str, Any]:
        """The next event that `wanted` accepts.

        Raises:
            TimeoutError: none came.
        """
        async with asyncio.timeout(timeout_s), contextlib.aclosing(self.listen()) as events:
            async for event in events:
                if wanted(event):
                    return event
        raise Unavailable("the stream of events ended")

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _path(self, rest: str) -> str:
        return f"/api/v1/conversations/{self.conversation}{rest}"


@dataclass
class Agent:
    """Somebody signed in to the console: sees what customers do not, such as why the bot answered so."""

    http: httpx2.AsyncClient  # its cookie is the session
    csrf: str
    patience_s: float = 60.0

    @classmethod
    async def sign_in(
        cls, http: httpx2.AsyncClient, *, workspace: str, email: str, password: str, patience_s: float = 60.0
    ) -> Agent:
        """
        Raises:
            Unavailable: refused, or no server answers.
        """
        sent = {"workspace": workspace, "email": email, "password": password}
        session = await _insist(lambda: http.post("/api/v1/agent/session", json=sent), patience_s)
        return cls(http, session.json()["csrf"], patience_s)

    async def get(self, path: str) -> Any:
        return (await _insist(lambda: self.http.get(f"/api/v1/agent/{path}"), self.patience_s)).json()

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        headers = {"X-CSRF-Token": self.csrf}
        return await _insist(
            lambda: self.http.post(f"/api/v1/agent/{path}", json=dict(body), headers=headers), self.patience_s
        )

    async def message(self, conversation: str, id: str, *, after: int = 0, timeout_s: float = 30.0) -> dict[str, Any]:
        """A message of a conversation with everything that agents see of it.

        Args:
            after: a sequence number before it.
        Raises:
            TimeoutError: there is no such message.
        """
        path = f"/api/v1/agent/conversations/{conversation}/events?after={after}"
        while True:
            with contextlib.suppress(httpx2.TransportError):
                async with asyncio.timeout(timeout_s), self.http.stream("GET", path, timeout=30) as response:
                    if response.status_code != 200:
                        raise Unavailable(f"the server refused: {response.status_code}")
                    async for event in _frames(response):
                        if event["kind"] == "message" and event["data"]["id"] == id:
                            found: dict[str, Any] = event["data"]
                            return found
            await asyncio.sleep(0.2)


def is_reply(event: Mapping[str, Any]) -> bool:
    """Whether an event is the bot's last word on a turn: an answer, a question back, or a person called."""
    data = event["data"]
    return event["kind"] == "message" and data["author"] == "bot" and data["kind"] in ("answer", "clarify", "handoff")


async def _frames(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    frame: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            if name:  # a line that begins with a colon is a heartbeat
                frame[name] = value.removeprefix(" ")
        elif "event" in frame:
            yield {"seq": int(frame.get("id", 0)), "kind": frame["event"], "data": json.loads(frame.get("data", "{}"))}
            frame = {}


async def _insist(call: Callable[[], Any], patience_s: float) -> httpx2.Response:
    """Try until the server takes it; a refusal that another try cannot change is raised at once."""
    deadline = asyncio.get_running_loop().time() + patience_s
    tries = 0
    while True:
        problem = ""
        pause = RETRY_S[min(tries, len(RETRY_S) - 1)]
        try:
            response: httpx2.Response = await call()
            if response.is_success:
                return response
            problem = f"{response.status_code} {response.text[:300]}"
            if response.status_code < 500 and response.status_code != 429:
                raise Unavailable(f"the server refused: {problem}")
            pause = max(pause, float(response.headers.get("retry-after", 0)))
        except httpx2.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        if asyncio.get_running_loop().time() + pause > deadline:
            raise Unavailable(f"the server could not be reached for {patience_s:.0f} s: {problem}")
        tries += 1
        await asyncio.sleep(pause)
