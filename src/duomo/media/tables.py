"""Rows of a spreadsheet to question-answer pairs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from duomo.errors import TooLarge
from duomo.media.blocks import Block, Document, Pair

HEADERS = {
    "question": re.compile(r"questions?|q|query|faq|问题?|提问|标准问题?|常见问题|问句"),
    "answer": re.compile(r"answers?|a|reply|response|答案?|回答|回复|答复|标准答案|解答|解决方案"),
    "title": re.compile(r"title|category|topic|section|heading|标题|分类|类别|主题|类目|章节"),
}
"""How a column is recognised by the cell at its top, in lower case."""

Rows = Sequence[Sequence[str]]


def as_document(rows: Rows, *, max_characters: int) -> Document:
    """Pairs of a table.

    Columns are found by `HEADERS`. Without them the first column asks, and the rest answers: one more column as it
    stands, several as "header: value" lines (a table of error codes, say). A single column becomes paragraphs.
    """
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if sum(len(cell) for row in rows for cell in row) > max_characters:
        raise TooLarge(f"the table holds more than {max_characters} characters; send it in parts")
    if not rows:
        return Document(title="")
    columns = _columns(rows[0])
    if "question" in columns and "answer" in columns:
        return Document(title="", pairs=_named(rows[1:], columns))
    if max(len([cell for cell in row if cell.strip()]) for row in rows) == 1:
        return Document(title="", blocks=tuple(Block("paragraph", "".join(row).strip()) for row in rows))
    if max(_width(row) for row in rows) <= 2:
        return Document(title="", pairs=tuple(Pair(row[0].strip(), row[1].strip()) for row in rows if _asks(row)))
    return Document(title="", pairs=tuple(_labelled(row, rows[0]) for row in rows[1:] if _asks(row)))


def _columns(header: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, cell in enumerate(header):
        for role, names in HEADERS.items():
            if names.fullmatch(cell.strip().lower()):
                found.setdefault(role, index)
    return found


def _named(rows: Rows, columns: dict[str, int]) -> tuple[Pair, ...]:
    def cell(row: Sequence[str], role: str) -> str:
        index = columns.get(role, len(row))
        return row[index].strip() if index < len(row) else ""

    pairs = (Pair(cell(row, "question"), cell(row, "answer"), cell(row, "title")) for row in rows)
    return tuple(pair for pair in pairs if pair.question and pair.answer)


def _width(row: Sequence[str]) -> int:
    return max((index + 1 for index, cell in enumerate(row) if cell.strip()), default=0)


def _asks(row: Sequence[str]) -> bool:
    return bool(row[0].strip()) and any(cell.strip() for cell in row[1:])


def _labelled(row: Sequence[str], header: Sequence[str]) -> Pair:
    labels = [*header, *[""] * len(row)]
    answer = [
        f"{label.strip()}: {cell.strip()}" if label.strip() else cell.strip()
        for label, cell in list(zip(labels, row, strict=False))[1:]
        if cell.strip()
    ]
    return Pair(row[0].strip(), "\n".join(answer))


def read_csv(text: str) -> list[list[str]]:
    """Rows of a CSV whose separator is a comma, semicolon or tab, whichever its first line has most of."""
    first = text.lstrip("\ufeff").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(1 << 20)
    return list(csv.reader(io.StringIO(text.lstrip("\ufeff")), delimiter=delimiter))
