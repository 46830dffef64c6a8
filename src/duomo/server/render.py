"""From what is stored to what is shown. A customer's view leaves out what is for agents alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from duomo.server.auth import Keys, MediaGrant
from duomo.server.shapes import (
    MAX_TEXT,
    ArtifactView,
    CitationView,
    ContactView,
    CsatView,
    LastMessageView,
    MessageView,
    PartErrorView,
    PartView,
    PersonView,
    SummaryView,
    WorkspaceLimits,
    WorkspaceView,
)
from duomo.store.postgres import Workspace
from duomo.support.conversation import Settings
from duomo.types import Citation, Message, Part, StoredArtifact

ACCEPT = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".heic"),
    *(".wav", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".flac", ".amr", ".aac"),
    *(".pdf", ".docx", ".txt"),
)
"""Endings for a file chooser; what a file is, its content decides (media/sniff.py)."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """Shows one workspace's objects, with addresses for their files."""

    keys: Keys
    workspace_id: str
    for_agent: bool

    def message(self, message: Message) -> MessageView:
        return MessageView(
            id=UUID(message.id),
            conversation_id=UUID(message.conversation_id),
            seq=message.seq,
            author=message.author,
            agent=_person(message.agent_id, message.agent_name),
            kind=message.kind,
            private=message.kind == "note",
            ai=message.author == "bot",
            text=message.text,
            language=message.language,
            created_at=message.created_at,
            feedback=message.feedback,
            parts=[self._part(part, message.conversation_id) for part in message.parts],
            citations=[self._citation(n, citation) for n, citation in enumerate(message.citations, start=1)],
            options=list(message.options),
            decision=dict(message.decision) if self.for_agent else {},
        )

    def picture_url(self, key: str) -> str:
        """Of a picture of the knowledge."""
        return self.keys.media_url(MediaGrant(self.workspace_id, None, key))

    def _part(self, part: Part, conversation_id: str) -> PartView:
        url = self.keys.media_url(MediaGrant(self.workspace_id, conversation_id, part.blob)) if part.blob else None
        error = PartErrorView(code=part.error_code or "bad_media", message=part.error) if part.error else None
        return PartView(
            id=UUID(part.id),
            kind=part.kind,
            state=part.state,
            mime=part.mime,
            name=part.name,
            url=url,
            width=part.width,
            height=part.height,
            duration_s=part.duration_s,
            error=error,
            artifacts=[_artifact(artifact) for artifact in part.artifacts],
        )

    def _citation(self, n: int, citation: Citation) -> CitationView:
        return CitationView(
            n=n,
            article_id=citation.article_id,
            chunk_id=citation.chunk_id,
            title=citation.title,
            uri=citation.uri,
            quote=citation.quote,
            score=citation.score,
            picture_url=self.picture_url(citation.picture) if citation.picture else None,
        )


def workspace(found: Workspace, *, consent: Literal["all", "asked"]) -> WorkspaceView:
    settings = Settings.of(found.settings)
    return WorkspaceView(
        name=found.name,
        title=dict(settings.title),
        greeting={str(k): v for k, v in settings.greeting.items()},
        bot_name=dict(settings.bot_name),
        languages=list(settings.languages),
        limits=WorkspaceLimits(
            max_files=settings.max_files,
            max_bytes=settings.max_bytes,
            max_audio_s=settings.max_audio_s,
            max_text=MAX_TEXT,
            accept=list(ACCEPT),
        ),
        consent=consent,
    )


def summary(row: Mapping[str, Any]) -> SummaryView:
    """Of a row of `summaries`."""
    last = None
    if row["last_at"] is not None:
        last = LastMessageView(
            author=row["last_author"], kind=row["last_kind"], text=row["last_text"][:300], created_at=row["last_at"]
        )
    return SummaryView(
        id=row["id"],
        status=row["status"],
        contact=ContactView(id=row["contact_id"], name=row["contact_name"], language=row["contact_language"]),
        assignee=_person(row["assignee_id"], row["assignee_name"]),
        team=row["team"],
        priority=row["priority"],
        language=row["language"],
        channel=row["channel"],
        last_message=last,
        last_seq=row["last_seq"],
        unread=row["unread"],
        waiting_since=row["waiting_since"],
        snoozed_until=row["snoozed_until"],
        handoff_reason=row["handoff_reason"],
        media=row["media"],
        csat=CsatView(score=row["csat_score"], comment=row["csat_comment"]) if row["csat_score"] else None,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def snippet(text: str, query: str, *, around: int = 70) -> str:
    """The place in a text where the query, or the first of its words that occurs, stands."""
    low = text.lower()
    wanted = [query.lower(), *query.lower().split()]
    at = next((found for word in wanted if (found := low.find(word)) >= 0), 0)
    start, end = max(0, at - around), min(len(text), at + len(query) + around)
    return ("…" if start else "") + text[start:end].strip() + ("…" if end < len(text) else "")


def _artifact(stored: StoredArtifact) -> ArtifactView:
    artifact = stored.artifact
    return ArtifactView(
        id=UUID(stored.id),
        kind=artifact.kind,
        text=artifact.text,
        original_text=stored.original_text,
        confidence=artifact.confidence,
        model=artifact.model,
        version=artifact.version,
        duration_ms=artifact.duration_ms,
        corrected_by=stored.corrected_by,
        data=dict(artifact.data),
    )


def _person(id: Any, name: str | None) -> PersonView | None:
    return PersonView(id=id, name=name or "") if id else None
