"""An agent's reply becomes an article: a draft with its pictures, then a file that is ingested like an uploaded one."""

from __future__ import annotations

import asyncio
import io
import re
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from duomo.errors import Conflict, InputError, NotFound
from duomo.media.text import normalise
from duomo.models.language import detect_language
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Tx
from duomo.support import conversation as talk
from duomo.support.guard import mask
from duomo.types import LANGUAGES, Language

FOLDER = "drafts"  # an article's id is FOLDER/ID
TITLE = 80  # characters of a customer's question that suggest a title
MASKS = re.compile(r"\[(email|id-number|card|phone|plate)\]")
_SUFFIX: Mapping[str, str] = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}
_SENTENCE = re.compile(r"(?<=[?？!！。.])\s*")


async def from_reply(tx: Tx, *, id: str, message_id: str, agent_id: str) -> Row:
    """Make a draft of what an agent answered: the customer's question its title, the pictures beside the text.

    Personal data is masked; `masked` says what of, so that the agent rewrites the sentence. A reply has one draft: the
    one that it has already, published or not, is returned whatever its id, unless it was dismissed.

    Raises:
        NotFound: no such message.
        InputError: not an agent's reply, or one without text.
        Conflict: the id is taken by another draft.
    """
    if (earlier := await tx.one("draft", id=id)) is not None:
        if str(earlier["message_id"]) != message_id:
            raise Conflict("this draft id is taken by another draft. Send yours with a new id.")
        return earlier
    row = await tx.one("reply_to_draft", id=message_id)
    if row is None:
        raise NotFound("there is no such message.")
    if row["author"] != "agent" or row["kind"] == "note" or not row["text"].strip():
        raise InputError("a draft is made of an agent's reply that has text.")
    if (begun := await tx.value("draft_of_reply", message_id=message_id)) is not None:
        return await _draft(tx, str(begun))
    [message] = await talk.load_messages(tx, str(row["conversation_id"]), [message_id])
    pictures = [{"blob": part.blob, "alt": ""} for part in message.parts if part.kind == "image" and part.blob]
    text = mask(message.text.strip())
    language = row["language"] if row["language"] in LANGUAGES else detect_language(text)
    await tx.run(
        "insert_draft", id=id, conversation_id=row["conversation_id"], message_id=message_id, language=language,
        title=suggested_title(row["asked"] or text), text=text, pictures=pictures, agent_id=agent_id,
    )  # fmt: skip
    return await _draft(tx, id)


async def write(tx: Tx, *, id: str, title: str, text: str, language: Language, agent_id: str | None) -> Row:
    """Write a draft anew or change one; a published one becomes a draft of its article's next version.

    Raises:
        InputError: no title or no text.
        Conflict: it was dismissed.
    """
    if not title.strip() or not text.strip():
        raise InputError("a draft needs a title and a text.")
    row = await tx.one("draft_for_update", id=id)
    if row is not None and row["state"] == "dismissed":
        raise Conflict("this draft was dismissed. Make a new one.")
    await tx.run("write_draft", id=id, title=title.strip(), text=text.strip(), language=language, agent_id=agent_id)
    return await _draft(tx, id)


async def publish(db: Database, blobs: Blobs, workspace_id: str, *, id: str) -> tuple[Row, str | None]:
    """Put a draft into the knowledge, as if its file were uploaded; the next question may be answered from it.

    Returns:
        The draft, and the import that brings it in; None when it was published before and has not changed.
    Raises:
        NotFound: no such draft.
        Conflict: it was dismissed.
    """
    async with db.transaction(workspace_id) as tx:
        row = await _draft(tx, id)
    if row["state"] == "published":
        return row, None
    data = await asyncio.to_thread(packed, row, blobs, workspace_id)
    key = await asyncio.to_thread(blobs.put, workspace_id, data)
    async with db.transaction(workspace_id) as tx:
        now = await tx.one("draft_for_update", id=id)
        if now is None or now["state"] == "dismissed":
            raise Conflict("this draft was dismissed. Make a new one.")
        if now["state"] == "published":
            return await _draft(tx, id), None
        if now["updated_at"] != row["updated_at"]:
            raise Conflict("this draft was changed meanwhile. Read it, then publish it.")
        await tx.run("insert_blob", key=key, mime="application/zip", size=len(data))
        import_id = str(
            await tx.value("start_import", total=1, files=[{"name": f"{FOLDER}.zip", "blob": key, "size": len(data)}])
        )
        args = {"workspace_id": workspace_id, "import_id": import_id}
        await tx.defer("ingest", queue="knowledge", lock=f"knowledge {workspace_id}", args=args)
        await tx.run("draft_published", id=id, article_id=article_id(id))
        await tx.run("proposal_became", draft_id=id, article_id=article_id(id))
        return await _draft(tx, id), import_id


async def dismiss(tx: Tx, *, id: str) -> None:
    """
    Raises:
        NotFound: no such draft.
        Conflict: it is an article already.
    """
    row = await tx.one("draft_for_update", id=id)
    if row is None:
        raise NotFound("there is no such draft.")
    if row["state"] == "published":
        raise Conflict("this draft is published. Delete its article in the knowledge instead.")
    await tx.run("draft_dismissed", id=id)


def article_id(draft_id: str) -> str:
    return f"{FOLDER}/{draft_id}"


def suggested_title(asked: str) -> str:
    """The first sentence that asks, or else the first, without personal data, at most TITLE characters."""
    line = " ".join(normalise(mask(asked)).split())
    sentences = [sentence for sentence in _SENTENCE.split(line) if sentence]
    asking = [sentence for sentence in sentences if sentence.endswith(("?", "？"))]
    first = next(iter(asking or sentences), "")
    return first if len(first) <= TITLE else first[: TITLE - 1].rstrip() + "…"


def masked(row: Mapping[str, Any]) -> list[str]:
    """Kinds of personal data that were taken out and leave a gap in the text."""
    return sorted(set(MASKS.findall(f"{row['title']}\n{row['text']}")))


def personal(row: Mapping[str, Any]) -> list[str]:
    """Kinds of personal data that stand in the text, e.g. since the agent wrote them; a shop's own number may stay."""
    text = f"{row['title']}\n{row['text']}"
    return sorted(set(MASKS.findall(mask(MASKS.sub("", text)))))


def packed(row: Mapping[str, Any], blobs: Blobs, workspace_id: str) -> bytes:
    """A zip with one Markdown file and its pictures; the same draft is the same bytes."""
    name = f"{FOLDER}/{row['id']}"
    files: dict[str, bytes] = {}
    links = []
    for number, picture in enumerate(row["pictures"], 1):
        inner = f"{row['id']}-{number}{_SUFFIX.get(picture.get('mime') or '', '.png')}"
        files[f"{FOLDER}/{inner}"] = blobs.get(workspace_id, picture["blob"])
        links.append(f"![{_plain(picture.get('alt') or row['title'])}]({inner})")
    front = f"---\ntitle: {_plain(row['title'])}\nlanguage: {row['language']}\n---\n"
    files[f"{name}.md"] = "\n\n".join([front + "\n" + row["text"].strip(), *links]).encode() + b"\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(inner, date_time=(1980, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


def _plain(text: str) -> str:
    """On one line, with nothing that ends a link or a value of the front matter early."""
    return re.sub(r"[\[\]\"'\s]+", " ", text).strip()


async def _draft(tx: Tx, id: str) -> Row:
    row = await tx.one("draft", id=id)
    if row is None:
        raise NotFound("there is no such draft.")
    return row


async def from_questions(
    tx: Tx, *, title: str, questions: Sequence[str], language: Language, agent_id: str | None
) -> str:
    """A draft that has its questions and lacks its answer. Returns: its id."""
    id = str(uuid.uuid4())
    text = "\n".join(f"- {mask(' '.join(question.split()))}" for question in questions)
    await tx.run(
        "insert_draft", id=id, conversation_id=None, message_id=None, language=language,
        title=suggested_title(title), text=text, pictures=[], agent_id=agent_id,
    )  # fmt: skip
    return id
