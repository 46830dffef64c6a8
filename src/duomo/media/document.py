"""Documents for the knowledge base: any accepted format to titled blocks, always in the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from duomo.errors import MediaError
from duomo.media import office, pdf, sandbox, writing
from duomo.media.blocks import Block, Document, Pair
from duomo.media.sniff import DOCX

__all__ = ["MIMES", "SUFFIXES", "Block", "Document", "Pair", "extract", "page_images"]

_READERS: dict[str, Any] = {
    ".md": writing.extract_markdown,
    ".markdown": writing.extract_markdown,
    ".html": writing.extract_html,
    ".htm": writing.extract_html,
    ".csv": writing.extract_csv,
    ".tsv": writing.extract_csv,
    ".txt": writing.extract_text,
    ".pdf": pdf.extract,
    ".docx": office.extract_docx,
    ".xlsx": office.extract_xlsx,
}
SUFFIXES = frozenset(_READERS)
MIMES = {"application/pdf": ".pdf", DOCX: ".docx", "text/plain": ".txt", "text/plain; charset=utf-8": ".txt"}
"""The suffix that stands for a type `sniff` or `sanitise` gives."""

GUARD = office.Guard()
BUDGET = sandbox.Budget(wall_s=120.0, cpu_s=100)
"""An administrator's own manual may take longer than a customer's attachment."""


def extract(
    data: bytes,
    name: str,
    *,
    max_pages: int = 2000,
    max_characters: int = 10_000_000,
    guard: office.Guard = GUARD,
    budget: sandbox.Budget = BUDGET,
) -> Document:
    """Read a document in a limited child process. Blocks; use `asyncio.to_thread`.

    Args:
        name: a file name or suffix ("manual.pdf", ".md"), or a type of `MIMES`. It only chooses the reader, which
            refuses what it cannot read; these files come from the workspace's own people.
    Raises:
        TooLarge, MediaError: as `sanitise`; code "unsupported_type" for a suffix not in `SUFFIXES`.
    """
    suffix = MIMES.get(name) or PurePath("x" + name if name.startswith(".") else name).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise MediaError(
            f'"{name}" cannot be read as a document. Accepted: {", ".join(sorted(SUFFIXES))}.', code="unsupported_type"
        )
    if not data:
        raise MediaError(f'"{name}" is empty (0 bytes)', code="empty")
    arguments: dict[str, Any] = {"max_characters": max_characters}
    if suffix == ".pdf":
        arguments["max_pages"] = max_pages
    if suffix in (".docx", ".xlsx"):
        arguments["guard"] = asdict(guard)
    return Document.unpack(sandbox.run(reader, data, budget=budget, **arguments))


def page_images(
    data: bytes, *, pages: Sequence[int] | None = None, dpi: int = 200, budget: sandbox.Budget = BUDGET
) -> list[bytes]:
    """Render pages of a PDF, in the sandbox, for OCR.

    Args:
        pages: from 1; None for all.
        dpi: less for pages so large that they would exceed `pdf.MAX_PAGE_PIXELS`.
    Returns:
        A PNG or JPEG for each.
    """
    wanted = list(pages) if pages is not None else None
    _, blobs = sandbox.run(pdf.page_images, data, budget=budget, pages=wanted, dpi=dpi, max_pages=2000)
    return blobs
