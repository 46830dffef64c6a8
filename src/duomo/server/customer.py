"""What a visitor's widget calls."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from duomo.errors import Denied, NotFound
from duomo.server import live, render
from duomo.server.auth import MediaGrant, ReaderDep, Visitor, VisitorDep, WritingVisitorDep, check_page
from duomo.server.docs import form
from duomo.server.incoming import read_message
from duomo.server.limits import address
from duomo.server.render import Renderer
from duomo.server.shapes import (
    ArticleView,
    ConsentRequest,
    ConversationRequest,
    ConversationView,
    CorrectionRequest,
    CsatRequest,
    FeedbackRequest,
    MessageRequest,
    MessageView,
    PictureView,
    VisitorRequest,
    VisitorView,
    WorkspaceView,
)
from duomo.server.site import Site, SiteDep
from duomo.store.postgres import Row, Tx, Workspace
from duomo.support import conversation as talk
from duomo.support.export_samples import set_consent
from duomo.support.policy import load_policy

router = APIRouter(tags=["customer"])

MESSAGE_BODY = form(text="text", language="text", file="files")


@router.post("/visitors", status_code=201)
async def introduce(request: Request, site: SiteDep, sent: VisitorRequest) -> VisitorView:
    """Become a visitor of a workspace. Keep the token: it is the only key to the conversations."""
    site.rates.visitors.take(address(request))
    found = await _public_workspace(request, site, sent.workspace)
    async with site.db.transaction(found.id) as tx:
        contact_id = str(await tx.value("insert_contact", language=sent.language))
        policy = await load_policy(tx)
    token = site.keys.visitor_token(found.id, contact_id)
    view = render.workspace(found, consent=policy.learning.consent)
    return VisitorView(token=token, contact_id=UUID(contact_id), workspace=view)


@router.get("/workspace")
async def show_workspace(request: Request, site: SiteDep, name: str = "demo") -> WorkspaceView:
    """What a widget needs to know before anybody writes."""
    found = await _public_workspace(request, site, name)
    async with site.db.transaction(found.id) as tx:
        policy = await load_policy(tx)
    return render.workspace(found, consent=policy.learning.consent)


@router.put("/consent", status_code=204)
async def consent(site: SiteDep, visitor: WritingVisitorDep, sent: ConsentRequest) -> None:
    """Say whether the visitor's conversations may train the workspace's models."""
    async with site.db.transaction(visitor.workspace.id) as tx:
        await set_consent(tx, visitor.contact_id, sent.may_train)


@router.get("/conversations")
async def list_conversations(site: SiteDep, visitor: VisitorDep) -> list[ConversationView]:
    """The visitor's own, newest first."""
    async with site.db.transaction(visitor.workspace.id) as tx:
        rows = await tx.all("contact_conversations", contact_id=visitor.contact_id)
    return [ConversationView.model_validate(row) for row in rows]


@router.put("/conversations/{cid}", responses={201: {"model": ConversationView}})
async def open_conversation(
    site: SiteDep, visitor: WritingVisitorDep, response: Response, cid: UUID, sent: ConversationRequest
) -> ConversationView:
    """Open a conversation under an id of the caller's making, or find it open already."""
    async with site.db.transaction(visitor.workspace.id) as tx:
        if await tx.one("contact", id=visitor.contact_id) is None:
            raise Denied("this visitor was removed. Ask for another token with POST visitors.", signed_in=False)
        row, made = await talk.open_conversation(tx, id=str(cid), contact_id=visitor.contact_id, language=sent.language)
    response.status_code = 201 if made else 200
    return ConversationView.model_validate(row)


@router.put("/conversations/{cid}/messages/{mid}", responses={201: {"model": MessageView}}, openapi_extra=MESSAGE_BODY)
async def put_message(
    request: Request, response: Response, site: SiteDep, visitor: WritingVisitorDep, cid: UUID, mid: UUID
) -> MessageView:
    """Send a message. Repeating it with the same id is safe for ever; another message with this id is a conflict."""
    async with site.db.transaction(visitor.workspace.id) as tx:
        await _own(tx, visitor, cid)
    async with read_message(request, site, visitor.workspace, MessageRequest, sender=visitor.contact_id) as (
        sent,
        files,
    ):
        settings = talk.Settings.of(visitor.workspace.settings)
        async with site.db.transaction(visitor.workspace.id) as tx:
            await _own(tx, visitor, cid)
            _, made = await talk.receive(
                tx,
                conversation_id=str(cid),
                message_id=str(mid),
                author="customer",
                text=sent.text,
                language=sent.language,
                files=files,
                fingerprint=talk.fingerprint_of(sent.text, files),
                holding_after_s=settings.holding_after_s,
            )
            [message] = await talk.load_messages(tx, str(cid), [str(mid)])
    response.status_code = 201 if made else 200
    return _renderer(site, visitor).message(message)


@router.get("/conversations/{cid}/events", response_class=live.EventStream)
async def events(
    request: Request,
    site: SiteDep,
    visitor: VisitorDep,
    cid: UUID,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> live.EventStream:
    """What happens in the conversation after a sequence number, as server-sent events without end."""
    async with site.db.transaction(visitor.workspace.id) as tx:
        await _own(tx, visitor, cid)
    site.may_stream(visitor.contact_id)
    start = live.start_after(request, after)
    return live.EventStream(live.customer_events(site, visitor, str(cid), start))


@router.post("/conversations/{cid}/handoff", status_code=204)
async def ask_for_person(site: SiteDep, visitor: WritingVisitorDep, cid: UUID) -> None:
    async with site.db.transaction(visitor.workspace.id) as tx:
        await _own(tx, visitor, cid)
        await talk.act(tx, conversation_id=str(cid), action="hand_off", by="customer", reason="requested")


@router.post("/conversations/{cid}/artifacts/{aid}")
async def correct(
    site: SiteDep, visitor: WritingVisitorDep, cid: UUID, aid: UUID, sent: CorrectionRequest
) -> MessageView:
    """Put right what was heard or read; the bot answers again."""
    async with site.db.transaction(visitor.workspace.id) as tx:
        await _own(tx, visitor, cid)
        message_id = await talk.correct_artifact(
            tx, conversation_id=str(cid), artifact_id=str(aid), text=sent.text, by="customer"
        )
        [message] = await talk.load_messages(tx, str(cid), [message_id])
    return _renderer(site, visitor).message(message)


@router.post("/conversations/{cid}/messages/{mid}/feedback", status_code=204)
async def give_feedback(site: SiteDep, visitor: WritingVisitorDep, cid: UUID, mid: UUID, sent: FeedbackRequest) -> None:
    async with site.db.transaction(visitor.workspace.id) as tx:
        await _own(tx, visitor, cid)
        await talk.set_feedback(tx, conversation_id=str(cid), message_id=str(mid), value=sent.value)


@router.post("/conversations/{cid}/csat", status_code=204)
async def rate(site: SiteDep, visitor: WritingVisitorDep, cid: UUID, sent: CsatRequest) -> None:
    async with site.db.transaction(visitor.workspace.id) as tx:
        await _own(tx, visitor, cid)
        await talk.set_csat(tx, conversation_id=str(cid), score=sent.score, comment=sent.comment)


@router.get("/articles/{article_id:path}")
async def show_article(site: SiteDep, reader: ReaderDep, article_id: str) -> ArticleView:
    """A source, opened by a visitor or an agent of the workspace."""
    wanted = article_id.replace("\x00", "")
    async with site.db.transaction(reader.workspace.id) as tx:
        row = await tx.one("article_page", id=wanted)
        if row is None:
            raise NotFound("there is no such article.")
        pictures = await tx.all("article_page_pictures", id=wanted)
    addresses = [
        PictureView(url=site.keys.media_url(MediaGrant(reader.workspace.id, None, p["blob"])), alt=p["alt"])
        for p in pictures
    ]
    return ArticleView(**row, pictures=addresses)


async def _public_workspace(request: Request, site: Site, name: str) -> Workspace:
    try:
        found = await site.db.workspace(name.replace("\x00", ""))
    except NotFound:
        raise NotFound("there is no workspace of this name.") from None  # which there are is nobody's business
    check_page(request, found.settings)
    return found


async def _own(tx: Tx, visitor: Visitor, conversation_id: UUID) -> Row:
    row = await tx.one("conversation_of_contact", id=conversation_id, contact_id=visitor.contact_id)
    if row is None:
        raise NotFound("there is no such conversation.")
    return row


def _renderer(site: Site, visitor: Visitor) -> Renderer:
    return Renderer(site.keys, visitor.workspace.id, for_agent=False)
