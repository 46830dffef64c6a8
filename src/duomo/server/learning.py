"""What people teach: labels, the queue of turns to look at, proposals of what is missing, drafts of articles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from duomo.errors import InputError
from duomo.server.auth import AgentDep
from duomo.server.learning_shapes import (
    AgreementView,
    DecidedView,
    DecisionRequest,
    DisagreementView,
    DraftPicture,
    DraftRequest,
    DraftView,
    ExampleView,
    IntentRequest,
    LabelAgreement,
    LabelNameView,
    LabelRequest,
    LabelSetView,
    LabelView,
    OpinionView,
    ProposalView,
    ReviewCounts,
    ReviewItem,
    ReviewView,
    SuspectView,
)
from duomo.server.render import Renderer
from duomo.server.shapes import PartView, PersonView
from duomo.server.site import SiteDep
from duomo.store.postgres import Row, Tx
from duomo.support import conversation as talk
from duomo.support import drafts, labels, proposals, review
from duomo.support.labels import LabelSet

router = APIRouter(prefix="/agent", tags=["learning"])

_DIFFERENCES = 50
_DRAFTS = 200


# Labels -----------------------------------------------------------------------------------------------------------


@router.put("/conversations/{cid}/labels/{id}")
async def put_label(site: SiteDep, agent: AgentDep, cid: UUID, id: UUID, sent: LabelRequest) -> LabelView:
    """Say what a message is or should have been; saying it twice, with the same id, is saying it once."""
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await labels.add(
            tx,
            id=str(id),
            conversation_id=str(cid),
            message_id=str(sent.message_id),
            kind=sent.kind,
            head=sent.head,
            value=sent.value,
            origin=sent.origin,
            artifact_id=str(sent.artifact_id) if sent.artifact_id else None,
            agent_id=agent.id,
        )
    return _label(row)


@router.get("/conversations/{cid}/labels")
async def list_labels(site: SiteDep, agent: AgentDep, cid: UUID) -> list[LabelView]:
    """Every label of a conversation, oldest first."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return [_label(row) for row in await labels.of_conversation(tx, str(cid))]


@router.get("/label-sets")
async def list_label_sets(site: SiteDep, agent: AgentDep) -> list[LabelSetView]:
    """What each head may be labelled as."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return [_label_set(one) for one in await labels.label_sets(tx)]


@router.post("/label-sets/{head}", status_code=201)
async def add_intent(site: SiteDep, agent: AgentDep, head: str, sent: IntentRequest) -> LabelSetView:
    """Add a label that the next model will learn; people may give it at once."""
    async with site.db.transaction(agent.workspace.id) as tx:
        title = {str(language): text for language, text in sent.title.items()}
        return _label_set(await labels.add_intent(tx, head=head, name=sent.name, title=title))


# Review -----------------------------------------------------------------------------------------------------------


@router.get("/review")
async def show_review(
    site: SiteDep,
    agent: AgentDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    head: Annotated[str, Query(max_length=200)] = labels.PLACED,
) -> ReviewView:
    """What this agent should look at next, most valuable first."""
    found = await review.queue(site.db, agent.workspace.id, head=head, agent_id=agent.id, limit=limit)
    renderer = Renderer(site.keys, agent.workspace.id, for_agent=True)
    async with site.db.transaction(agent.workspace.id) as tx:
        parts = {item.message_id: await _parts(tx, renderer, item.shown) for item in found.items}
    return ReviewView(
        items=[_review_item(item, parts[item.message_id]) for item in found.items],
        counts=ReviewCounts(
            unlabelled=found.unlabelled, labelled=found.labelled, rechecks=found.rechecks, seconds=found.seconds
        ),
    )


@router.get("/review/agreement")
async def show_agreement(
    site: SiteDep, agent: AgentDep, head: Annotated[str, Query(max_length=200)] = labels.PLACED
) -> AgreementView:
    """How far two people say the same of the same turns."""
    async with site.db.transaction(agent.workspace.id) as tx:
        found, differ = await review.load_agreement(tx, head=head)
    return AgreementView(
        head=head,
        pairs=found.pairs,
        agreed=found.agreed,
        kappa=found.kappa,
        by_label=[
            LabelAgreement(label=label, first=first, second=second, both=both, agreement=2 * both / (first + second))
            for label, first, second, both in found.by_label
        ],
        disagreements=[_disagreement(row) for row in differ[:_DIFFERENCES]],
    )


# Proposals --------------------------------------------------------------------------------------------------------


@router.get("/proposals")
async def list_proposals(site: SiteDep, agent: AgentDep) -> list[ProposalView]:
    """What discovery found: intents and articles that are missing; open ones first."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return [_proposal(row) for row in await proposals.listed(tx)]


@router.post("/proposals/{id}")
async def decide_proposal(site: SiteDep, agent: AgentDep, id: UUID, sent: DecisionRequest) -> DecidedView:
    """Accept it, as an intent of that name or as a draft, or dismiss it."""
    kept = 0
    async with site.db.transaction(agent.workspace.id) as tx:
        if sent.action == "dismiss":
            await proposals.dismiss(tx, id=str(id), agent_id=agent.id)
        else:
            kept = await proposals.accept(
                tx,
                id=str(id),
                name=sent.name,
                title={str(language): text for language, text in sent.title.items()},
                members=None if sent.members is None else [str(member) for member in sent.members],
                agent_id=agent.id,
            )
        shown = _proposal(await proposals.shown(tx, str(id)))
    return DecidedView(kept=kept, **shown.model_dump())


@router.post("/discover", status_code=202)
async def start_discovery(site: SiteDep, agent: AgentDep) -> Response:
    """Look for proposals now; a run that waits already is the one."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await tx.defer(
            "discover",
            queue="training",
            lock=f"discover {agent.workspace.id}",
            queueing_lock=f"discover {agent.workspace.id}",
            args={"workspace_id": agent.workspace.id},
        )
    return Response(status_code=202)


# Drafts -----------------------------------------------------------------------------------------------------------


@router.get("/drafts")
async def list_drafts(site: SiteDep, agent: AgentDep) -> list[DraftView]:
    """Articles on their way into the knowledge, then those published, each newest first."""
    async with site.db.transaction(agent.workspace.id) as tx:
        rows = await tx.all("drafts", limit=_DRAFTS)
    renderer = Renderer(site.keys, agent.workspace.id, for_agent=True)
    return [_draft(renderer, row) for row in rows]


@router.put("/drafts/{id}")
async def put_draft(site: SiteDep, agent: AgentDep, id: UUID, sent: DraftRequest) -> DraftView:
    """Make a draft of an agent's reply (`message_id`), or write one (`title`, `text`, `language`).

    A reply that has one already is answered with that, whatever its id.
    """
    async with site.db.transaction(agent.workspace.id) as tx:
        if sent.message_id is not None and sent.text is None:
            row = await drafts.from_reply(tx, id=str(id), message_id=str(sent.message_id), agent_id=agent.id)
        elif sent.title is not None and sent.text is not None and sent.language is not None:
            row = await drafts.write(
                tx, id=str(id), title=sent.title, text=sent.text, language=sent.language, agent_id=agent.id
            )
        else:
            raise InputError("send `message_id`, or `title`, `text` and `language`.")
    return _draft(Renderer(site.keys, agent.workspace.id, for_agent=True), row)


@router.post("/drafts/{id}/publish", status_code=202)
async def publish_draft(site: SiteDep, agent: AgentDep, id: UUID) -> DraftView:
    """Put it into the knowledge; ask for the import's progress."""
    row, import_id = await drafts.publish(site.db, site.blobs, agent.workspace.id, id=str(id))
    return _draft(Renderer(site.keys, agent.workspace.id, for_agent=True), row | {"import_id": import_id})


@router.delete("/drafts/{id}", status_code=204)
async def delete_draft(site: SiteDep, agent: AgentDep, id: UUID) -> None:
    async with site.db.transaction(agent.workspace.id) as tx:
        await drafts.dismiss(tx, id=str(id))


# ------------------------------------------------------------------------------------------------------------------


def _person(row: Mapping[str, Any], prefix: str = "agent") -> PersonView | None:
    id = row.get(f"{prefix}_id")
    return PersonView(id=id, name=row.get(f"{prefix}_name") or "") if id else None


def _label(row: Row) -> LabelView:
    return LabelView(agent=_person(row), **{name: row[name] for name in LabelView.model_fields if name != "agent"})


def _label_set(one: LabelSet) -> LabelSetView:
    names = [
        LabelNameView(name=label.name, title=dict(label.title), known=label.known, count=label.count)
        for label in one.labels
    ]
    return LabelSetView(
        head=one.head, title=dict(one.title), type=one.type, out_of_scope=one.out_of_scope, labels=names
    )


async def _parts(tx: Tx, renderer: Renderer, shown: Row) -> list[PartView]:
    """Of all messages of a turn."""
    messages = await talk.load_messages(tx, str(shown["conversation_id"]), shown["messages"])
    return [part for message in messages for part in renderer.message(message).parts]


def _review_item(item: review.Item, parts: Sequence[PartView]) -> ReviewItem:
    names = ("conversation_id", "seq", "text", "language", "pattern", "heads", "created_at")
    figures = ("value", "entropy", "disagreement", "frequency")
    suspect = item.suspect and {name: item.suspect[name] for name in SuspectView.model_fields}
    shown: dict[str, Any] = {
        **{name: item.shown[name] for name in names},
        **{name: getattr(item.ranked, name) if item.ranked else None for name in figures},
    }
    return ReviewItem(
        message_id=UUID(item.message_id),
        why=item.why,
        parts=list(parts),
        suspect=SuspectView(**suspect) if suspect else None,
        **shown,
    )


def _disagreement(row: Row) -> DisagreementView:
    return DisagreementView(
        message_id=row["message_id"],
        conversation_id=row["conversation_id"],
        text=row["text"],
        labels=[OpinionView(agent=_person(row, which), value=row[which]) for which in ("first", "second")],
        settled=row["settled"],
    )


def _proposal(row: Row) -> ProposalView:
    examples = [ExampleView(**example) for example in row["examples"]]
    names = set(ProposalView.model_fields) - {"agent", "examples"}
    return ProposalView(agent=_person(row), examples=examples, **{name: row[name] for name in names})


def _draft(renderer: Renderer, row: Row) -> DraftView:
    pictures = [
        DraftPicture(url=renderer.picture_url(picture["blob"]), alt=picture["alt"]) for picture in row["pictures"]
    ]
    computed = {"agent", "pictures", "masked", "personal", "import_id"}
    return DraftView(
        agent=_person(row),
        pictures=pictures,
        masked=drafts.masked(row),
        personal=drafts.personal(row),
        import_id=row.get("import_id"),
        **{name: row[name] for name in set(DraftView.model_fields) - computed},
    )
