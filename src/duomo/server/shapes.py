"""The protocol's objects, as docs/protocol.md names them. What a caller sends is checked here; OpenAPI reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from duomo.types import ArtifactKind, Author, Language, MessageKind, PartKind, PartState, Status

MAX_TEXT = 8_000  # characters of one message
MAX_NAME = 200


def _clean(text: str) -> str:
    return text.replace("\x00", "")  # PostgreSQL's text cannot hold it, and nobody means it


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_clean)]
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_clean)]
Bilingual = dict[Language, Text]


class Refusal(BaseModel):
    code: str
    message: str
    retry_after: float | None = None  # seconds


class Refused(BaseModel):
    """The one shape of every refusal."""

    error: Refusal


# Customers --------------------------------------------------------------------------------------------------------


class VisitorRequest(BaseModel):
    workspace: Name = "demo"
    language: Language | None = None


class WorkspaceLimits(BaseModel):
    max_files: int
    max_bytes: int
    max_audio_s: int
    max_text: int
    accept: list[str]


class WorkspaceView(BaseModel):
    name: str
    title: dict[str, str]
    greeting: dict[str, str]
    bot_name: dict[str, str]
    languages: list[str]
    limits: WorkspaceLimits
    consent: Literal["all", "asked"]  # whose conversations train models: everybody's but who said no, or who said yes


class VisitorView(BaseModel):
    token: str
    contact_id: UUID
    workspace: WorkspaceView


class ConsentRequest(BaseModel):
    may_train: bool | None  # null: as the workspace has it


class ConversationRequest(BaseModel):
    language: Language | None = None


class ConversationView(BaseModel):
    id: UUID
    status: Status
    last_seq: int
    language: Language | None
    created_at: datetime
    updated_at: datetime


class MessageRequest(BaseModel):
    text: Text = ""
    language: Language | None = None


class CorrectionRequest(BaseModel):
    text: Text


class FeedbackRequest(BaseModel):
    value: Literal["up", "down"] | None


class CsatRequest(BaseModel):
    score: Annotated[int, Field(ge=1, le=5)]
    comment: Annotated[str, Field(max_length=2_000), AfterValidator(_clean)] | None = None


class PictureView(BaseModel):
    url: str
    alt: str


class ArticleView(BaseModel):
    id: str
    title: str
    language: str
    uri: str
    text: str  # Markdown
    pictures: list[PictureView]


# Messages ---------------------------------------------------------------------------------------------------------


class PersonView(BaseModel):
    id: UUID
    name: str


class ArtifactView(BaseModel):
    id: UUID
    kind: ArtifactKind
    text: str
    original_text: str | None
    confidence: float
    model: str
    version: str
    duration_ms: int
    corrected_by: Literal["customer", "agent"] | None
    data: dict[str, Any]


class PartErrorView(BaseModel):
    code: str
    message: str


class PartView(BaseModel):
    id: UUID
    kind: PartKind
    state: PartState
    mime: str
    name: str
    url: str | None
    width: int | None
    height: int | None
    duration_s: float | None
    error: PartErrorView | None
    artifacts: list[ArtifactView]


class CitationView(BaseModel):
    n: int
    article_id: str
    chunk_id: str
    title: str
    uri: str
    quote: str
    score: float
    picture_url: str | None


class MessageView(BaseModel):
    id: UUID
    conversation_id: UUID
    seq: int
    author: Author
    agent: PersonView | None
    kind: MessageKind
    private: bool
    ai: bool
    text: str
    language: Language | None
    created_at: datetime
    feedback: Literal["up", "down"] | None
    parts: list[PartView]
    citations: list[CitationView]
    options: list[str]
    decision: dict[str, Any]


# Agents -----------------------------------------------------------------------------------------------------------


class SignInRequest(BaseModel):
    workspace: Name = "demo"
    email: Name
    password: Annotated[str, Field(max_length=1_000)]


class AgentView(BaseModel):
    id: UUID
    name: str
    email: str
    role: str


class SessionView(BaseModel):
    agent: AgentView
    workspace: str
    csrf: str


class ColleagueView(AgentView):
    online: bool


class ContactView(BaseModel):
    id: UUID
    name: str | None
    language: Language | None


class LastMessageView(BaseModel):
    author: Author
    kind: MessageKind
    text: str
    created_at: datetime


class CsatView(BaseModel):
    score: int
    comment: str | None


class SummaryView(BaseModel):
    id: UUID
    status: Status
    contact: ContactView
    assignee: PersonView | None
    team: str | None  # that it was handed over to
    priority: Literal["low", "normal", "high", "urgent"]
    language: Language | None
    channel: str
    last_message: LastMessageView | None
    last_seq: int
    unread: int
    waiting_since: datetime | None
    snoozed_until: datetime | None
    handoff_reason: str | None
    media: list[PartKind]
    csat: CsatView | None
    created_at: datetime
    updated_at: datetime


class InboxCounts(BaseModel):
    open: int
    pending: int
    snoozed: int
    resolved: int
    mine: int
    unassigned: int
    unread: int


class InboxView(BaseModel):
    items: list[SummaryView]
    cursor: str | None
    counts: InboxCounts


class PresentView(PersonView):
    typing: bool


class PresenceView(BaseModel):
    agents: list[PresentView]


class ConversationDetail(BaseModel):
    conversation: SummaryView
    brief: dict[str, Any] | None
    presence: PresenceView
    allowed: list[str]


class ReplyRequest(MessageRequest):
    private: bool = False
    after: Annotated[int, Field(ge=0, le=2**53)] = 0


class ActionRequest(BaseModel):
    action: Annotated[str, Field(max_length=40)]
    until: datetime | None = None
    assignee_id: UUID | None = None


class TypingRequest(BaseModel):
    typing: bool = False


class ReadRequest(BaseModel):
    seq: Annotated[int, Field(ge=0, le=2**53)]


class CannedRequest(BaseModel):
    shortcut: Annotated[Name, Field(min_length=1)]
    title: Name
    text: Bilingual


class CannedView(BaseModel):
    id: UUID
    shortcut: str
    title: str
    text: dict[str, str]


class FoundView(BaseModel):
    conversation_id: UUID
    message_id: UUID
    snippet: str
    author: Author
    created_at: datetime


# Knowledge and system ---------------------------------------------------------------------------------------------


class KnowledgeItem(BaseModel):
    id: str
    title: str
    language: str
    uri: str
    chunks: int
    pictures: int
    updated_at: datetime


class KnowledgeTotals(BaseModel):
    articles: int
    chunks: int


class KnowledgePage(BaseModel):
    items: list[KnowledgeItem]
    cursor: str | None
    totals: KnowledgeTotals


class ImportStarted(BaseModel):
    import_id: UUID


class ImportFailure(BaseModel):
    name: str
    reason: str


class ImportView(BaseModel):
    state: Literal["queued", "running", "done"]
    done: int
    total: int
    added: int
    unchanged: int
    updated: int
    failed: list[ImportFailure]


class QuestionRequest(BaseModel):
    text: Text = ""
    language: Language | None = None
    k: Annotated[int, Field(ge=1, le=100)] = 10


class ModelView(BaseModel):
    feature: str
    available: bool
    reason: str | None
    model: str | None


class QueueView(BaseModel):
    name: str
    waiting: int
    running: int
    failed: int


class SystemView(BaseModel):
    models: list[ModelView]
    queues: list[QueueView]
    version: str
