"""The protocol's objects of labelling, review, proposals and drafts, as docs/protocol.md names them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictFloat, StrictInt

from duomo.server.shapes import Bilingual, Name, PartView, PersonView, Text
from duomo.support.labels import Kind
from duomo.types import Language

MAX_ARTICLE = 60_000  # characters of a draft
MAX_MEMBERS = 6_000

Article = Annotated[str, Field(max_length=MAX_ARTICLE), AfterValidator(lambda text: text.replace("\x00", ""))]
Value = Text | StrictBool | StrictInt | StrictFloat | Annotated[list[Text], Field(max_length=100)] | None


class LabelRequest(BaseModel):
    message_id: UUID
    kind: Kind
    head: Name = ""
    value: Value
    origin: Literal["correction", "review", "recheck", "second", "script"] = "correction"
    artifact_id: UUID | None = None


class LabelView(BaseModel):
    id: UUID
    message_id: UUID
    kind: Kind
    head: str
    value: Any
    said: dict[str, Any]  # what the system had said: {prediction, answer, artifact, knowledge}
    origin: str
    agent: PersonView | None
    created_at: datetime


class LabelNameView(BaseModel):
    name: str
    title: dict[str, str]
    known: bool  # to the active model
    count: int  # valid labels


class LabelSetView(BaseModel):
    head: str
    title: dict[str, str]
    type: Literal["class", "multilabel", "number"]
    out_of_scope: str | None  # it stands in `labels` too, last
    labels: list[LabelNameView]


class IntentRequest(BaseModel):
    name: Annotated[Name, Field(min_length=1, max_length=63)]
    title: Bilingual = {}


class SuspectView(BaseModel):
    given: str
    suggested: str
    confidence: float  # of the given label, [0, 1]


class ReviewItem(BaseModel):
    message_id: UUID
    conversation_id: UUID
    seq: int
    why: Literal["value", "recheck", "second"]
    value: float | None  # entropy * (1 + disagreement) * frequency; null where it is no question of value
    entropy: float | None
    disagreement: float | None
    frequency: float | None
    text: str
    language: Language | None
    parts: list[PartView]
    pattern: str | None
    heads: dict[str, Any]
    suspect: SuspectView | None
    created_at: datetime


class ReviewCounts(BaseModel):
    unlabelled: int
    labelled: int
    rechecks: int
    seconds: int


class ReviewView(BaseModel):
    items: list[ReviewItem]
    counts: ReviewCounts


class LabelAgreement(BaseModel):
    label: str
    first: int  # how often the first person said it
    second: int
    both: int
    agreement: float  # 2 * both / (first + second)


class OpinionView(BaseModel):
    agent: PersonView | None
    value: Any


class DisagreementView(BaseModel):
    message_id: UUID
    conversation_id: UUID
    text: str
    labels: list[OpinionView]
    settled: Any  # what somebody said afterwards


class AgreementView(BaseModel):
    head: str
    pairs: int
    agreed: int
    kappa: float | None
    by_label: list[LabelAgreement]
    disagreements: list[DisagreementView]  # the newest 50


class ExampleView(BaseModel):
    message_id: UUID
    conversation_id: UUID
    text: str


class ProposalView(BaseModel):
    id: UUID
    kind: Literal["intent", "article"]
    name: str
    terms: list[str]
    size: int
    messages: list[UUID]  # nearest to the centre first
    cohesion: float | None
    examples: list[ExampleView]
    state: Literal["open", "accepted", "dismissed"]
    became: str | None  # the intent's name; the draft's id, then the article's
    agent: PersonView | None
    created_at: datetime


class DecidedView(ProposalView):
    kept: int  # turns of an accepted intent that a person has called something else, and that stay that


class DecisionRequest(BaseModel):
    action: Literal["accept", "dismiss"]
    name: Name | None = None
    title: Bilingual = {}
    members: Annotated[list[UUID], Field(max_length=MAX_MEMBERS)] | None = None


class DraftRequest(BaseModel):
    message_id: UUID | None = None
    title: Name | None = None
    text: Article | None = None
    language: Language | None = None


class DraftPicture(BaseModel):
    url: str
    alt: str


class DraftView(BaseModel):
    id: UUID
    conversation_id: UUID | None
    message_id: UUID | None
    language: Language
    title: str
    text: str  # Markdown
    pictures: list[DraftPicture]
    masked: list[str]  # kinds of personal data that were taken out: email, id-number, card, phone, plate
    personal: list[str]  # kinds that still stand there
    state: Literal["draft", "published", "dismissed"]
    article_id: str | None
    agent: PersonView | None
    created_at: datetime
    updated_at: datetime
    import_id: UUID | None = None  # of publishing: GET agent/knowledge/imports/{id}
