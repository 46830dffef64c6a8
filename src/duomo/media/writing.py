"""Plain text, Markdown, HTML and CSV. For the sandbox only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import bs4
from bs4 import BeautifulSoup, Tag
from bs4.dammit import EncodingDetector
from markdown_it import MarkdownIt
from markdown_it.token import Token

from duomo.errors import MediaError, TooLarge
from duomo.media.blocks import Block, Document
from duomo.media.sandbox import Reply
from duomo.media.sniff import text_encoding
from duomo.media.tables import as_document, read_csv


def _text(data: bytes, max_characters: int, *, markup: bool = False) -> str:
    encoding = text_encoding(data, markup=markup)
    if encoding is None:
        raise MediaError("the text is in an unknown encoding; save it as UTF-8", code="broken")
    text = data.decode(encoding, "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > max_characters:
        raise TooLarge(f"the text has {len(text)} characters, accepted are {max_characters}; send it in parts")
    if not text.strip():
        raise MediaError("the text is empty", code="empty")
    return text


def clean(data: bytes, *, max_characters: int) -> Reply:
    """Plain text as UTF-8.

    Returns:
        {mime, extension, pages: [text]} and the bytes.
    """
    text = _text(data, max_characters)
    return {"mime": "text/plain; charset=utf-8", "extension": "txt", "pages": [text]}, [text.encode()]


def extract_text(data: bytes, *, max_characters: int) -> Reply:
    """Paragraphs of plain text, parted by blank lines."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", _text(data, max_characters))]
    return Document(title="", blocks=tuple(Block("paragraph", part) for part in paragraphs if part)).pack()


def extract_csv(data: bytes, *, max_characters: int) -> Reply:
    return as_document(read_csv(_text(data, max_characters)), max_characters=max_characters).pack()


# --- Markdown

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def extract_markdown(data: bytes, *, max_characters: int) -> Reply:
    text = _text(data, max_characters, markup=True)
    title = ""
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        if named := re.search(r"^title:\s*(.+)$", front[1], re.MULTILINE):
            title = named[1].strip().strip("\"'")
    blocks = tuple(_markdown_blocks(_MARKDOWN.parse(text)))
    heading = next((block.text for block in blocks if block.kind == "heading"), "")
    return Document(title=title or heading, blocks=blocks).pack()


def _markdown_blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    """Top-level tokens to blocks; a list or table with all it holds is one."""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        end = _closing(tokens, at)
        inside = tokens[at : end + 1]
        match token.type:
            case "heading_open":
                yield Block("heading", _inline(tokens[at + 1]), level=int(token.tag[1]))
                yield from _references(inside)
            case "bullet_list_open" | "ordered_list_open":
                yield Block("list", "\n".join(_items(inside)))
                yield from _references(inside)
            case "table_open":
                yield Block("table", "\n".join(_rows(inside)))
                yield from _references(inside)
            case "fence" | "code_block":
                yield Block("code", token.content.rstrip("\n"))
            case "html_block":
                yield from _html_blocks(BeautifulSoup(token.content, "lxml"))
            case "blockquote_open":
                yield from _markdown_blocks(inside[1:-1])
            case "paragraph_open":
                if text := _inline(tokens[at + 1]):
                    yield Block("paragraph", text)
                yield from _references(inside)
        at = end + 1


def _closing(tokens: Sequence[Token], start: int) -> int:
    depth = 0
    for at in range(start, len(tokens)):
        depth += tokens[at].nesting
        if depth <= 0:
            return at
    return len(tokens) - 1


def _inline(token: Token) -> str:
    parts = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append("\n" if child.type == "hardbreak" else " ")
        elif child.type == "html_inline" and re.match(r"<br\s*/?>", child.content, re.IGNORECASE):
            parts.append("\n")
    return "".join(parts).strip()


def _references(tokens: Sequence[Token]) -> Iterator[Block]:
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                yield Block("picture", reference=str(child.attrs.get("src", "")), alt=child.content)
            elif child.type == "html_inline" and "<img" in child.content.lower():
                yield from _html_blocks(BeautifulSoup(child.content, "lxml"))


def _items(tokens: Sequence[Token]) -> Iterator[str]:
    numbers: list[int | None] = []
    fresh = False
    for token in tokens:
        match token.type:
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_open":
                numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                numbers.pop()
            case "list_item_open":
                fresh = True
            case "inline" | "fence" | "code_block":
                text = _inline(token) if token.type == "inline" else token.content.rstrip()
                number = numbers[-1]
                mark = ("- " if number is None else f"{number}. ") if fresh else "  "
                if fresh and number is not None:
                    numbers[-1] = number + 1
                fresh = False
                yield "  " * (len(numbers) - 1) + mark + text


def _rows(tokens: Sequence[Token]) -> Iterator[str]:
    cells: list[str] = []
    for token in tokens:
        if token.type == "tr_open":
            cells = []
        elif token.type == "inline":
            cells.append(_inline(token))
        elif token.type == "tr_close":
            yield " | ".join(cells)


# --- HTML

_DROPPED = ["script", "style", "noscript", "template", "nav", "footer", "aside", "form", "iframe", "svg", "button",
            "object", "embed", "select", "dialog"]  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CONTAINERS = {"html", "body", "main", "article", "section", "div", "header", "details", "figure", "center", "span",
               "blockquote", "dl", "a", "font", "hgroup", "fieldset", "address"}  # fmt: skip
_TEXT = {"p", "dt", "dd", "figcaption", "summary"}
_BLOCKS = _CONTAINERS - {"span", "a", "font"} | set(_HEADINGS) | _TEXT | {"ul", "ol", "table", "pre", "hr"}


def extract_html(data: bytes, *, max_characters: int) -> Reply:
    """The readable part of a page: scripts, navigation and footers dropped, the main part alone where marked."""
    if len(data) > 4 * max_characters:
        raise TooLarge(f"the page has {len(data)} bytes, accepted are {4 * max_characters}")
    page = BeautifulSoup(_markup(data), "lxml")
    title = page.title.get_text(" ", strip=True) if page.title is not None else ""
    for tag in page.find_all(_DROPPED):
        tag.decompose()
    for tag in page.find_all(lambda tag: tag.get("role") in ("navigation", "banner", "contentinfo", "search")):
        tag.decompose()
    main = page.find(lambda tag: tag.name == "main" or tag.get("role") == "main")
    root = main or _only(page.find_all("article")) or page.body or page
    blocks = tuple(_html_blocks(root)) if isinstance(root, Tag) else ()
    heading = next((block.text for block in blocks if block.kind == "heading"), "")
    return Document(title=heading if heading and heading in title else title or heading, blocks=blocks).pack()


def _markup(data: bytes) -> str:
    """Decode a page as its byte order mark or its own `<meta charset>` says, else as UTF-8 or GB18030."""
    stripped, marked = EncodingDetector.strip_byte_order_mark(data)
    declared = EncodingDetector.find_declared_encoding(stripped, is_html=True)
    for encoding in filter(None, (marked, declared, "utf-8", "gb18030")):
        try:
            return stripped.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return stripped.decode("utf-8", "replace")


def _only(found: Sequence[Tag]) -> Tag | None:
    return found[0] if len(found) == 1 else None


def _html_blocks(parent: Tag) -> Iterator[Block]:
    """Blocks of a container; text that stands in it directly is a paragraph."""
    loose: list[str] = []

    def paragraph() -> Iterator[Block]:
        text = _squeezed("".join(loose))
        loose.clear()
        if text:
            yield Block("paragraph", text)

    for child in parent.children:
        if isinstance(child, bs4.element.PreformattedString):
            continue  # comments, declarations
        if not isinstance(child, Tag):
            loose.append(str(child))
        elif child.name == "img":
            yield from paragraph()
            yield from _image(child)
        elif child.name in _BLOCKS or child.find(list(_BLOCKS)) is not None:
            yield from paragraph()
            yield from _html_block(child)
        else:
            loose.append("\n" if child.name == "br" else _own_text(child))
            if pictures := [block for image in child.find_all("img") for block in _image(image)]:
                yield from paragraph()
                yield from pictures
    yield from paragraph()


def _html_block(tag: Tag) -> Iterator[Block]:
    if tag.name in _HEADINGS:
        if text := _squeezed(_own_text(tag)):
            yield Block("heading", text, level=_HEADINGS[tag.name])
    elif tag.name in ("ul", "ol"):
        if items := list(_list_items(tag, depth=0)):
            yield Block("list", "\n".join(items))
    elif tag.name == "table":
        rows = [" | ".join(_cells(row)) for row in tag.find_all("tr")]
        if any(row.strip(" |") for row in rows):
            yield Block("table", "\n".join(rows))
    elif tag.name == "pre":
        yield Block("code", tag.get_text().strip("\n"))
        return
    elif tag.name in _TEXT and tag.find(list(_BLOCKS)) is None:
        if text := _squeezed(_own_text(tag)):
            yield Block("paragraph", text)
    else:
        yield from _html_blocks(tag)
        return
    for image in tag.find_all("img"):
        yield from _image(image)


def _cells(row: Tag) -> Iterator[str]:
    for cell in row.find_all(["td", "th"], recursive=False):
        yield _squeezed(_own_text(cell)).replace("\n", " ")


def _list_items(tag: Tag, *, depth: int) -> Iterator[str]:
    for number, item in enumerate(tag.find_all("li", recursive=False), start=1):
        own = [str(child) if not isinstance(child, Tag) else _own_text(child)
               for child in item.children if not (isinstance(child, Tag) and child.name in ("ul", "ol"))]  # fmt: skip
        mark = f"{number}. " if tag.name == "ol" else "- "
        if text := _squeezed("".join(own)):
            yield "  " * min(depth, 8) + mark + text.replace("\n", " ")
        for inner in item.find_all(["ul", "ol"], recursive=False):
            yield from _list_items(inner, depth=depth + 1)


def _own_text(tag: Tag) -> str:
    for line in tag.find_all("br"):
        line.replace_with("\n")
    return tag.get_text("")


def _squeezed(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _image(tag: Tag) -> Iterator[Block]:
    source = str(tag.get("src") or tag.get("data-src") or "")
    if source and not source.startswith("data:"):
        yield Block("picture", reference=source, alt=str(tag.get("alt") or ""))
