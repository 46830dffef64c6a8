"""What the agents' console calls."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator

from duomo.errors import InputError, NotFound
from duomo.server import auth, live, paging, render
from duomo.server.auth import Agent, AgentDep
from duomo.server.docs import form
from duomo.server.incoming import read_message
from duomo.server.render import Renderer
from duomo.server.shapes import (
    ActionRequest,
    AgentView,
    CannedRequest,
    CannedView,
    ColleagueView,
    ConversationDetail,
    CorrectionRequest,
    FoundView,
    InboxCounts,
    InboxView,
    MessageView,
    ReadRequest,
    ReplyRequest,
    SessionView,
    SignInRequest,
    SummaryView,
    TypingRequest,
)
from duomo.server.site import SiteDep
from duomo.store.postgres import Tx
from duomo.support import conversation as talk
from duomo.types import Language, Status

router = APIRouter(prefix="/agent", tags=["agent"])

REPLY_BODY = form(text="text", language="text", private="text", after="number", file="files")
_PAGE = 30
_Empty = BeforeValidator(lambda value: value or None)  # `status=` asks for nothing in particular
_FILTERS = (
    *("id", "status", "language", "mine", "unassigned", "unread"),
    *("wanted", "name_like", "before_urgency", "before", "before_id", "team"),
)
Search = Annotated[str, Query(max_length=200)]
Cursor = Annotated[str | None, Query(max_length=400)]


# Session ----------------------------------------------------------------------------------------------------------


@router.post("/session")
async def sign_in(request: Request, response: Response, sent: SignInRequest) -> SessionView:
    """Sign in; the answer sets the cookie and carries the token for `X-CSRF-Token`."""
    found = await auth.sign_in(request, response, workspace=sent.workspace, email=sent.email, password=sent.password)
    return _session(found)


@router.get("/session")
async def show_session(agent: AgentDep) -> SessionView:
    return _session(agent)


@router.delete("/session", status_code=204)
async def sign_out(request: Request, response: Response, site: SiteDep, agent: AgentDep) -> None:
    await auth.sign_out(site, request.cookies.get(auth.COOKIE))
    auth.forget_cookie(request, response)


def _session(agent: Agent) -> SessionView:
    view = AgentView(id=UUID(agent.id), name=agent.name, email=agent.email, role=agent.role)
    return SessionView(agent=view, workspace=agent.workspace.name, csrf=agent.csrf)


# Inbox ------------------------------------------------------------------------------------------------------------


@router.get("/conversations")
async def inbox(
    site: SiteDep,
    agent: AgentDep,
    status: Annotated[Status | None, _Empty] = None,
    assignee: Annotated[str | None, Query(pattern="^(me|none)$"), _Empty] = None,
    unread: Annotated[bool | None, _Empty] = None,
    language: Annotated[Language | None, _Empty] = None,
    team: Annotated[str | None, Query(max_length=100), _Empty] = None,
    q: Search = "",
    cursor: Cursor = None,
) -> InboxView:
    """Conversations, the most urgent open ones and then the most recently changed first, 30 a page; `q` searches
    texts, artifacts and names."""
    urgency, before, before_id = _read_cursor(cursor)
    async with site.db.transaction(agent.workspace.id) as tx:
        rows = await _summaries(
            tx,
            agent,
            status=status,
            language=language,
            mine=assignee == "me",
            unassigned=assignee == "none",
            unread=bool(unread),
            wanted=paging.words(q),
            name_like=paging.like(q),
            team=team,
            before_urgency=urgency,
            before=before,
            before_id=before_id,
            limit=_PAGE + 1,
        )
        counts = await tx.one("inbox_counts", agent_id=agent.id)
    more = len(rows) > _PAGE
    items = [render.summary(row) for row in rows[:_PAGE]]
    last = rows[_PAGE - 1] if more else None
    return InboxView(
        items=items,
        cursor=paging.write_cursor(f"{last['urgency']} {last['updated_at'].isoformat()}", str(last["id"]))
        if last
        else None,
        counts=InboxCounts.model_validate(counts),
    )


@router.get("/search")
async def search(site: SiteDep, agent: AgentDep, q: Search = "") -> list[FoundView]:
    """Messages whose words, or the words read or heard in their files, match."""
    wanted = paging.words(q)
    if wanted is None:
        return []
    async with site.db.transaction(agent.workspace.id) as tx:
        rows = await tx.all("search_messages", wanted=wanted, limit=50)
    return [FoundView(**row, snippet=render.snippet(row["text"], q)) for row in rows]


@router.get("/events", response_class=live.EventStream)
async def workspace_events(request: Request, site: SiteDep, agent: AgentDep) -> live.EventStream:
    """`conversation {id}` whenever one changed, as server-sent events without end."""
    site.may_stream(agent.id)
    return live.EventStream(live.workspace_events(site, agent, request.cookies.get(auth.COOKIE)))


# One conversation -------------------------------------------------------------------------------------------------


@router.get("/conversations/{cid}")
async def show_conversation(site: SiteDep, agent: AgentDep, cid: UUID) -> ConversationDetail:
    async with site.db.transaction(agent.workspace.id) as tx:
        summary = await _summary(tx, agent, cid)
        row = await tx.one("conversation_brief", id=cid)
    return ConversationDetail(
        conversation=summary,
        brief=row["brief"] if row else None,
        presence=await live.show_presence(site, agent.workspace.id, str(cid)),
        allowed=list(talk.allowed_actions(summary.status)),
    )


@router.get("/conversations/{cid}/events", response_class=live.EventStream)
async def events(
    request: Request,
    site: SiteDep,
    agent: AgentDep,
    cid: UUID,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> live.EventStream:
    """Everything that happens in the conversation, notes and presence included; opening it is presence."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await _exists(tx, cid)
    site.may_stream(agent.id)
    start = live.start_after(request, after)
    return live.EventStream(live.agent_events(site, agent, request.cookies.get(auth.COOKIE), str(cid), start))


@router.put("/conversations/{cid}/messages/{mid}", responses={201: {"model": MessageView}}, openapi_extra=REPLY_BODY)
async def put_message(
    request: Request, response: Response, site: SiteDep, agent: AgentDep, cid: UUID, mid: UUID
) -> MessageView:
    """Reply, or leave a note. 409 `answered_meanwhile` when another agent replied after `after`."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await _exists(tx, cid)
    async with read_message(request, site, agent.workspace, ReplyRequest, sender=agent.id) as (sent, files):
        async with site.db.transaction(agent.workspace.id) as tx:
            _, made = await talk.agent_reply(
                tx,
                conversation_id=str(cid),
                message_id=str(mid),
                agent_id=agent.id,
                text=sent.text,
                language=sent.language,
                files=files,
                fingerprint=talk.fingerprint_of(sent.text, files),
                after=sent.after,
                private=sent.private,
            )
            [message] = await talk.load_messages(tx, str(cid), [str(mid)])
    response.status_code = 201 if made else 200
    return Renderer(site.keys, agent.workspace.id, for_agent=True).message(message)


@router.post("/conversations/{cid}/actions")
async def act(site: SiteDep, agent: AgentDep, cid: UUID, sent: ActionRequest) -> SummaryView:
    """take_over, return_to_bot, assign, snooze, resolve, reopen; a refusal says what is allowed."""
    if sent.action == "hand_off":
        raise InputError("handing over to a person is the bot's and the customer's; an agent takes over: take_over.")
    async with site.db.transaction(agent.workspace.id) as tx:
        await _exists(tx, cid)
        if sent.assignee_id and await tx.value("agent_name", id=sent.assignee_id) is None:
            raise NotFound("there is no such agent in this workspace.")
        await talk.act(
            tx,
            conversation_id=str(cid),
            action=sent.action,
            by="agent",
            agent_id=agent.id,
            until=sent.until,
            assignee_id=str(sent.assignee_id) if sent.assignee_id else None,
        )
        return await _summary(tx, agent, cid)


@router.post("/conversations/{cid}/artifacts/{aid}")
async def correct(site: SiteDep, agent: AgentDep, cid: UUID, aid: UUID, sent: CorrectionRequest) -> MessageView:
    async with site.db.transaction(agent.workspace.id) as tx:
        message_id = await talk.correct_artifact(
            tx, conversation_id=str(cid), artifact_id=str(aid), text=sent.text, by="agent", agent_id=agent.id
        )
        [message] = await talk.load_messages(tx, str(cid), [message_id])
    return Renderer(site.keys, agent.workspace.id, for_agent=True).message(message)


@router.post("/conversations/{cid}/presence", status_code=204)
async def set_typing(site: SiteDep, agent: AgentDep, cid: UUID, sent: TypingRequest) -> None:
    """Say that the agent is writing, or has stopped; forgotten after 15 s."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await _exists(tx, cid)
        await tx.run("set_typing", conversation_id=cid, agent_id=agent.id, typing=sent.typing)
        await tx.run("notify_conversation", conversation_id=cid)


@router.post("/conversations/{cid}/read", status_code=204)
async def mark_read(site: SiteDep, agent: AgentDep, cid: UUID, sent: ReadRequest) -> None:
    async with site.db.transaction(agent.workspace.id) as tx:
        await _exists(tx, cid)
        if await tx.run("mark_read", conversation_id=cid, agent_id=agent.id, seq=sent.seq):
            await tx.run("notify_conversation", conversation_id=cid)


# The team ---------------------------------------------------------------------------------------------------------


@router.get("/agents")
async def list_agents(site: SiteDep, agent: AgentDep) -> list[ColleagueView]:
    async with site.db.transaction(agent.workspace.id) as tx:
        return [ColleagueView.model_validate(row) for row in await tx.all("agents")]


@router.get("/canned")
async def list_canned(site: SiteDep, agent: AgentDep) -> list[CannedView]:
    async with site.db.transaction(agent.workspace.id) as tx:
        return [CannedView.model_validate(row) for row in await tx.all("canned_replies")]


@router.put("/canned/{id}")
async def put_canned(site: SiteDep, agent: AgentDep, id: UUID, sent: CannedRequest) -> CannedView:
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await tx.one("upsert_canned_reply", id=id, shortcut=sent.shortcut, title=sent.title, text=dict(sent.text))
    return CannedView.model_validate(row)


@router.delete("/canned/{id}", status_code=204)
async def delete_canned(site: SiteDep, agent: AgentDep, id: UUID) -> None:
    async with site.db.transaction(agent.workspace.id) as tx:
        if not await tx.run("delete_canned_reply", id=id):
            raise NotFound("there is no such canned reply.")


# ------------------------------------------------------------------------------------------------------------------


async def _summaries(tx: Tx, agent: Agent, **asked: Any) -> list[dict[str, Any]]:
    return await tx.all("summaries", **dict.fromkeys(_FILTERS) | {"limit": 1, "agent_id": agent.id} | asked)


async def _summary(tx: Tx, agent: Agent, conversation_id: UUID) -> SummaryView:
    rows = await _summaries(tx, agent, id=conversation_id)
    if not rows:
        raise NotFound("there is no such conversation.")
    return render.summary(rows[0])


async def _exists(tx: Tx, conversation_id: UUID) -> None:
    if await tx.one("conversation", id=conversation_id) is None:
        raise NotFound("there is no such conversation.")


def _read_cursor(cursor: str | None) -> tuple[int | None, datetime | None, UUID | None]:
    """Urgency, time and id of the last row shown."""
    found = paging.read_cursor(cursor)
    if found is None:
        return None, None, None
    try:
        urgency, _, changed = found[0].partition(" ")
        return int(urgency), datetime.fromisoformat(changed), UUID(found[1])
    except ValueError:
        raise InputError("the cursor is not one of ours. Start again without it.") from None
