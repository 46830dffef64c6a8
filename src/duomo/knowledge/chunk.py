"""Cut an article, written in Markdown, into pieces small enough that one vector says what each is about.

A piece never crosses a heading and never breaks inside a sentence, a list item or a table row unless that alone is
over the limit; a table that goes on in a second piece repeats its header there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

LIMIT = 390  # of `size`: 390 Chinese characters, or 130 English words
TAIL = 60  # a last piece below this joins the one before it
PATH = " › "  # between the headings above a piece

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_MARKS = re.compile(  # emphasis, code, headings, quotes, the line under a table's header, list signs
    r"\*\*|__|`+|^\s{0,3}#{1,6}\s+|^\s{0,3}>\s?|^\s*\|?[\s:|-]{3,}\|?\s*$|^\s*(?:[-*+]|\d+[.)])\s+", re.MULTILINE
)
_SENTENCE = re.compile(r"(?<=[。！？；!?])(?![”」』）)])|(?<=[.;])\s+(?=\S)|(?<=[。！？][”」』）)])|\n+")
_CLAUSE = re.compile(r"(?<=[，、：,:])|\s+")
_UNIT = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an article.

    Attributes:
        heading: the headings above it, joined with `PATH`; empty at the top.
        text: Markdown, as it stands in the article.
        picture: what the first picture in it is called there, e.g. "img/a.png".
    """

    heading: str
    text: str
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    """Consecutive source lines: pieces that must not be broken, what joins them, what each new chunk repeats."""

    headings: tuple[str, ...]
    pieces: tuple[str, ...]
    glue: str
    repeat: str = ""


def size(text: str) -> int:
    """How much of the encoder's window a text takes: Chinese characters, and three for any other word."""
    return sum(1 if unit[0] >= "\u3400" else 3 for unit in _UNIT.findall(text))


def plain(markdown: str) -> str:
    """The words of a piece without its Markdown signs: what is encoded and indexed."""
    text = _PICTURE.sub(r"\1", markdown)
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    text = _MARKS.sub("", text).replace("|", " ")
    return re.sub(r"[ \t]{2,}", " ", re.sub(r"\n{2,}", "\n", text)).strip()


def pictures(markdown: str) -> list[tuple[str, str]]:
    """(reference, alternative text) of each picture, in order, once each."""
    return list({reference: (reference, alt) for alt, reference in reversed(_PICTURE.findall(markdown))}.values())[::-1]


def chunk(markdown: str, *, limit: int = LIMIT) -> list[Chunk]:
    """Cut an article into chunks, in reading order; none for an article without words or pictures."""
    chunks: list[Chunk] = []
    section: list[_Block] = []
    for block in _blocks(markdown):
        if section and section[0].headings != block.headings:
            chunks += _section(section, limit)
            section = []
        section.append(block)
    if section:
        chunks += _section(section, limit)
    return chunks


def _section(blocks: list[_Block], limit: int) -> list[Chunk]:
    pieces = [(piece, block) for block in blocks for whole in block.pieces for piece in _fit(whole, limit)]
    remaining = sum(size(piece) for piece, _ in pieces)
    texts: list[str] = []
    current, taken, last = "", 0, blocks[0]
    for piece, block in pieces:
        length = size(piece)
        # Even shares of what is left: a greedy cut would leave a last chunk of one sentence that says nothing alone.
        target = remaining / max(1, math.ceil(remaining / limit))
        joint = block.glue if block is last else "\n\n"
        if current and (taken + length > limit or taken + length / 2 > target):
            texts.append(current)
            remaining -= taken
            current, taken = "", 0
        if current:
            current += joint + piece
        else:
            current = f"{block.repeat}\n{piece}" if block.repeat and piece != block.pieces[0] else piece
        taken += length
        last = block
    if texts and taken < TAIL and not last.repeat:
        texts[-1] += joint + current
    else:
        texts.append(current)
    heading = PATH.join(blocks[0].headings)
    return [Chunk(heading, text, _first_picture(text)) for text in texts if plain(text) or _PICTURE.search(text)]


def _first_picture(text: str) -> str | None:
    found = _PICTURE.search(text)
    return found[2] if found else None


def _fit(piece: str, limit: int) -> Iterator[str]:
    """Break a piece over the limit at sentences, then clauses, then anywhere."""
    if size(piece) <= limit:
        yield piece
        return
    for pattern in (_SENTENCE, _CLAUSE):
        parts = [part for part in pattern.split(piece) if part and part.strip()]
        if len(parts) > 1:
            yield from _join(parts, limit)
            return
    yield from (piece[i : i + limit] for i in range(0, len(piece), limit))


def _join(parts: list[str], limit: int) -> Iterator[str]:
    """Neighbouring parts joined up to a quarter of the limit: grains that fill chunks evenly."""
    current = ""
    for part in parts:
        spaced = part if not current or not (current[-1].isascii() and part[0].isascii()) else f" {part}"
        if current and size(current) + size(part) > limit // 4:
            yield from _fit(current, limit)
            current = part
        else:
            current += spaced
    if current:
        yield from _fit(current, limit)


def _blocks(markdown: str) -> Iterator[_Block]:
    lines = markdown.splitlines()
    tokens = _MARKDOWN.parse(markdown)
    path: list[tuple[int, str]] = []
    for i, token in enumerate(tokens):
        if token.level != 0 or token.map is None:
            continue
        source = "\n".join(lines[token.map[0] : token.map[1]]).strip("\n")
        headings = tuple(text for _, text in path)
        if token.type == "heading_open":
            level = int(token.tag[1])
            path = [(above, text) for above, text in path if above < level]
            path.append((level, plain(tokens[i + 1].content)))
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            yield _Block(headings, tuple(_children(tokens, i, "list_item_open", lines)), "\n")
        elif token.type == "table_open":
            rows = list(_children(tokens, i, "tr_open", lines))
            header = "\n".join(lines[token.map[0] : token.map[0] + 2])
            yield _Block(headings, (f"{header}\n{rows[1]}", *rows[2:]) if len(rows) > 1 else (source,), "\n", header)
        elif token.type in ("fence", "code_block"):
            yield _Block(headings, (source,) if size(source) <= LIMIT else tuple(source.splitlines()), "\n")
        elif source:
            yield _Block(headings, tuple(_sentences(source)), "")


def _children(tokens: list[Token], start: int, kind: str, lines: list[str]) -> Iterator[str]:
    """Source of the direct items of the list, or the rows of the table, that opens at `start`."""
    opening = tokens[start]
    depth = opening.level + (2 if kind == "tr_open" else 1)  # rows stand inside thead and tbody
    for token in tokens[start + 1 :]:
        if token.level <= opening.level:
            return
        if token.type == kind and token.level == depth and token.map is not None:
            yield "\n".join(lines[token.map[0] : token.map[1]]).rstrip()


def _sentences(paragraph: str) -> Iterator[str]:
    """The paragraph itself when it is short, else its sentences with the white space that followed them."""
    if size(paragraph) <= LIMIT // 2:
        yield paragraph
        return
    start = 0
    for found in _SENTENCE.finditer(paragraph):
        if paragraph[start : found.end()].strip():
            yield paragraph[start : found.end()]
            start = found.end()
    if paragraph[start:].strip():
        yield paragraph[start:]


def context(title: str, piece: Chunk) -> str:
    """The title and the headings above a piece: what it is encoded and indexed under."""
    headings = [heading for heading in [title, *piece.heading.split(PATH)] if heading]
    return PATH.join(dict.fromkeys(headings))  # an article's first heading is usually its title again


def replace_pictures(markdown: str, names: Mapping[str, str] | None) -> str:
    """The text with its pictures' references renamed; those not named, or all for None, are taken out."""

    def renamed(found: re.Match[str]) -> str:
        return f"![{found[1]}]({names[found[2]]})" if names and found[2] in names else ""

    return _PICTURE.sub(renamed, markdown)


def without_picture(markdown: str, reference: str) -> str:
    return _PICTURE.sub(lambda found: "" if found[2] == reference else found[0], markdown)
