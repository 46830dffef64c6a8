"""Tell what a file is from its first bytes. A name or a declared type is never believed.

Cheap and without any decoder, so that the web process may call it before it accepts an upload; the real check is
decoding, in the sandbox.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from duomo.errors import MediaError
from duomo.types import PartKind

HEAD = 256 * 1024
"""Bytes to give `sniff`; fewer do for everything but DOCX."""

ACCEPTED = "png, jpeg, webp, gif, heic; wav, mp3, m4a, ogg, opus, webm, flac, amr, aac; pdf, docx, txt"


@dataclass(frozen=True, slots=True)
class Sniffed:
    kind: PartKind
    mime: str


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def sniff(head: bytes, name: str = "", claimed_mime: str = "") -> Sniffed:
    """Recognise an accepted file.

    Args:
        head: the first `HEAD` bytes, or the whole file.
        name, claimed_mime: used in the error message alone.
    Raises:
        MediaError: code "empty", or "unsupported_type" with the list of what is accepted.
    """
    if not head:
        raise MediaError(f"{_called(name)} is empty (0 bytes)", code="empty")
    for recognise in (_image, _audio, _document):
        found = recognise(head)
        if found is not None:
            return found
    claim = f" (sent as {claimed_mime})" if claimed_mime else ""
    raise MediaError(
        f"{_called(name)}{claim} is not of an accepted type, judged by its content. Accepted: {ACCEPTED}.",
        code="unsupported_type",
    )


def _called(name: str) -> str:
    return f'"{name[:80]}"' if name else "the file"


def _image(head: bytes) -> Sniffed | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Sniffed("image", "image/png")
    if head.startswith(b"\xff\xd8\xff"):
        return Sniffed("image", "image/jpeg")
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return Sniffed("image", "image/gif")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Sniffed("image", "image/webp")
    if _brands(head) & {b"heic", b"heix", b"heim", b"heis", b"mif1"} and b"avif" not in _brands(head):
        return Sniffed("image", "image/heic")
    return None


_MP4_BRANDS = {
    *(b"M4A ", b"M4B ", b"isom", b"iso2", b"iso4", b"iso5", b"iso6"),
    *(b"mp41", b"mp42", b"dash", b"3gp4", b"3gp5", b"3gp6"),
}


def _brands(head: bytes) -> set[bytes]:
    """Of an ISO base media file: the major brand and those it says it is compatible with."""
    if head[4:8] != b"ftyp":
        return set()
    (size,) = struct.unpack(">I", head[:4])
    box = head[8 : min(size, 256)]
    return {box[:4]} | {box[at : at + 4] for at in range(8, len(box) - 3, 4)}


def _audio(head: bytes) -> Sniffed | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return Sniffed("audio", "audio/wav")
    if head[:4] == b"fLaC":
        return Sniffed("audio", "audio/flac")
    if head[:4] == b"OggS":
        return Sniffed("audio", "audio/ogg")
    if head.startswith((b"#!AMR\n", b"#!AMR-WB\n")):
        return Sniffed("audio", "audio/amr")
    if head[:4] == b"\x1a\x45\xdf\xa3" and b"webm" in head[4:64]:
        return Sniffed("audio", "audio/webm")
    if _brands(head) & _MP4_BRANDS:
        return Sniffed("audio", "audio/mp4")
    if head[:3] == b"ID3" or _frames(head, _mp3_frame):
        return Sniffed("audio", "audio/mpeg")
    if _frames(head, _adts_frame):
        return Sniffed("audio", "audio/aac")
    return None


def _frames(head: bytes, size_at: Callable[[bytes], int]) -> bool:
    """Two frames in a row (or one that ends the file): two bytes of sync alone occur in any noise."""
    first = size_at(head)
    return first > 0 and (first == len(head) or size_at(head[first:]) > 0)


_MP3_BITRATES = {  # kbit/s by the header's index, layer III
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits


def _mp3_frame(at: bytes) -> int:
    """Length of the MPEG layer III frame that starts here; 0 when none does."""
    if len(at) < 4 or at[0] != 0xFF or at[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate, padding = (at[1] >> 3) & 3, at[2] >> 4, (at[2] >> 2) & 3, (at[2] >> 1) & 1
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    kbits = _MP3_BITRATES[1 if version == 3 else 2][bitrate]
    return (144 if version == 3 else 72) * kbits * 1000 // _MP3_RATES[version][rate] + padding


def _adts_frame(at: bytes) -> int:
    if len(at) < 7 or at[0] != 0xFF or at[1] & 0xF6 != 0xF0 or (at[2] >> 2) & 15 > 12:
        return 0
    size = (at[3] & 3) << 11 | at[4] << 3 | at[5] >> 5
    return size if size >= 7 else 0


def _document(head: bytes) -> Sniffed | None:
    if head.startswith(b"%PDF-"):
        return Sniffed("document", "application/pdf")
    if head.startswith(b"PK\x03\x04"):
        names = set(_ZIP_NAME.findall(head))
        parts = b"[Content_Types].xml" in names and any(name.startswith(b"word/") for name in names)
        return Sniffed("document", DOCX) if parts else None
    if text_encoding(head) is not None:
        return Sniffed("document", "text/plain")
    return None


_ZIP_NAME = re.compile(rb"PK\x03\x04.{22}(?:[\x01-\xff]\x00.{2})([\x20-\x7e]{1,64}?\.xml)", re.DOTALL)
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
_MARKUP = re.compile(r"\s*(?:<[!?/a-zA-Z]|\{\\rtf|%!PS|#!)")
_COMMON = re.compile(r"[\x09\x0a\x0c\x0d\x20-\x7e\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u2010-\u2026]")


def text_encoding(head: bytes, *, markup: bool = False) -> str | None:
    """The encoding of plain text, from its beginning; None when it is not text, or (unless allowed) is markup.

    UTF-8 and UTF-16 by byte order mark, UTF-16 by its zero bytes, UTF-8, then GB18030 if what comes out is nearly all
    Chinese and ASCII (almost any bytes *can* be read as GB18030).
    """
    for encoding in _candidates(head):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(head, final=False)
        except UnicodeDecodeError:
            continue
        if not text or _NOT_TEXT.search(text) or (not markup and _MARKUP.match(text.lstrip("\ufeff"))):
            continue
        if encoding == "gb18030" and len(_COMMON.findall(text)) < 0.95 * len(text):
            continue
        return encoding
    return None


def _candidates(head: bytes) -> list[str]:
    if head.startswith(codecs.BOM_UTF8):
        return ["utf-8-sig"]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if len(head) >= 4 and head[1::2].count(0) > 0.3 * len(head[1::2]) and 0 not in head[0::2]:
        return ["utf-16-le"]
    if len(head) >= 4 and head[0::2].count(0) > 0.3 * len(head[0::2]) and 0 not in head[1::2]:
        return ["utf-16-be"]
    return ["utf-8", "gb18030"]
