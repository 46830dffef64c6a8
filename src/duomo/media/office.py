"""Word and Excel files: zips of XML, with limits on both. For the sandbox only."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

import docx
import openpyxl
from docx.oxml.ns import qn
from docx.shared import Inches

from duomo.errors import MediaError, TooLarge
from duomo.media.blocks import Block, Document, Pictures
from duomo.media.sandbox import MIB, Reply
from duomo.media.sniff import DOCX
from duomo.media.tables import as_document


@dataclass(frozen=True, slots=True)
class Guard:
    """What a zip may unpack to."""

    entries: int = 4000
    unpacked: int = 200 * MIB
    ratio: int = 200  # unpacked to packed, of any one entry above a mebibyte

    def check(self, data: bytes, *, needs: str) -> None:
        """Refuse bombs, encrypted entries and XML that declares entities, before any reader sees the file.

        Args:
            needs: an entry the format must have.
        """
        try:
            archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            raise MediaError("the document is damaged; save it again", code="broken") from None
        with archive:
            entries = archive.infolist()
            if len(entries) > self.entries:
                raise TooLarge(f"the document unpacks to {len(entries)} files, accepted are {self.entries}")
            if sum(entry.file_size for entry in entries) > self.unpacked:
                raise TooLarge(f"the document unpacks to more than {self.unpacked // MIB} MiB; it is refused")
            for entry in entries:
                if entry.file_size > MIB and entry.file_size > self.ratio * max(1, entry.compress_size):
                    raise TooLarge(f"the document unpacks to more than {self.ratio} times its size; it is refused")
                if entry.flag_bits & 1:
                    raise MediaError("the document is protected by a password; send it without", code="encrypted")
            names = {entry.filename for entry in entries}
            if not {"[Content_Types].xml", needs} <= names or len(names) < len(entries):
                raise MediaError("the document is damaged or of another kind; save it again", code="broken")
            for entry in entries:
                if entry.filename.endswith((".xml", ".rels")):
                    _check_xml(archive.read(entry))


def _check_xml(data: bytes) -> None:
    """No document type, hence no entities of its own, internal or external; without building a tree."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        raise MediaError("the document is damaged; save it again", code="broken") from None


def _refuse_doctype(*declared: object) -> None:
    raise MediaError("the document declares XML entities, which no word processor writes; it is refused", code="broken")


# --- Word


def clean(data: bytes, *, guard: Mapping[str, int], max_characters: int) -> Reply:
    """Write a new Word file from an old one's headings, text, lists, tables and pictures.

    What acts or points outside (macros, embedded objects, remote templates, linked pictures, fields) stays behind.

    Returns:
        {mime, extension, pages: [text]} and the bytes.
    """
    document = _read_docx(data, Guard(**guard), max_characters)
    return {"mime": DOCX, "extension": "docx", "pages": [document.text]}, [write_docx(document)]


def extract_docx(data: bytes, *, guard: Mapping[str, int], max_characters: int) -> Reply:
    return _read_docx(data, Guard(**guard), max_characters).pack()


def _read_docx(data: bytes, guard: Guard, max_characters: int) -> Document:
    guard.check(data, needs="word/document.xml")
    source = docx.Document(io.BytesIO(data))
    reader = _WordReader(source)
    blocks = tuple(reader.blocks(source.element.body))
    if sum(len(block.text) for block in blocks) > max_characters:
        raise TooLarge(f"the document holds more than {max_characters} characters; send a part of it")
    heading = next((block.text for block in blocks if block.kind == "heading"), "")
    return Document(title=(source.core_properties.title or "").strip() or heading, blocks=blocks)


class _WordReader:
    """Walks the XML itself: python-docx's own paragraphs leave out insertions, content controls and smart tags."""

    def __init__(self, source: Any) -> None:
        self._part = source.part
        self._styles = {style.style_id: style for style in source.styles}
        self._pictures = Pictures()

    def blocks(self, parent: Any) -> Iterator[Block]:
        items: list[str] = []
        for element in self._body(parent):
            if element.tag == qn("w:p") and (depth := self._list_depth(element)) is not None:
                if text := _text(element):
                    items.append("  " * depth + "- " + text)
                yield from self._pictures_of(element)
                continue
            if items:
                yield Block("list", "\n".join(items))
                items = []
            if element.tag == qn("w:tbl"):
                yield from self._table(element)
            else:
                yield from self._paragraph(element)
        if items:
            yield Block("list", "\n".join(items))

    def _body(self, parent: Any) -> Iterator[Any]:
        """Paragraphs and tables, also those inside content controls and insertions."""
        for element in parent:
            if element.tag in (qn("w:p"), qn("w:tbl")):
                yield element
            elif element.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins"), qn("w:customXml")):
                yield from self._body(element)

    def _paragraph(self, element: Any) -> Iterator[Block]:
        text = _text(element)
        if text:
            level = self._heading_level(element)
            yield Block("heading", text, level=level) if level else Block("paragraph", text)
        yield from self._pictures_of(element)

    def _table(self, element: Any) -> Iterator[Block]:
        rows = []
        for row in element.iter(qn("w:tr")):
            if next(row.iterancestors(qn("w:tbl"))) is element:
                cells = [" ".join(filter(None, map(_text, cell.iter(qn("w:p"))))) for cell in row.iter(qn("w:tc"))]
                rows.append(" | ".join(cells))
        if any(row.strip(" |") for row in rows):
            yield Block("table", "\n".join(rows))
        for paragraph in element.iter(qn("w:p")):
            yield from self._pictures_of(paragraph)

    def _pictures_of(self, element: Any) -> Iterator[Block]:
        for blip in element.iter(qn("a:blip")):
            part = self._part.related_parts.get(blip.get(qn("r:embed")))
            made = self._pictures.clean(part.blob) if part is not None else None
            if made is not None:
                described = next(element.iter(qn("wp:docPr")), None)
                yield Block("picture", picture=made, alt=described.get("descr", "") if described is not None else "")

    def _style_chain(self, element: Any) -> Iterator[Any]:
        named = element.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
        style = self._styles.get(named.get(qn("w:val"))) if named is not None else None
        for _ in range(10):  # a style may be based on itself in a hostile file
            if style is None:
                return
            yield style
            style = style.base_style

    def _heading_level(self, element: Any) -> int:
        """1 to 6, by the paragraph's or its style's outline level; 0 for plain text."""
        if any((style.name or "").lower() == "title" for style in self._style_chain(element)):
            return 1
        for source in (element, *(style.element for style in self._style_chain(element))):
            outline = source.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
            if outline is not None and outline.get(qn("w:val"), "9").isdigit():
                level = int(outline.get(qn("w:val"))) + 1
                return min(level, 6) if level <= 9 else 0
        return 0

    def _list_depth(self, element: Any) -> int | None:
        if self._heading_level(element):
            return None
        for source in (element, *(style.element for style in self._style_chain(element))):
            numbering = source.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
            if numbering is not None:
                level = numbering.find(qn("w:ilvl"))
                value = level.get(qn("w:val"), "0") if level is not None else "0"
                return min(int(value), 8) if value.isdigit() else 0
        return None


_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # what `Choice` says, again
_GONE = {qn("w:moveFrom"), _FALLBACK}  # deleted text and field codes have elements of their own, not w:t


def _text(element: Any) -> str:
    parts: list[str] = []

    def walk(node: Any) -> None:
        for child in node:
            if child.tag in _GONE:
                continue
            if child.tag == qn("w:t"):
                parts.append(child.text or "")
            elif child.tag in (qn("w:tab"), qn("w:br"), qn("w:cr")) and node.tag == qn("w:r"):
                parts.append("\n" if child.tag != qn("w:tab") else "\t")
            else:
                walk(child)

    walk(element)
    return "".join(parts).strip()


def write_docx(document: Document) -> bytes:
    """A plain Word file of a document's blocks."""
    target = docx.Document()
    for block in document.blocks:
        match block.kind:
            case "heading":
                target.add_heading(_xml_text(block.text), level=block.level or 1)
            case "list":
                for item in block.text.split("\n"):
                    target.add_paragraph(_xml_text(item.strip().removeprefix("- ")), style="List Bullet")
            case "table":
                _write_table(target, [row.split(" | ") for row in block.text.split("\n")])
            case "picture" if block.picture is not None:
                target.add_picture(io.BytesIO(block.picture), width=Inches(5))
            case _:
                target.add_paragraph(_xml_text(block.text))
    out = io.BytesIO()
    target.save(out)
    return out.getvalue()


def _write_table(target: Any, rows: list[list[str]]) -> None:
    table = target.add_table(rows=0, cols=max(len(row) for row in rows), style="Table Grid")
    for row in rows:
        cells = table.add_row().cells
        for cell, text in zip(cells, row, strict=False):
            cell.text = _xml_text(text)


def _xml_text(text: str) -> str:
    return "".join(character for character in text if character in "\n\t" or character >= " ")


# --- Excel

MAX_ROWS, MAX_COLUMNS = 50_000, 60


def extract_xlsx(data: bytes, *, guard: Mapping[str, int], max_characters: int) -> Reply:
    """Question-answer pairs of every sheet; the values last computed, never a formula."""
    Guard(**guard).check(data, needs="xl/workbook.xml")
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    found = [as_document(list(_rows(sheet)), max_characters=max_characters) for sheet in book.worksheets]
    blocks = tuple(block for sheet in found for block in sheet.blocks)
    pairs = tuple(pair for sheet in found for pair in sheet.pairs)
    return Document(title="", blocks=blocks, pairs=pairs).pack()


def _rows(sheet: Any) -> Iterator[list[str]]:
    for number, row in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True)):
        if number >= MAX_ROWS:
            raise TooLarge(f"a sheet has more than {MAX_ROWS} rows; send it in parts")
        yield ["" if value is None else _cell(value) for value in row]


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
