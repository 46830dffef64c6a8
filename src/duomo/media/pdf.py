"""PDF: rebuilt without anything active; its text with headings; its pictures; its pages as pictures.

Every function here parses foreign bytes (a rebuilt PDF still holds the stranger's fonts and drawings) and belongs in
the sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium  # type: ignore[import-untyped]
import pypdfium2.raw as raw  # type: ignore[import-untyped]

from duomo.errors import MediaError, TooLarge
from duomo.media import image
from duomo.media.blocks import SMALLEST_SIDE, Block, BlockKind, Document
from duomo.media.sandbox import Reply

MAX_PAGE_PIXELS = 12_000_000  # of a rendered page: A3 at 200 dots an inch is 7.7 million
MAX_PICTURES = 200


@contextlib.contextmanager
def _opened(data: bytes, max_pages: int) -> Iterator[Any]:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == raw.FPDF_ERR_PASSWORD:
            raise MediaError("the PDF is protected by a password; send it without one", code="encrypted") from None
        raise MediaError("the PDF is damaged; export it again", code="broken") from None
    with contextlib.closing(document):
        if len(document) > max_pages:
            raise TooLarge(f"the PDF has {len(document)} pages, accepted are {max_pages}; send a part of it")
        if len(document) == 0:
            raise MediaError("the PDF has no pages", code="empty")
        yield document


# --- rebuilding


def clean(data: bytes, *, max_pages: int, max_characters: int) -> Reply:
    """Rebuild a PDF from what its pages draw.

    Each page becomes one drawing (a form XObject) on its own page: the catalogue, annotations, forms, page actions,
    attachments and scripts have no way into the new file, while the values filled into a form are drawn. (Importing
    pages instead would keep their additional actions, /AA.) Should an active name still be found, the pages are
    turned into pictures.

    Returns:
        {mime, extension, pages: text by page} and the bytes.
    """
    with _opened(data, max_pages) as source:
        _flatten(source)
        texts = _texts(source, max_characters)
        made = _redrawn(source)
        if active(made):
            made = _as_pictures(source)
    return {"mime": "application/pdf", "extension": "pdf", "pages": texts}, [made]


def _flatten(document: Any) -> None:
    """Draw what annotations and form fields show into the pages."""
    for page in document:
        raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
        page.close()


def _redrawn(source: Any) -> bytes:
    sizes = {source.get_page_size(index) for index in range(len(source))}
    return _redrawn_together(source, *sizes.pop()) if len(sizes) == 1 else _redrawn_singly(source)


def _redrawn_together(source: Any, width: float, height: float) -> bytes:
    """Pages of one size, in one export, so that they share their fonts (singly, 36 pages came out ten times larger).

    PDFium draws pages on a sheet when it puts several on one; here, a page above an empty page. The sheet's media box
    then shows the upper half.
    """
    with contextlib.closing(pdfium.PdfDocument.new()) as doubled:
        doubled.import_pages(source)
        for index in range(len(source)):
            doubled.new_page(width, height, index=2 * index + 1).close()
        sheets = raw.FPDF_ImportNPagesToOne(doubled, width, 2 * height, 1, 2)
        if not sheets:
            return _redrawn_singly(source)
        with contextlib.closing(pdfium.PdfDocument(sheets)) as rebuilt:
            for page in rebuilt:
                page.set_mediabox(0, height, width, 2 * height)
                page.close()
            return _saved(rebuilt)


def _redrawn_singly(source: Any) -> bytes:
    with contextlib.closing(pdfium.PdfDocument.new()) as rebuilt:
        for index in range(len(source)):
            with contextlib.closing(rebuilt.new_page(*source.get_page_size(index))) as new:
                new.insert_obj(source.page_as_xobject(index, rebuilt).as_pageobject())
                new.gen_content()
        return _saved(rebuilt)


def _as_pictures(source: Any) -> bytes:
    with contextlib.closing(pdfium.PdfDocument.new()) as rebuilt:
        for page in source:
            width, height = page.get_size()
            with contextlib.closing(rebuilt.new_page(width, height)) as new:
                drawn = pdfium.PdfImage.new(rebuilt)
                drawn.set_bitmap(_rendered(page, dpi=150))
                drawn.set_matrix(pdfium.PdfMatrix().scale(width, height))
                new.insert_obj(drawn)
                new.gen_content()
        return _saved(rebuilt)


def _saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


_ACTIVE = re.compile(
    rb"/(?:JavaScript|JS|Launch|OpenAction|AA|EmbeddedFiles?|Filespec|AF|RichMedia|GoTo[RE]|SubmitForm|ImportData|URI"
    rb"|XFA|AcroForm|Annots|Movie|Rendition)(?![A-Za-z0-9])"
)
_STREAM = re.compile(rb"stream\r?\n.*?endstream", re.DOTALL)


def active(data: bytes) -> bool:
    """Whether a PDF as PDFium writes it (no object streams, names in full) holds anything that acts."""
    return _ACTIVE.search(_STREAM.sub(b"", data)) is not None


# --- pages as pictures


def page_images(data: bytes, *, pages: Sequence[int] | None, dpi: int, max_pages: int) -> Reply:
    """Render pages for OCR.

    Args:
        pages: from 1; None for all.
    Returns:
        {pages: their numbers} and a PNG or JPEG for each.
    """
    with _opened(data, max_pages) as document:
        wanted = list(pages) if pages is not None else list(range(1, len(document) + 1))
        if not all(1 <= number <= len(document) for number in wanted):
            raise MediaError(f"the PDF has pages 1 to {len(document)}; asked for {wanted}")
        return {"pages": wanted}, [_page_image(document[number - 1], dpi) for number in wanted]


def _page_image(page: Any, dpi: int) -> bytes:
    return image.encode(_rendered(page, dpi=dpi).to_numpy())


def _rendered(page: Any, *, dpi: int) -> Any:
    width, height = page.get_size()
    scale = min(dpi / 72, (MAX_PAGE_PIXELS / max(1.0, width * height)) ** 0.5)
    return page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False, may_draw_forms=False)


# --- text


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: float  # of the font, points; its largest
    bold: bool
    left: float
    right: float
    bottom: float
    top: float
    in_margin: bool  # in the upper or lower eighth of the page


def _texts(document: Any, max_characters: int) -> list[str]:
    """Plain text by page."""
    texts = []
    left = max_characters
    for page in document:
        with contextlib.closing(page.get_textpage()) as textpage:
            left -= textpage.count_chars()
            if left < 0:
                raise TooLarge(f"the PDF holds more than {max_characters} characters; send a part of it")
            texts.append(textpage.get_text_bounded().replace("\r\n", "\n").replace("\ufffe", "-").strip())
    return texts


def extract(data: bytes, *, max_pages: int, max_characters: int) -> Reply:
    """Headings, paragraphs, lists and pictures of a PDF; a page without text as one picture."""
    with _opened(data, max_pages) as document:
        _flatten(document)
        pages = []
        left = max_characters
        for page in document:
            lines = _lines(page)
            left -= sum(len(line.text) for line in lines)
            if left < 0:
                raise TooLarge(f"the PDF holds more than {max_characters} characters; send a part of it")
            pages.append(lines)
        running = _running_titles(pages)
        body = _body_size(pages)
        blocks: list[Block] = []
        seen: set[bytes] = set()
        for number, (page, lines) in enumerate(zip(document, pages, strict=True), start=1):
            if sum(len(line.text) for line in lines) < FEWEST_CHARACTERS:
                blocks.append(Block("picture", page=number, picture=_page_image(page, 200), whole_page=True))
                continue
            kept = [line for line in lines if not (line.in_margin and _masked(line.text) in running)]
            blocks += _blocks(kept, page=number, body=body)
            blocks += _pictures(page, number=number, seen=seen)
        named = str(document.get_metadata_value("Title") or "").strip()
        count = len(document)
    headings = [block for block in blocks if block.kind == "heading" and block.page in (1, 2)]
    largest = min(headings, key=lambda block: block.level).text if headings else ""
    return Document(title=largest or named, blocks=tuple(blocks), pages=count).pack()


FEWEST_CHARACTERS = 8  # on a page; with fewer it is a scan, perhaps with a page number


def _lines(page: Any) -> list[_Line]:
    _, lowest, _, highest = page.get_cropbox()
    eighth = (highest - lowest) / 8
    with contextlib.closing(page.get_textpage()) as textpage:
        count = textpage.count_chars()
        lines: list[_Line] = []
        at: list[int] = []
        box = [ctypes.c_double() for _ in range(4)]
        for index in range(count + 1):
            code = raw.FPDFText_GetUnicode(textpage, index) if index < count else 10
            if code not in (10, 13):
                at.append(index)
            elif at:
                line = _line(textpage, at, box, lower=lowest + eighth, upper=highest - eighth)
                if line is not None:
                    lines.append(line)
                at = []
    return lines


def _line(textpage: Any, at: Sequence[int], box: Sequence[Any], *, lower: float, upper: float) -> _Line | None:
    characters = []
    edges: list[tuple[float, float, float, float]] = []
    size, weight = 0.0, 0
    for index in at:
        code = raw.FPDFText_GetUnicode(textpage, index)
        if code == 0xFFFE or code == 2:  # PDFium's mark for a hyphen at the end of a line
            code = 0x2D
        if 0xD800 <= code < 0xE000:  # half of a pair; joined below
            characters.append(chr(code))
            continue
        characters.append(chr(code) if code else "")
        if not chr(code).isspace() and raw.FPDFText_GetCharBox(textpage, index, *box):
            left, right, bottom, top = (value.value for value in box)
            edges.append((left, right, bottom, top))
            size = max(size, raw.FPDFText_GetFontSize(textpage, index))
            weight = max(weight, raw.FPDFText_GetFontWeight(textpage, index))
    text = "".join(characters).encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
    if not text or not edges:
        return None
    lefts, rights, bottoms, tops = zip(*edges, strict=True)
    bottom, top = min(bottoms), max(tops)
    return _Line(
        text=text,
        size=size if size > 1 else top - bottom,
        bold=weight >= 600,
        left=min(lefts),
        right=max(rights),
        bottom=bottom,
        top=top,
        in_margin=top < lower or bottom > upper,
    )


def _masked(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _running_titles(pages: Sequence[Sequence[_Line]]) -> set[str]:
    """Headers and footers: the same line, numbers aside, in the margins of three pages or more; and page numbers."""
    margins = Counter(text for lines in pages for text in {_masked(line.text) for line in lines if line.in_margin})
    return {text for text, count in margins.items() if count >= 3 or _PAGE_NUMBER.fullmatch(text)}


def _body_size(pages: Sequence[Sequence[_Line]]) -> float:
    weights: Counter[float] = Counter()
    for line in (line for lines in pages for line in lines):
        weights[round(line.size * 2) / 2] += len(line.text)
    return weights.most_common(1)[0][0] if weights else 0.0


_PAGE_NUMBER = re.compile(r"(?:page|p\.|第)?[ \-–—]*#(?: ?(?:/|of) ?#)?[ \-–—]*(?:页)?", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[•‣◦▪●○■□–·\-\*]\s*|\(?\d{1,2}[.)、]\s+|[（(]?[一二三四五六七八九十]{1,2}[)）、]\s*)(?=\S)")
_ENDS = tuple(".。!！?？;；:：,，")


def _blocks(lines: Sequence[_Line], *, page: int, body: float) -> list[Block]:
    blocks: list[Block] = []
    group: list[_Line] = []

    def close() -> None:
        if group:
            blocks.append(_block(group, page=page, body=body))
            group.clear()

    right = max((line.right for line in lines), default=0.0)
    for line in lines:
        if group and _starts(line, group[-1], body=body, right=right):
            close()
        group.append(line)
    close()
    return _joined_lists(blocks)


def _is_heading(line: _Line, body: float) -> bool:
    longest = 120 if line.size >= 1.12 * body else 60 if line.bold else 0
    return len(line.text) <= longest and not line.text.endswith(_ENDS[:6])


def _starts(line: _Line, before: _Line, *, body: float, right: float) -> bool:
    """Whether a line begins another block than the line before it."""
    height = max(before.top - before.bottom, before.size * 0.7)
    gap = before.bottom - line.top
    return (
        _is_heading(line, body) != _is_heading(before, body)
        or abs(line.size - before.size) > 0.15 * before.size
        or gap > 0.9 * height  # white space
        or gap < -1.5 * height  # another column
        or _BULLET.match(line.text) is not None
        or (before.right < before.left + 0.75 * (right - before.left) and before.text.endswith(_ENDS))
    )


def _block(lines: Sequence[_Line], *, page: int, body: float) -> Block:
    text = lines[0].text
    for line in lines[1:]:
        text = _continued(text, line.text)
    if _is_heading(lines[0], body):
        ratio = lines[0].size / body if body else 1.0
        return Block("heading", text, level=1 if ratio >= 1.6 else 2 if ratio >= 1.3 else 3, page=page)
    if _BULLET.match(text):
        return Block("list", text if text[0].isdigit() else "- " + _BULLET.sub("", text, count=1), page=page)
    return Block("paragraph", text, page=page)


def _continued(text: str, line: str) -> str:
    if text.endswith("-") and len(text) > 1 and text[-2].isalpha() and line[:1].islower():
        return text[:-1] + line
    wide = text[-1] >= "\u2e80" or line[0] >= "\u2e80"
    return text + line if wide else f"{text} {line}"


def _joined_lists(blocks: Sequence[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        kind: BlockKind = block.kind
        if kind == "list" and joined and joined[-1].kind == "list":
            joined[-1] = Block("list", f"{joined[-1].text}\n{block.text}", page=block.page)
        else:
            joined.append(block)
    return joined


# --- pictures


def _pictures(page: Any, *, number: int, seen: set[bytes]) -> list[Block]:
    """The pictures on a page, as drawn; each only once in a document."""
    blocks = []
    for drawn in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=4):
        width, height = drawn.get_px_size()
        if min(width, height) < SMALLEST_SIDE or width * height > 40_000_000 or len(seen) >= MAX_PICTURES:
            continue
        try:
            pixels: npt.NDArray[np.uint8] = np.asarray(drawn.get_bitmap(render=False).to_pil().convert("RGB"))
        except (pdfium.PdfiumError, ValueError):
            continue
        made = image.encode(pixels)
        if made not in seen:
            seen.add(made)
            blocks.append(Block("picture", page=number, picture=made))
    return blocks
