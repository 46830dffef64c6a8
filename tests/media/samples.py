"""Small files of every kind, good and hostile, made when a test asks for them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import av
import docx
import numpy as np
from PIL import Image

from duomo.media.audio import Samples

HEIC = (Path(__file__).parent / "files" / "halves.heic").read_bytes()

RED, BLUE = (220, 20, 20), (20, 20, 220)


# --- pictures


def halves(width: int = 96, height: int = 64) -> Image.Image:
    """Left half red, right half blue."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def phone_photo() -> bytes:
    """A JPEG held sideways: its pixels lie turned, its EXIF says so, and where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    exif[0x010F] = "SECRET-MAKER"
    exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 13.0, 49.0), 3: "E", 4: (121.0, 28.0, 25.0)})
    lying = halves(96, 64).transpose(Image.Transpose.ROTATE_90)
    return saved(lying, "JPEG", quality=95, exif=exif.tobytes(), comment=b"SECRET-COMMENT")


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG of one-byte grey pixels whose header may say anything."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def archive(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in entries.items():
            file.writestr(name, body)
    return out.getvalue()


def polyglot() -> bytes:
    """One file that is a JPEG, an HTML page with a script, and a zip with a program in it."""
    html = b"<html><script>alert('polyglot')</script></html>"
    return saved(halves(), "JPEG", comment=html) + html + archive({"evil.exe": b"MZ evil"})


# --- sound


def tone(seconds: float, *, sampling_rate: int = 16000, channels: int = 1, hertz: float = 440.0) -> Samples:
    """(channels, samples) float32."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sampling_rate)) / sampling_rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def recording(
    samples: Samples, *, form: str, codec: str, sampling_rate: int = 16000, cover: bytes | None = None, **options: str
) -> bytes:
    """Encode (channels, samples) float32 with FFmpeg."""
    out = io.BytesIO()
    with av.open(out, "w", format=form, options=options) as container:
        layout = "mono" if len(samples) == 1 else "stereo"
        stream = container.add_stream(codec, rate=sampling_rate, layout=layout)
        picture = None
        if cover is not None:
            picture = container.add_stream("png", width=96, height=64, pix_fmt="rgb24")
            picture.disposition = av.stream.Disposition.attached_pic
        if picture is not None:
            container.mux(picture.encode(av.VideoFrame.from_image(halves())))
            container.mux(picture.encode(None))
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=sampling_rate)
        size = stream.codec_context.frame_size or 1024
        fifo = av.AudioFifo()
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        whole.sample_rate = sampling_rate
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            frame.pts = None
            fifo.write(frame)
        at = 0
        while (frame := fifo.read(size)) or (frame := fifo.read(0, partial=True)):
            frame.pts = at
            at += frame.samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def video() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5, width=96, height=64, pix_fmt="yuv420p")
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_image(halves())))
        container.mux(stream.encode(None))
    return out.getvalue()


# --- documents


def pdf(objects: list[bytes], *, trailer: bytes = b"") -> bytes:
    """A PDF of numbered objects, the first of them its catalogue."""
    out, at = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        at.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in at)
    size = len(objects) + 1
    return out + b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start)


def stream(body: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(body), body)


FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def plain_pdf(*pages: bytes) -> bytes:
    """One page for each content stream; the font is /F1."""
    count = len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * index) for index in range(count))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count), FONT]
    for index, content in enumerate(pages):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
            % (5 + 2 * index)
        )
        objects.append(stream(content))
    return pdf(objects)


def active_pdf() -> bytes:
    """Scripts in five places, an attachment, a launch action, and a form with a value filled in."""
    script = b"<</S/JavaScript/JS(app.alert\\(1\\))>>"
    return pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R/OpenAction%s/Names<</JavaScript<</Names[(a)%s]>>/EmbeddedFiles<</Names"
            b"[(x.exe)<</Type/Filespec/F(x.exe)/EF<</F 6 0 R>>>>]>>>>/AcroForm<</Fields[7 0 R]/DA(/F1 12 Tf)>>>>"
            % (script, script),
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>"
            b"/AA<</O%s>>/Annots[7 0 R 8 0 R]>>" % script,
            stream(b"BT /F1 24 Tf 20 100 Td (Order form) Tj ET"),
            FONT,
            stream(b"MZ evil", b"/Type/EmbeddedFile"),
            b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(Filled in)/Rect[20 20 200 50]/P 3 0 R/F 4/AA<</K%s>>"
            b"/AP<</N 9 0 R>>>>" % script,
            b"<</Type/Annot/Subtype/Link/Rect[0 0 100 100]/A<</S/Launch/F(cmd.exe)>>>>",
            stream(
                b"/Tx BMC BT /F1 12 Tf 2 10 Td (Filled in) Tj ET EMC",
                b"/Type/XObject/Subtype/Form/BBox[0 0 180 30]/Resources<</Font<</F1 5 0 R>>>>",
            ),
        ]
    )


def encrypted_pdf() -> bytes:
    """A PDF that only opens with a password (40-bit RC4; the hashes belong to no password)."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]>>",
        b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -44>>" % (b"41" * 32, b"42" * 32),
    ]
    return pdf(objects, trailer=b"/Encrypt 4 0 R/ID[<%s><%s>]" % (b"43" * 16, b"43" * 16))


def word() -> bytes:
    """A Word file with headings, lists, a table, and a picture."""
    document = docx.Document()
    document.core_properties.author = "SECRET-AUTHOR"
    document.add_heading("Returns", level=1)
    document.add_paragraph("Send it back within 14 days.")
    document.add_paragraph("Unused", style="List Bullet")
    document.add_paragraph("With the receipt", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, texts in zip(table.rows, [("Country", "Fee"), ("China", "0")], strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    document.add_picture(io.BytesIO(saved(halves(), "PNG")))
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word_with(name: str, change: bytes) -> bytes:
    """A Word file with one part replaced or added."""
    with zipfile.ZipFile(io.BytesIO(word())) as source:
        return archive({entry: source.read(entry) for entry in source.namelist()} | {name: change})
