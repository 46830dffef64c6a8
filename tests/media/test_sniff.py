"""What a file is, its first bytes say; its name and declared type are never asked."""

from __future__ import annotations

import contextlib
import io
import zipfile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duomo.errors import MediaError
from duomo.media.sniff import ACCEPTED, DOCX, Sniffed, sniff, text_encoding
from tests.media import samples


def _xlsx() -> bytes:
    out = io.BytesIO()
    openpyxl.Workbook().save(out)
    return out.getvalue()


TONE = samples.tone(0.5)
ACCEPTED_FILES = {
    "png": (lambda: samples.saved(samples.halves(), "PNG"), Sniffed("image", "image/png")),
    "jpeg": (lambda: samples.saved(samples.halves(), "JPEG"), Sniffed("image", "image/jpeg")),
    "webp": (lambda: samples.saved(samples.halves(), "WEBP"), Sniffed("image", "image/webp")),
    "gif": (lambda: samples.saved(samples.halves(), "GIF"), Sniffed("image", "image/gif")),
    "heic": (lambda: samples.HEIC, Sniffed("image", "image/heic")),
    "heif by its general brand": (
        lambda: b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
        Sniffed("image", "image/heic"),
    ),
    "wav": (lambda: samples.recording(TONE, form="wav", codec="pcm_s16le"), Sniffed("audio", "audio/wav")),
    "mp3": (lambda: samples.recording(TONE, form="mp3", codec="libmp3lame"), Sniffed("audio", "audio/mpeg")),
    "mp3 without tags": (
        lambda: samples.recording(TONE, form="mp3", codec="libmp3lame", id3v2_version="0", write_xing="0"),
        Sniffed("audio", "audio/mpeg"),
    ),
    "m4a": (lambda: samples.recording(TONE, form="ipod", codec="aac"), Sniffed("audio", "audio/mp4")),
    "mp4 with sound": (lambda: samples.recording(TONE, form="mp4", codec="aac"), Sniffed("audio", "audio/mp4")),
    "ogg opus": (lambda: samples.recording(TONE, form="ogg", codec="libopus"), Sniffed("audio", "audio/ogg")),
    "webm": (lambda: samples.recording(TONE, form="webm", codec="libopus"), Sniffed("audio", "audio/webm")),
    "flac": (lambda: samples.recording(TONE, form="flac", codec="flac"), Sniffed("audio", "audio/flac")),
    "amr": (
        lambda: samples.recording(samples.tone(0.5, sampling_rate=8000), form="amr", codec="libopencore_amrnb",
                                  sampling_rate=8000),
        Sniffed("audio", "audio/amr"),
    ),
    "amr wide band": (lambda: b"#!AMR-WB\n" + bytes(40), Sniffed("audio", "audio/amr")),
    "aac": (lambda: samples.recording(TONE, form="adts", codec="aac"), Sniffed("audio", "audio/aac")),
    "pdf": (samples.active_pdf, Sniffed("document", "application/pdf")),
    "docx": (samples.word, Sniffed("document", DOCX)),
    "txt": (lambda: "退货要几天？\n".encode(), Sniffed("document", "text/plain")),
}  # fmt: skip


@pytest.mark.parametrize("kind", ACCEPTED_FILES)
def test_accepted_kinds_are_known_by_their_bytes_whatever_name_and_type_they_bear(kind: str) -> None:
    make, expected = ACCEPTED_FILES[kind]
    assert sniff(make(), "invoice.exe", "text/html") == expected


REFUSED_FILES = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "svg behind a declaration": b'\xef\xbb\xbf <?xml version="1.0"?><svg/>',
    "html": b"  \n<!DOCTYPE html><script>alert(1)</script>",
    "html in utf-16": "<html>".encode("utf-16"),
    "zip": samples.archive({"a.txt": b"text"}),
    "xlsx": _xlsx(),
    "zip that only names word": samples.archive({"word/document.xml": b"<x/>"}),
    "exe": b"MZ\x90\x00" + bytes(60),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(9),
    "shell script": b"#!/bin/sh\nrm -rf /\n",
    "rtf": b"{\\rtf1 hello}",
    "postscript": b"%!PS-Adobe-3.0",
    "tiff": b"II*\x00\x08\x00\x00\x00",
    "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
    "matroska": b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska",
    "playlist that names other files": b"#EXTM3U\x00\n#EXTINF:1,\nfile:///etc/passwd",
    "old word": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40),
    "two bytes of mp3 sync in noise": b"\xff\xfb\x90\x64" + bytes(range(256)) * 4,
}


@pytest.mark.parametrize("kind", REFUSED_FILES)
def test_everything_else_is_refused_with_the_list_of_what_is_accepted(kind: str) -> None:
    with pytest.raises(MediaError) as caught:
        sniff(REFUSED_FILES[kind], "photo.png", "image/png")
    assert caught.value.code == "unsupported_type"
    assert str(caught.value) == (
        f'"photo.png" (sent as image/png) is not of an accepted type, judged by its content. Accepted: {ACCEPTED}.'
    )


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(MediaError, match=r'"a\.png" is empty') as caught:
        sniff(b"", "a.png")
    assert caught.value.code == "empty"


@given(st.binary(min_size=1, max_size=4096))
def test_any_bytes_at_all_are_recognised_or_refused(data: bytes) -> None:
    with contextlib.suppress(MediaError):
        assert sniff(data).kind in ("image", "audio", "document")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain", "utf-8"),
        ("您好，我想退货".encode(), "utf-8"),
        ("您好，我想退货。订单号 12345".encode("gb18030"), "gb18030"),
        ("\ufeff您好".encode(), "utf-8-sig"),
        ("您好 hello".encode("utf-16"), "utf-16"),
        ("hello there".encode("utf-16-le"), "utf-16-le"),
        ("hello there".encode("utf-16-be"), "utf-16-be"),
        ("您好".encode()[:-1], "utf-8"),  # the head of a longer file, cut inside a character
        (b"\x80\x81\x82\x83", None),
        (b"text\x00with a zero", None),
    ],
)
def test_the_encoding_of_text_is_found(data: bytes, expected: str | None) -> None:
    assert text_encoding(data) == expected


def test_a_word_file_is_known_even_when_a_thumbnail_comes_first() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("[Content_Types].xml", b"<Types/>")
        file.writestr("docProps/thumbnail.jpeg", bytes(100_000))
        file.writestr("word/document.xml", b"<x/>")
    assert sniff(out.getvalue()) == Sniffed("document", DOCX)
