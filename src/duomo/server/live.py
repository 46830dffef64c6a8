"""Server-sent events: what happens in a conversation, or in a workspace, as long as somebody listens.

The table is the truth and a notice only says that reading it is worthwhile. A stream subscribes before its first read,
so what commits in between wakes it; it asks for what lies after the last number it sent, so nothing comes twice; and it
reads in a transaction of its own, so that no connection is held while it waits.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from anyio import CancelScope
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from duomo.errors import StoreUnavailable
from duomo.server.auth import Agent, Visitor, read_session
from duomo.server.render import Renderer
from duomo.server.shapes import PresenceView
from duomo.server.site import Site
from duomo.store.postgres import Waiter
from duomo.support.conversation import Event, load_events

HEARTBEAT_S = 15.0
_PAGE = 200  # events a read

_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_open: Counter[tuple[str, str]] = Counter()  # (conversation, agent) -> streams of this process


def frame(kind: str, data: Mapping[str, Any] | str, *, seq: int | None = None) -> str:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {kind}\ndata: {text}\n\n"


def start_after(request: Request, after: int | None) -> int:
    """A browser's own EventSource says where it was in a header; the header is newer than the address."""
    last = request.headers.get("last-event-id", "")
    return int(last) if last.isdecimal() and len(last) < 16 else after or 0


class EventStream(StreamingResponse):
    """Ends when the browser goes, the server stops or the database does; the browser asks again from where it was.

    The generator's `finally` runs then, and not when memory is next collected.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[str], status_code: int = 200) -> None:
        super().__init__(_until_cut(frames), status_code=status_code, headers=_HEADERS)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with CancelScope(shield=True), contextlib.suppress(StoreUnavailable):
                await self._frames.aclose()


async def _until_cut(frames: AsyncGenerator[str]) -> AsyncGenerator[str]:
    with contextlib.suppress(StoreUnavailable):
        async for text in frames:
            yield text


@dataclass(slots=True)
class _Reader:
    """Reads on from a sequence number."""

    site: Site
    renderer: Renderer
    conversation_id: str
    after: int

    async def next(self) -> tuple[list[str], bool]:
        """The frames of the next events, and whether more are waiting."""
        async with self.site.db.transaction(self.renderer.workspace_id) as tx:
            events = await load_events(
                tx, self.conversation_id, self.after, include_private=self.renderer.for_agent, limit=_PAGE
            )
        if events:
            self.after = events[-1].seq
        return [frame for event in events if (frame := self._frame(event))], len(events) == _PAGE

    def _frame(self, event: Event) -> str | None:
        if event.kind not in {"message", "update"}:
            return frame(event.kind, event.data, seq=event.seq)
        if event.message is None:  # erased meanwhile
            return None
        if event.message.kind == "note" and not self.renderer.for_agent:
            return None
        return frame(event.kind, self.renderer.message(event.message).model_dump_json(), seq=event.seq)


async def customer_events(site: Site, visitor: Visitor, conversation_id: str, after: int) -> AsyncGenerator[str]:
    """Everything of a conversation that its customer may see, after a sequence number, for ever."""
    reader = _Reader(site, Renderer(site.keys, visitor.workspace.id, for_agent=False), conversation_id, after)
    async with site.bus.conversation(conversation_id) as wake:
        with site.streaming(wake, who=visitor.contact_id):
            yield ": open\n\n"
            while not site.closing:
                frames, more = await reader.next()
                if frames:
                    yield "".join(frames)
                if not more and not site.closing and not await wake.wait(HEARTBEAT_S):
                    yield ": still here\n\n"


async def agent_events(
    site: Site, agent: Agent, cookie: str | None, conversation_id: str, after: int
) -> AsyncGenerator[str]:
    """Everything of a conversation, and who else looks at it. While it is open the agent counts as present.

    It ends when the agent's session does.
    """
    reader = _Reader(site, Renderer(site.keys, agent.workspace.id, for_agent=True), conversation_id, after)
    presence = _Presence(site, agent, conversation_id)
    async with site.bus.conversation(conversation_id) as wake:
        with site.streaming(wake, who=agent.id):
            yield ": open\n\n"
            try:
                pulse = _Pulse(wake)
                await presence.arrive()
                while not site.closing:
                    frames, more = await reader.next()
                    frames += await presence.news()
                    if frames:
                        yield "".join(frames)
                    if more or site.closing or not await pulse.due(presence.patience):
                        continue
                    if await read_session(site, cookie) is None:
                        return
                    await presence.stay()
                    yield ": still here\n\n"
            finally:
                await presence.leave()


async def workspace_events(site: Site, agent: Agent, cookie: str | None) -> AsyncGenerator[str]:
    """The ids of conversations that changed. While it is open the agent counts as online."""
    async with site.bus.workspace(agent.workspace.id) as wake:
        with site.streaming(wake, who=agent.id):
            yield ": open\n\n"
            pulse = _Pulse(wake)
            await _touch(site, agent)
            while not site.closing:
                due = await pulse.due(HEARTBEAT_S)
                if changed := sorted(wake.take()):
                    yield "".join(frame("conversation", {"id": id}) for id in changed)
                if due:
                    if await read_session(site, cookie) is None:
                        return
                    await _touch(site, agent)
                    yield ": still here\n\n"


class _Pulse:
    """Waits for news, and says every `HEARTBEAT_S` that it is time for a sign of life, however much news there is."""

    def __init__(self, wake: Waiter) -> None:
        self._wake = wake
        self._next = time.monotonic() + HEARTBEAT_S

    async def due(self, patience_s: float) -> bool:
        await self._wake.wait(max(0.0, min(patience_s, self._next - time.monotonic())))
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + HEARTBEAT_S
        return True


async def _touch(site: Site, agent: Agent) -> None:
    async with site.db.transaction(agent.workspace.id) as tx:
        await tx.run("touch_agent", id=agent.id)


async def show_presence(site: Site, workspace_id: str, conversation_id: str) -> PresenceView:
    async with site.db.transaction(workspace_id) as tx:
        return PresenceView.model_validate({"agents": await tx.all("presence", conversation_id=conversation_id)})


class _Presence:
    """One agent looking at one conversation, and what it was last told about the others."""

    def __init__(self, site: Site, agent: Agent, conversation_id: str) -> None:
        self._site, self._agent, self._conversation_id = site, agent, conversation_id
        self._shown = ""
        self.patience = HEARTBEAT_S  # seconds after which the company may look different without a notice

    async def arrive(self) -> None:
        _open[self._key] += 1
        if await self._run("touch_presence"):
            await self._run("notify_conversation")

    async def stay(self) -> None:
        await self._run("touch_presence")

    async def leave(self) -> None:
        _open[self._key] -= 1
        if _open[self._key] > 0:  # the same agent looks at it in another tab
            return
        del _open[self._key]
        with CancelScope(shield=True):  # the browser has gone, and with it the task's leave to wait
            await self._run("leave_presence")
            await self._run("notify_conversation")

    async def news(self) -> list[str]:
        """A frame when the company is another than when it was last shown."""
        view = await show_presence(self._site, self._agent.workspace.id, self._conversation_id)
        self.patience = 3.0 if any(agent.typing for agent in view.agents) else HEARTBEAT_S
        text = view.model_dump_json()
        if text == self._shown:
            return []
        self._shown = text
        return [frame("presence", text)]

    async def _run(self, query: str) -> Any:
        async with self._site.db.transaction(self._agent.workspace.id) as tx:
            asked = {"conversation_id": self._conversation_id}
            if query != "notify_conversation":
                asked["agent_id"] = self._agent.id
            if query == "leave_presence":
                return await tx.run(query, **asked)
            return await tx.value(query, **asked)

    @property
    def _key(self) -> tuple[str, str]:
        return self._conversation_id, self._agent.id
