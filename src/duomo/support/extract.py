"""Tighten a passage to the sentences that answer: chosen and quoted, never rewritten.

A table keeps its header and gives whole rows, numbered steps stay together, and what introduces a list stays above it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from duomo.knowledge.chunk import plain, size
from duomo.knowledge.index import terms
from duomo.media.text import sentences
from duomo.models.embed import Vectors

WHOLE = 150  # `size` of a passage that is quoted as it stands
ENOUGH = 260  # `size` at which a quote takes nothing more
PARAGRAPH = 60  # `size` of a paragraph that stays together
NEAR = 0.3  # share of the best piece's lead over the worst that another needs to be quoted with it
WORDS = 0.06  # what full coverage of the question's words is worth, in cosine
GAP = " … "

Kind = Literal["sentence", "item", "step", "row"]
CODE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9-]*\d)[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*(?![A-Za-z0-9])")
"""A letter first, a digit somewhere: E21, LT-V8, IPX5."""
_ROW = re.compile(r"^\s*\|")
_ITEM = re.compile(r"^\s*[-*+]\s+")
_STEP = re.compile(r"^\s*\d+[.)、．]\s*")
_SKIPPED = re.compile(r"^\s*(#{1,6}\s|!\[[^\]]*\]\([^)]*\)\s*$)")


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece that is quoted whole or not at all.

    Attributes:
        text: Markdown, as it stands in the passage.
        block: number of the paragraph, list or table it belongs to.
        header: of a table row, the two lines above the table's body.
    """

    text: str
    kind: Kind
    block: int
    header: str = ""


def units(passage: str) -> list[Unit]:
    """Cut a passage's Markdown into units, in order; headings and pictures, shown elsewhere, are left out."""
    found: list[Unit] = []
    block = -1
    for kind, lines in _blocks(passage):
        block += 1
        if kind == "row":
            header, rows = "\n".join(lines[:2]), lines[2:]
            found += [Unit(row, "row", block, header) for row in rows] or [Unit(header, "row", block)]
        elif kind == "sentence":
            paragraph = "\n".join(lines)
            found += [Unit(paragraph[start:end], kind, block) for start, end in sentences(paragraph)]
        else:
            found += [Unit(line, kind, block) for line in lines]
    return found


def _blocks(passage: str) -> list[tuple[Kind, list[str]]]:
    blocks: list[tuple[Kind, list[str]]] = []
    fresh = True
    for line in passage.splitlines():
        if not line.strip() or _SKIPPED.match(line):
            fresh = True
            continue
        kind: Kind = (
            "row" if _ROW.match(line) else "step" if _STEP.match(line) else "item" if _ITEM.match(line) else "sentence"
        )
        if kind == "sentence" and not fresh and line[:1].isspace() and blocks[-1][0] in ("item", "step"):
            blocks[-1][1][-1] += "\n" + line  # goes on in the item above
        elif not fresh and blocks and blocks[-1][0] == kind:
            blocks[-1][1].append(line)
        else:
            blocks.append((kind, [line]))
        fresh = False
    return blocks


def codes(text: str) -> set[str]:
    """Error codes and model names in a text, in capitals."""
    return {code.upper() for code in CODE.findall(text)}


def tighten(question: str, passage: str, *, closeness: Callable[[Sequence[str]], Vectors]) -> str:
    """The part of a passage that answers.

    Args:
        closeness: (texts) -> (texts,) how near each is to the question, as cosines are.
    Returns:
        Markdown that stands so in the passage, `GAP` between sentences that are not neighbours there.
    """
    pieces = units(passage)
    if not pieces:
        return passage.strip()
    asked = codes(question)
    rows = [i for i, u in enumerate(pieces) if u.kind == "row" and asked & codes(_first_cell(u.text))]
    if rows:
        return _join(pieces, rows)
    if size(plain(passage)) <= WHOLE:
        return _join(pieces, range(len(pieces)))
    scores = closeness([plain(u.text) for u in pieces]) + WORDS * _covered(question, pieces)
    return _join(pieces, _choose(pieces, scores))


def _covered(question: str, pieces: Sequence[Unit]) -> Vectors:
    """(units,) the share of the question's words in each."""
    asked = set(terms(question))
    shares = [len(asked & set(terms(plain(u.text)))) / max(len(asked), 1) for u in pieces]
    return np.array(shares, dtype=np.float32)


def _choose(pieces: Sequence[Unit], scores: Vectors) -> list[int]:
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    spread = float(scores.max() - scores.min()) or 1.0
    chosen: set[int] = set()
    for i in order:
        if chosen and (float(scores[i]) - float(scores.min())) / spread < NEAR:
            break
        together = chosen | _with_company(pieces, i)
        if not chosen or _length(pieces, together) <= ENOUGH:
            chosen = together
    return sorted(chosen)


def _with_company(pieces: Sequence[Unit], i: int) -> set[int]:
    """A unit with what it cannot be understood without: all steps of its list, the sentence that introduces a list."""
    company = {i}
    unit = pieces[i]
    block = {j for j, other in enumerate(pieces) if other.block == unit.block}
    if unit.kind == "step" or (unit.kind == "sentence" and _length(pieces, block) <= PARAGRAPH):
        company |= block
    first = min(j for j, other in enumerate(pieces) if other.block == unit.block)
    if unit.kind != "sentence" and first and pieces[first - 1].text.rstrip().endswith((":", "：")):
        company.add(first - 1)
    if unit.kind == "sentence" and unit.text.rstrip().endswith((":", "：")) and i + 1 < len(pieces):
        company |= {j for j, other in enumerate(pieces) if other.block == unit.block + 1 and other.kind != "sentence"}
    return company


def _length(pieces: Sequence[Unit], chosen: set[int]) -> int:
    return sum(size(plain(pieces[i].text)) for i in chosen)


def _first_cell(row: str) -> str:
    return row.strip().strip("|").split("|")[0]


def _join(pieces: Sequence[Unit], chosen: Sequence[int]) -> str:
    text = ""
    before: int | None = None
    for i in chosen:
        unit = pieces[i]
        last = None if before is None else pieces[before]
        if last is None:
            text = f"{unit.header}\n{unit.text}" if unit.header else unit.text
        elif last.block == unit.block and unit.kind == "sentence":
            adjacent = "" if _is_chinese(last.text) else " "
            text += (adjacent if before == i - 1 else GAP) + unit.text
        elif last.block == unit.block:
            text += "\n" + unit.text
        else:
            text += "\n\n" + (f"{unit.header}\n{unit.text}" if unit.header else unit.text)
        before = i
    return text.strip()


def _is_chinese(sentence: str) -> bool:
    return sentence.rstrip()[-1:] in "。！？；”」』）" or "\u3400" <= sentence.rstrip()[-1:] <= "\u9fff"
