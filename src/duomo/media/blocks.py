"""What a document consists of, whatever its format was."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from duomo.errors import MediaError
from duomo.media import image
from duomo.media.sandbox import Reply

BlockKind = Literal["heading", "paragraph", "list", "table", "picture", "code"]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document that is read as a whole, in reading order."""

    kind: BlockKind
    text: str = ""  # list: "- item" lines, indented by depth · table: "cell | cell" lines, the header first
    level: int = 0  # of a heading, 1 to 6
    page: int | None = None  # from 1; None in formats without pages
    picture: bytes | None = None  # JPEG or PNG, re-encoded
    reference: str | None = None  # a picture's path as Markdown or HTML gives it; never fetched here
    alt: str = ""  # a picture's description, by the author
    whole_page: bool = False  # the picture is a page without text, to be read by OCR


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its answer from a spreadsheet."""

    question: str
    answer: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    title: str  # as the document itself gives it; "" when it does not
    blocks: tuple[Block, ...] = ()
    pairs: tuple[Pair, ...] = ()
    pages: int | None = None

    @property
    def text(self) -> str:
        """Every block and pair as plain text."""
        pairs = (f"{pair.question}\n{pair.answer}" for pair in self.pairs)
        return "\n\n".join([*(block.text for block in self.blocks if block.text), *pairs])

    def pack(self) -> Reply:
        """As a sandboxed function returns it."""
        blobs = [block.picture for block in self.blocks if block.picture is not None]
        blocks = [
            asdict(replace(block, picture=None)) | {"has_picture": block.picture is not None} for block in self.blocks
        ]
        pairs = [asdict(pair) for pair in self.pairs]
        return {"title": self.title, "blocks": blocks, "pairs": pairs, "pages": self.pages}, blobs

    @classmethod
    def unpack(cls, reply: Reply) -> Document:
        header, blobs = reply
        pictures = iter(blobs)
        blocks = []
        for fields in header["blocks"]:
            has_picture = fields.pop("has_picture")
            blocks.append(Block(**(fields | {"picture": next(pictures) if has_picture else None})))
        pairs = tuple(Pair(**fields) for fields in header["pairs"])
        return cls(title=header["title"], blocks=tuple(blocks), pairs=pairs, pages=header["pages"])


class Pictures:
    """Re-encodes the pictures embedded in one document, up to a total."""

    def __init__(self, *, count: int = 200, total_bytes: int = 64 << 20) -> None:
        self._count, self._bytes = count, total_bytes

    def clean(self, data: bytes) -> bytes | None:
        """A JPEG or PNG; None for one too small to mean anything, damaged, or beyond the total."""
        if self._count <= 0 or self._bytes <= 0:
            return None
        try:
            header, [made] = image.clean(data, max_pixels=40_000_000, max_side=2048)
        except (MediaError, OSError, ValueError, SyntaxError):
            return None  # a broken picture does not cost the document
        if min(header["width"], header["height"]) < SMALLEST_SIDE:
            return None
        self._count -= 1
        self._bytes -= len(made)
        return made


SMALLEST_SIDE = 48  # pixels; below are bullets, rules and icons
