"""Turn a source file into the articles it holds: Markdown text, its pictures, and what tells whether it changed.

Telling whether an article changed is cheap; reading it may not be (a scanned PDF, a long recording). So a file gives
drafts first, each with a fingerprint, and only a draft that changed is read.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from duomo.errors import InputError, MediaError
from duomo.knowledge.chunk import pictures as pictures_in
from duomo.knowledge.sources import Source
from duomo.media import document
from duomo.media.text import normalise
from duomo.models.language import detect_language
from duomo.types import LANGUAGES, Language

MARKDOWN = frozenset({".md", ".markdown"})
RECORDS = frozenset({".jsonl", ".ndjson"})
PAIRS = frozenset({".csv", ".tsv", ".xlsx"})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".heic", ".heif"})
SOUNDS = frozenset({".wav", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".flac", ".amr"})
DOCUMENTS = document.SUFFIXES - MARKDOWN - PAIRS

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FOLDERS: Mapping[str, Language] = {"zh": "zh", "zh-cn": "zh", "zh_cn": "zh", "zh-hans": "zh", "en": "en",
                                          "en-us": "en"}  # fmt: skip
_NAMED = 2  # levels of headings that an article's title may be taken from
_UNTITLED = 40  # characters of the first line that stand for a missing title


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of an article; its bytes are not to be trusted unless they are `clean`."""

    data: bytes
    alt: str = ""
    clean: bool = False  # re-encoded by the sandbox that read the document


@dataclass(frozen=True, slots=True)
class Article:
    """What an article says.

    Attributes:
        title: "" when it has none of its own.
        pictures: by the reference that stands in `text`.
        cover: reference of the picture that belongs to the whole article.
        sound: a recording whose transcript is the text.
    """

    title: str
    text: str  # Markdown
    uri: str
    language: Language | None = None  # None: as its text says
    topic: str | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    cover: str | None = None
    sound: bytes | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An article not yet read.

    Attributes:
        fingerprint: of everything that `read` would read.
        read: raises InputError for what cannot be read.
        uses: names of the sources that are this article's pictures.
    """

    id: str
    name: str  # for reports
    fingerprint: str
    read: Callable[[], Article]
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Failure:
    name: str
    reason: str


def drafts(source: Source) -> Iterator[Draft | Failure]:
    """The articles of a file, and what of it cannot be one. Raises nothing on account of the file."""
    try:
        data = source.read()
        if source.suffix in RECORDS:
            yield from _records(source, data)
        elif source.suffix in PAIRS:
            yield from _pairs(source, data)
        else:
            yield _whole_file(source, data)
    except InputError as error:
        yield Failure(source.name, str(error))


def fingerprint(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def _whole_file(source: Source, data: bytes) -> Draft:
    if source.suffix in MARKDOWN:
        return _markdown(source, data)
    if source.suffix in DOCUMENTS:
        found: dict[str, Picture] = {}
        if source.suffix in (".html", ".htm"):
            references = re.findall(rb"<img[^>]+?src=[\"']([^\"']+)", data, re.IGNORECASE)
            found = _beside(source, (reference.decode("utf-8", "replace") for reference in references))
        mark = fingerprint(data, *_flat(found))
        uses = _uses(source, found)
        return Draft(source.stem, source.name, mark, lambda: _document(source, data, found), uses)
    if source.suffix in IMAGES:
        return Draft(source.stem, source.name, fingerprint(data), lambda: _image(source, data))
    if source.suffix in SOUNDS:
        return Draft(source.stem, source.name, fingerprint(data), lambda: _sound(source, data))
    known = sorted(MARKDOWN | RECORDS | PAIRS | IMAGES | SOUNDS | DOCUMENTS | {".zip"})
    raise MediaError(f"{source.suffix or 'a file without a suffix'} cannot be read; accepted are {', '.join(known)}.",
                     code="unsupported_type")  # fmt: skip


# --- Markdown with front matter


def _markdown(source: Source, data: bytes) -> Draft:
    text = _decoded(data)
    front, body = front_matter(text)
    cover = front.get("picture") or None
    references = [reference for reference, _ in pictures_in(body)]
    found = _beside(source, [*references, *([cover] if cover else [])])
    alts = dict(pictures_in(body))
    title = front.get("title") or _first_heading(body) or PurePosixPath(source.name).stem

    def read() -> Article:
        if not body.strip():
            raise MediaError("the file holds no text", code="empty")
        return Article(
            title=title,
            text=body.strip(),
            uri=front.get("uri") or front.get("url") or source.name,
            language=_language(front.get("language") or front.get("lang")) or folder_language(source.name),
            topic=front.get("id") or topic(source.name),
            pictures={reference: Picture(raw.data, alts.get(reference, "")) for reference, raw in found.items()},
            cover=cover if cover in found else None,
        )

    return Draft(source.stem, source.name, fingerprint(data, *_flat(found)), read, _uses(source, found))


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """`key: value` lines between two lines of dashes, and the rest; lists are joined with ", "."""
    found = _FRONT_MATTER.match(text)
    if not found:
        return {}, text
    values: dict[str, str] = {}
    for line in found[1].splitlines():
        key, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t", "#")):
            value = value.strip()
            if value.startswith("[") and value.endswith("]"):
                value = ", ".join(part.strip().strip("\"'") for part in value[1:-1].split(","))
            values[key.strip().lower()] = value.strip("\"'")
    return values, text[found.end() :]


def topic(name: str) -> str | None:
    """The path without the folder that names its language, "delivery-times"; None outside of such folders."""
    path = PurePosixPath(name).with_suffix("")
    rest = [part for part in path.parts if part.lower() not in _FOLDERS]
    return "/".join(rest) if rest and len(rest) < len(path.parts) else None


def folder_language(name: str) -> Language | None:
    parts = PurePosixPath(name).parts[:-1]
    return next((_FOLDERS[part.lower()] for part in parts if part.lower() in _FOLDERS), None)


def _language(value: object) -> Language | None:
    short = str(value or "").lower()[:2]
    return next((known for known in LANGUAGES if known == short), None)


def _beside(source: Source, references: Iterable[str]) -> dict[str, Picture]:
    """The pictures that an article refers to by relative paths, as far as they are there."""
    found = {}
    for reference in references:
        if ":" in reference or reference.startswith(("/", "#")) or reference in found:
            continue
        if PurePosixPath(reference).suffix.lower() in IMAGES and (data := source.beside(reference)) is not None:
            found[reference] = Picture(data)
    return found


def _uses(source: Source, references: Iterable[str]) -> frozenset[str]:
    folder = posixpath.dirname(source.name)
    return frozenset(posixpath.normpath(posixpath.join(folder, reference)) for reference in references)


def _flat(pictures: Mapping[str, Picture]) -> Iterator[bytes | str]:
    for reference, picture in sorted(pictures.items()):
        yield reference
        yield picture.data


def _first_heading(markdown: str) -> str:
    found = re.search(rf"^#{{1,{_NAMED}}}\s+(.+?)\s*#*$", markdown, re.MULTILINE)
    return found[1].strip() if found else ""


def _decoded(data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding).replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
    raise MediaError("the text is neither UTF-8 nor GB18030. Save it as UTF-8.", code="broken")


# --- HTML, PDF, DOCX, TXT


def _document(source: Source, data: bytes, found: Mapping[str, Picture]) -> Article:
    parsed = document.extract(data, source.name)
    text, pictures = to_markdown(parsed.blocks, found)
    if not text.strip():
        raise MediaError("the document holds neither text nor pictures", code="empty")
    return Article(
        title=normalise(parsed.title) or PurePosixPath(source.name).stem,
        text=text,
        uri=source.name,
        language=folder_language(source.name),
        topic=topic(source.name),
        pictures=pictures,
    )


def to_markdown(blocks: Iterable[document.Block], found: Mapping[str, Picture]) -> tuple[str, dict[str, Picture]]:
    """Blocks as Markdown, and the pictures it refers to: those within the document, and those of `found`."""
    parts: list[str] = []
    pictures: dict[str, Picture] = {}
    for block in blocks:
        if block.kind == "heading":
            parts.append(f"{'#' * max(block.level, 1)} {' '.join(block.text.split())}")
        elif block.kind == "table":
            parts.append(_table(block.text))
        elif block.kind == "code":
            parts.append(f"```\n{block.text}\n```")
        elif block.kind == "picture":
            reference = block.reference if block.reference in found else None
            data = block.picture or (found[reference].data if reference else None)
            if data is None:
                continue
            reference = reference or (f"page-{block.page}" if block.whole_page else f"picture-{len(pictures) + 1}")
            alt = re.sub(r"[\[\]\n]", " ", block.alt)
            pictures[reference] = Picture(data, alt, clean=block.picture is not None)
            parts.append(f"![{alt}]({reference})")
        elif block.text.strip():
            parts.append(block.text)
    return "\n\n".join(parts), pictures


def _table(text: str) -> str:
    rows = [row.split(" | ") for row in text.split("\n")]
    width = max(len(row) for row in rows)
    lines = ["| " + " | ".join(cell.strip() for cell in [*row, *[""] * (width - len(row))]) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * width, *lines[1:]])


# --- question-answer pairs: an article each, so that one file's answers do not compete as one article's chunks


def _pairs(source: Source, data: bytes) -> Iterator[Draft | Failure]:
    parsed = document.extract(data, source.name)
    seen: dict[str, int] = {}
    for pair in parsed.pairs:
        key = fingerprint(pair.question)[:8]  # of the question, not its row: rows move
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            key = f"{key}-{seen[key]}"
        article = Article(
            title=pair.question,
            text=pair.answer,
            uri=source.name,
            language=folder_language(source.name),
        )
        yield Draft(f"{source.stem}/{key}", f"{source.name}: {pair.question[:_UNTITLED]}",
                    fingerprint(pair.question, pair.answer), _given(article))  # fmt: skip
    if parsed.blocks:
        text, _ = to_markdown(parsed.blocks, {})
        article = Article(PurePosixPath(source.name).stem, text, source.name, folder_language(source.name))
        yield Draft(source.stem, source.name, fingerprint(text), _given(article))
    if not parsed.pairs and not parsed.blocks:
        yield Failure(source.name, "the table holds no rows")


def _given(article: Article) -> Callable[[], Article]:
    return lambda: article


# --- records


def _records(source: Source, data: bytes) -> Iterator[Draft | Failure]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            name = f"{source.name}: line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                yield Failure(name, f"not JSON: {error}")
                continue
            yield _record(source, name, record)


def _record(source: Source, name: str, record: Any) -> Draft | Failure:
    if not isinstance(record, dict) or not isinstance(record.get("text"), str) or not record["text"].strip():
        return Failure(name, 'expected an object {"id", "title", "text", "uri"} whose "text" is not empty')
    identity = record.get("id")
    if not isinstance(identity, str | int) or not str(identity).strip() or "\0" in str(identity):
        return Failure(name, '"id" is missing; it must be a string or a number')
    keys = ("title", "text", "uri", "language", "topic")
    fields = {key: str(record.get(key) or "").replace("\0", "") for key in keys}
    article = Article(
        title=fields["title"] or _first_heading(fields["text"]),
        text=fields["text"],
        uri=fields["uri"] or source.name,
        language=_language(fields["language"]) or folder_language(source.name),
        topic=fields["topic"] or None,
    )
    return Draft(str(identity), name, fingerprint(*fields.values()), _given(article))


# --- pictures and sound


def _image(source: Source, data: bytes) -> Article:
    stem = PurePosixPath(source.name).stem
    title = re.sub(r"[-_]+", " ", stem)
    return Article(
        title=title,
        text=f"![{title}](picture)",
        uri=source.name,
        language=folder_language(source.name),
        topic=topic(source.name),
        pictures={"picture": Picture(data, title)},
        cover="picture",
    )


def _sound(source: Source, data: bytes) -> Article:
    return Article(
        title=re.sub(r"[-_]+", " ", PurePosixPath(source.name).stem),
        text="",
        uri=source.name,
        language=folder_language(source.name),
        topic=topic(source.name),
        sound=data,
    )


def language_of(article: Article, text: str) -> Language:
    return article.language or detect_language(f"{article.title}\n{text}"[:4000])
