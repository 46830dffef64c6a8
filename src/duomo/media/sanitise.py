"""What every stranger's file goes through before anything else touches it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from duomo.errors import MediaError, TooLarge
from duomo.media import audio, image, office, pdf, sandbox, writing
from duomo.media.sniff import DOCX, Sniffed
from duomo.types import PartKind


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may be, and what decoding it may use."""

    bytes: int = 25 * sandbox.MIB
    image_pixels: int = 40_000_000
    image_side: int = 2560  # pixels; longer sides are scaled down
    audio_seconds: float = 600.0
    pages: int = 200
    characters: int = 2_000_000  # of a document's text
    zip_entries: int = 4000
    zip_bytes: int = 200 * sandbox.MIB  # unpacked
    zip_ratio: int = 200  # unpacked to packed, of any one entry
    budget: sandbox.Budget = field(default_factory=sandbox.Budget)


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Clean:
    """A re-encoded file: Duomo wrote every byte of it."""

    kind: PartKind
    mime: str
    data: bytes
    extension: str  # without a dot
    width: int | None = None  # pixels, of pictures
    height: int | None = None
    duration_s: float | None = None  # of sound
    pages: tuple[str, ...] = ()  # a document's text by page; formats without pages have one

    @property
    def text(self) -> str:
        """A document's text."""
        return "\n\n".join(page for page in self.pages if page)


def sanitise(data: bytes, sniffed: Sniffed, *, limits: Limits = DEFAULT) -> Clean:
    """Decode and re-encode a foreign file in a limited child process. Blocks; use `asyncio.to_thread`.

    Args:
        sniffed: what `sniff` said of it.
    Raises:
        TooLarge: more bytes, pixels, seconds, pages or unpacked bytes than `limits`.
        MediaError: cannot be decoded. Codes: broken, empty, encrypted, unsupported_type, media_timeout,
            media_memory, media_crash.
        Unavailable: the sandbox cannot be started.
    """
    if len(data) > limits.bytes:
        raise TooLarge(f"the file has {len(data)} bytes, accepted are {limits.bytes}; send a smaller one")
    if not data:
        raise MediaError("the file is empty (0 bytes)", code="empty")
    function, arguments = _decoder(sniffed, limits)
    header, blobs = sandbox.run(function, data, budget=limits.budget, **arguments)
    return Clean(
        kind=sniffed.kind,
        mime=header["mime"],
        data=blobs[0],
        extension=header["extension"],
        width=header.get("width"),
        height=header.get("height"),
        duration_s=header.get("duration_s"),
        pages=tuple(header.get("pages", ())),
    )


def _decoder(sniffed: Sniffed, limits: Limits) -> tuple[Any, dict[str, Any]]:
    if sniffed.kind == "image":
        return image.clean, {"max_pixels": limits.image_pixels, "max_side": limits.image_side}
    if sniffed.kind == "audio":
        return audio.clean, {"mime": sniffed.mime, "max_seconds": limits.audio_seconds}
    if sniffed.mime == "application/pdf":
        return pdf.clean, {"max_pages": limits.pages, "max_characters": limits.characters}
    if sniffed.mime == DOCX:
        return office.clean, {"guard": asdict(_guard(limits)), "max_characters": limits.characters}
    return writing.clean, {"max_characters": limits.characters}


def _guard(limits: Limits) -> office.Guard:
    return office.Guard(entries=limits.zip_entries, unpacked=limits.zip_bytes, ratio=limits.zip_ratio)
