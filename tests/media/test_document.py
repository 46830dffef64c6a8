"""Documents: attachments come out rebuilt, knowledge comes out as blocks, and bombs and scripts do not come out."""

from __future__ import annotations

import io
import zipfile

import docx
import numpy as np
import openpyxl
import pypdfium2 as pdfium
import pytest
from PIL import Image

from duomo.errors import MediaError, TooLarge
from duomo.media import image, pdf
from duomo.media.document import Block, Document, Pair, extract, page_images
from duomo.media.sanitise import Clean, Limits, sanitise
from duomo.media.sniff import DOCX, Sniffed, sniff
from tests.media import samples


def clean(data: bytes, **limits: int) -> Clean:
    return sanitise(data, sniff(data), limits=Limits(**limits))


# --- PDF


def test_scripts_attachments_and_actions_of_a_pdf_are_left_behind_and_its_filled_form_is_kept() -> None:
    source = samples.active_pdf()
    for name in (b"/JavaScript", b"/OpenAction", b"/Launch", b"/EmbeddedFile", b"/AA", b"MZ evil"):
        assert name in source
    made = clean(source)
    assert (made.mime, made.extension, made.pages) == ("application/pdf", "pdf", ("Order form\nFilled in",))
    assert not pdf.active(made.data)
    rebuilt = pdfium.PdfDocument(made.data)
    names = [b"/JS", b"/Launch", b"/Action", b"/Names", b"/Annots", b"/AcroForm", b"cmd.exe", b"MZ evil", b"alert"]
    assert [name for name in names if name in made.data] == []
    assert (len(rebuilt), rebuilt.count_attachments(), rebuilt.get_formtype()) == (1, 0, 0)
    assert "Order form" in rebuilt[0].get_textpage().get_text_bounded()
    rebuilt.close()


def test_a_rebuilt_pdf_looks_the_same() -> None:
    source = samples.plain_pdf(b"0.8 0.1 0.1 rg 0 0 200 300 re f BT /F1 24 Tf 0 g 20 100 Td (Hello) Tj ET")
    before, after = (image.decode(page_images(data, dpi=72)[0]) for data in (source, clean(source).data))
    assert before.shape == after.shape == (300, 400, 3)
    assert abs(before.astype(int) - after.astype(int)).mean() < 0.5


def test_pages_of_different_sizes_keep_them() -> None:
    source = samples.plain_pdf(b"1 0 0 rg 0 0 400 300 re f", b"0 0 1 rg 0 0 400 300 re f")
    source = source[::-1].replace(b"[0 0 400 300]"[::-1], b"[0 0 200 300]"[::-1], 1)[::-1]
    made = clean(source).data
    first, second = (image.decode(page) for page in page_images(made, dpi=72))
    assert (first.shape, second.shape) == ((300, 400, 3), (300, 200, 3))
    assert (first[150, 100].tolist(), second[150, 100].tolist()) == ([255, 0, 0], [0, 0, 255])
    assert not pdf.active(made)


def test_pages_share_their_fonts_in_the_rebuilt_file() -> None:
    one, ten = (clean(samples.plain_pdf(*[b"BT /F1 24 Tf 20 100 Td (Hi) Tj ET"] * n)).data for n in (1, 10))
    assert (one.count(b"/BaseFont"), ten.count(b"/BaseFont")) == (1, 1)


def test_a_turned_and_cropped_page_stays_so() -> None:
    source = samples.plain_pdf(b"0.8 0.1 0.1 rg 0 0 200 300 re f").replace(
        b"/MediaBox[0 0 400 300]", b"/MediaBox[0 0 400 300]/Rotate 90/CropBox[100 50 300 250]"
    )
    before, after = (image.decode(page_images(data, dpi=72)[0]) for data in (source, clean(source).data))
    assert before.shape == after.shape == (200, 200, 3)
    assert abs(before.astype(int) - after.astype(int)).mean() < 0.5


def test_a_page_that_holds_something_active_in_its_drawing_becomes_a_picture() -> None:
    """Resources travel with the drawing; whatever acts in them makes the page a picture."""
    source = samples.plain_pdf(b"BT /F1 24 Tf 20 100 Td (Hello) Tj ET").replace(
        b"/Resources<<", b"/Resources<</Properties<</P1<</S/JavaScript/JS(alert)>>>>"
    )
    made = clean(source)
    assert (b"/JS" in made.data, pdf.active(made.data), made.pages) == (False, False, ("Hello",))
    assert image.decode(page_images(made.data)[0]).min() < 100


def test_a_pdf_with_a_password_says_so() -> None:
    for call in (lambda: clean(samples.encrypted_pdf()), lambda: extract(samples.encrypted_pdf(), "a.pdf")):
        with pytest.raises(MediaError, match="protected by a password") as caught:
            call()
        assert caught.value.code == "encrypted"


def test_a_pdf_of_too_many_pages_is_refused() -> None:
    with pytest.raises(TooLarge, match="has 3 pages, accepted are 2"):
        clean(samples.plain_pdf(b"", b"", b""), pages=2)


def test_a_pdf_cut_short_is_repaired_or_refused() -> None:
    whole = samples.plain_pdf(b"BT /F1 24 Tf 20 100 Td (Hello) Tj ET")
    assert clean(whole[: whole.index(b"startxref")]).pages == ("Hello",)
    with pytest.raises(MediaError) as caught:
        clean(whole[:100])
    assert caught.value.code == "broken"


def manual_page(number: int) -> bytes:
    return (
        b"BT /F1 8 Tf 20 285 Td (Manual of the X2) Tj ET BT /F1 8 Tf 200 10 Td (Page %d) Tj ET "
        b"BT /F1 20 Tf 20 250 Td (Chapter %d) Tj ET "
        b"BT /F1 10 Tf 12 TL 20 220 Td (The lamp shows what the machine does. It blinks when it) Tj T* "
        b"(waits, and it is lit when it works.) Tj ET "
        b"BT /F1 10 Tf 12 TL 20 170 Td (1. Press the button.) Tj T* (2. Let it go.) Tj ET" % (number, number)
    )


def test_of_a_pdf_headings_paragraphs_and_lists_are_found_and_running_titles_dropped() -> None:
    found = extract(samples.plain_pdf(*(manual_page(number) for number in (1, 2, 3))), "manual.pdf")
    text = "The lamp shows what the machine does. It blinks when it waits, and it is lit when it works."
    assert found == Document(
        title="Chapter 1",
        blocks=tuple(
            block
            for page in (1, 2, 3)
            for block in (
                Block("heading", f"Chapter {page}", level=1, page=page),
                Block("paragraph", text, page=page),
                Block("list", "1. Press the button.\n2. Let it go.", page=page),
            )
        ),
        pages=3,
    )


def scanned_pdf() -> bytes:
    return samples.saved(samples.halves(400, 300), "PDF")


def test_a_page_without_text_is_one_picture_for_ocr() -> None:
    found = extract(scanned_pdf(), "scan.pdf")
    (block,) = found.blocks
    assert (block.kind, block.page, block.whole_page, block.text) == ("picture", 1, True, "")
    assert block.picture is not None
    pixels = image.decode(block.picture)
    corners = np.array([pixels[10, 10], pixels[-10, -10]], dtype=int)
    assert np.abs(corners - [samples.RED, samples.BLUE]).max() <= 3


def test_pictures_of_a_pdf_come_with_their_page_and_only_once() -> None:
    pixels = samples.halves(96, 64).tobytes()
    drawing = b"q 96 0 0 64 20 150 cm /I Do Q BT /F1 12 Tf 20 100 Td (See the picture above) Tj ET"
    source = samples.pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>",
            *[
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]/Contents 5 0 R"
                b"/Resources<</Font<</F1 7 0 R>>/XObject<</I 6 0 R>>>>>>"
            ]
            * 2,
            samples.stream(drawing),
            samples.stream(
                pixels, b"/Type/XObject/Subtype/Image/Width 96/Height 64/ColorSpace/DeviceRGB/BitsPerComponent 8"
            ),
            samples.FONT,
        ]
    )
    pictures = [block for block in extract(source, ".pdf").blocks if block.kind == "picture"]
    assert [(block.page, block.whole_page) for block in pictures] == [(1, False)]
    assert pictures[0].picture is not None
    assert image.decode(pictures[0].picture).tobytes() == pixels


def test_pages_are_rendered_in_the_order_asked_for() -> None:
    source = samples.plain_pdf(b"1 0 0 rg 0 0 400 300 re f", b"0 0 1 rg 0 0 400 300 re f")
    second, first = (image.decode(made) for made in page_images(source, pages=[2, 1], dpi=72))
    assert (second[0, 0].tolist(), first[0, 0].tolist()) == ([0, 0, 255], [255, 0, 0])
    with pytest.raises(MediaError, match="has pages 1 to 2"):
        page_images(source, pages=[3])


def test_a_page_of_enormous_size_is_rendered_within_bounds() -> None:
    source = samples.plain_pdf(b"").replace(b"[0 0 400 300]", b"[0 0 14000 14000]")
    height, width, _ = image.decode(page_images(source, dpi=300)[0]).shape
    assert 0 < height * width <= pdf.MAX_PAGE_PIXELS * 1.01


# --- Word

WORD_BLOCKS = [
    ("heading", "Returns", 1),
    ("paragraph", "Send it back within 14 days.", 0),
    ("list", "- Unused\n- With the receipt", 0),
    ("table", "Country | Fee\nChina | 0", 0),
    ("picture", "", 0),
]


def shape(found: Document) -> list[tuple[str, str, int]]:
    return [(block.kind, block.text, block.level) for block in found.blocks]


def test_of_a_word_file_headings_lists_tables_and_pictures_are_found() -> None:
    found = extract(samples.word(), "returns.docx")
    assert (found.title, shape(found)) == ("Returns", WORD_BLOCKS)
    assert found.blocks[-1].picture is not None
    assert image.decode(found.blocks[-1].picture).shape == (64, 96, 3)


def test_a_word_file_is_written_anew_without_what_points_outside() -> None:
    relations = (
        b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1"'
        b' Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate"'
        b' Target="http://evil.example/t.dotm" TargetMode="External"/></Relationships>'
    )
    source = samples.word_with("word/_rels/settings.xml.rels", relations)
    made = clean(source)
    assert (made.mime, made.extension) == (DOCX, "docx")
    assert "Send it back within 14 days." in made.text
    with zipfile.ZipFile(io.BytesIO(made.data)) as parts:
        everything = b"".join(parts.read(name) for name in parts.namelist())
    assert b"evil.example" not in everything
    assert b"SECRET-AUTHOR" not in everything
    assert shape(extract(made.data, DOCX)) == WORD_BLOCKS


def test_inserted_text_counts_and_deleted_text_does_not() -> None:
    body = (
        b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>'
        b"Within 14</w:t></w:r><w:ins><w:r><w:t> or 30</w:t></w:r></w:ins><w:del><w:r><w:delText> no</w:delText>"
        b"</w:r></w:del>"
        b"<w:moveFrom><w:r><w:t> gone</w:t></w:r></w:moveFrom><w:r><w:t> days</w:t></w:r></w:p>"
        b"<w:sdt><w:sdtContent><w:p><w:r><w:t>In a control</w:t></w:r>"
        b"</w:p></w:sdtContent></w:sdt></w:body></w:document>"
    )
    found = extract(samples.word_with("word/document.xml", body), ".docx")
    assert shape(found) == [("paragraph", "Within 14 or 30 days", 0), ("paragraph", "In a control", 0)]


EXTERNAL = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>'
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><d>&b;</d>'


@pytest.mark.parametrize("part", [EXTERNAL, LAUGHS, EXTERNAL.decode().encode("utf-16")])
def test_entities_in_a_word_file_are_refused(part: bytes) -> None:
    with pytest.raises(MediaError, match="declares XML entities") as caught:
        clean(samples.word_with("word/document.xml", part))
    assert caught.value.code == "broken"


def test_zip_bombs_are_refused_by_ratio_by_size_and_by_number() -> None:
    high = samples.word_with("word/media/a.bin", bytes(20 << 20))
    with pytest.raises(TooLarge, match="unpacks to more than 200 times its size"):
        clean(high)
    with pytest.raises(TooLarge, match="unpacks to more than 1 MiB"):
        clean(high, zip_bytes=1 << 20)
    with pytest.raises(TooLarge, match="accepted are 10"):
        clean(samples.word(), zip_entries=10)


def test_a_zip_entry_that_understates_its_size_is_refused() -> None:
    source = samples.word_with("word/extra.xml", b"<a>" + b" " * (30 << 20) + b"</a>")
    true, false = (30 << 20) + 7, 1000
    lying = source.replace(true.to_bytes(4, "little"), false.to_bytes(4, "little"))
    assert lying != source
    with pytest.raises(MediaError):
        clean(lying)


# --- text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le"])
def test_text_becomes_utf8(encoding: str) -> None:
    text = "Order 12345\r\n" if encoding == "utf-16-le" else "您好，订单 12345 什么时候发货？\r\n"
    made = clean(text.encode(encoding))
    assert (made.data.decode(), made.mime, made.extension) == (
        text.replace("\r\n", "\n"),
        "text/plain; charset=utf-8",
        "txt",
    )
    assert made.pages == (made.text,)


def test_markdown_becomes_blocks_and_its_pictures_stay_references() -> None:
    source = """---
title: "Pairing"
---
# Pair the *headset*

Hold the `BT` button. ![LED blinks](img/led.png "x")

1. Switch on
   - wait
2. Pair

| Code | Meaning |
|---|---|
| E21 | Overheated |

```
reset --all
```
<div><p>Inside <b>HTML</b></p><img src="http://other.example/a.png" alt="far"></div>
"""
    assert extract(source.encode(), "pairing.md") == Document(
        title="Pairing",
        blocks=(
            Block("heading", "Pair the headset", level=1),
            Block("paragraph", "Hold the BT button."),
            Block("picture", reference="img/led.png", alt="LED blinks"),
            Block("list", "1. Switch on\n  - wait\n2. Pair"),
            Block("table", "Code | Meaning\nE21 | Overheated"),
            Block("code", "reset --all"),
            Block("paragraph", "Inside HTML"),
            Block("picture", reference="http://other.example/a.png", alt="far"),
        ),
    )


def test_of_a_web_page_the_readable_part_is_kept() -> None:
    source = """<!doctype html><html><head><meta charset="gb18030"><title>退货 - 帮助中心</title>
<script>alert(1)</script>
<style>p{}</style></head><body><nav><a href="/">首页</a></nav><main>
<nav>目录</nav><script>x()</script><h1>退货</h1>七天内<b>免费</b>退货。<br>请保留小票。
<h2>步骤</h2><ul><li>申请<ol><li>拍照</li></ol></li><li>寄回</li></ul>
<table><tr><th>地区</th><th>费用</th></tr><tr><td>北京</td><td>0</td></tr></table><pre>a
  b</pre><figure><img src="img/box.png" alt="盒子"><figcaption>原包装</figcaption></figure></main>
<footer>版权所有</footer></body></html>"""
    assert extract(source.encode("gb18030"), "returns.html") == Document(
        title="退货",
        blocks=(
            Block("heading", "退货", level=1),
            Block("paragraph", "七天内免费退货。\n请保留小票。"),
            Block("heading", "步骤", level=2),
            Block("list", "- 申请\n  1. 拍照\n- 寄回"),
            Block("table", "地区 | 费用\n北京 | 0"),
            Block("code", "a\n  b"),
            Block("picture", reference="img/box.png", alt="盒子"),
            Block("paragraph", "原包装"),
        ),
    )


# --- tables


def test_question_and_answer_columns_are_found_by_their_names() -> None:
    source = "编号,分类,问题,答案\n1,物流,多久到？,两天\n2,物流,,没有问题\n".encode("gb18030")
    assert extract(source, "faq.csv").pairs == (Pair("多久到？", "两天", "物流"),)


def test_two_columns_without_names_are_question_and_answer() -> None:
    assert extract(b"How long?;Two days\nHow much?;Nothing\n", "faq.csv").pairs == (
        Pair("How long?", "Two days"),
        Pair("How much?", "Nothing"),
    )


def test_a_wider_table_answers_with_all_its_columns() -> None:
    source = b"Code\tMeaning\tWhat to do\nE21\tOverheated\tLet it cool\nE22\t\tCall us\n"
    assert extract(source, "codes.tsv").pairs == (
        Pair("E21", "Meaning: Overheated\nWhat to do: Let it cool"),
        Pair("E22", "What to do: Call us"),
    )


def test_a_workbook_gives_the_pairs_of_every_sheet() -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["Question", "Answer"], ["How long?", 2.0], [None, None], ["How much?", "=1+1"]):
        book.active.append(row)
    second = book.create_sheet("更多")
    second.append(["问题", "答案"])
    second.append(["能退吗？", "能"])
    out = io.BytesIO()
    book.save(out)
    assert extract(out.getvalue(), "faq.xlsx").pairs == (Pair("How long?", "2"), Pair("能退吗？", "能"))


def test_a_document_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(MediaError, match=r'"a\.pptx" cannot be read as a document') as caught:
        extract(b"x", "a.pptx")
    assert caught.value.code == "unsupported_type"


# --- across kinds


def test_one_file_that_is_picture_page_and_archive_comes_out_as_a_picture_alone() -> None:
    source = samples.polyglot()
    assert zipfile.ZipFile(io.BytesIO(source)).namelist() == ["evil.exe"]
    assert sniff(source, "page.html", "text/html") == Sniffed("image", "image/jpeg")
    made = clean(source)
    assert [word for word in (b"<script", b"<html", b"PK\x03\x04", b"MZ", b"alert") if word in made.data] == []
    assert not zipfile.is_zipfile(io.BytesIO(made.data))
    assert (Image.open(io.BytesIO(made.data)).size, made.width, made.height) == ((96, 64), 96, 64)


def test_a_pdf_that_is_also_a_zip_comes_out_as_a_pdf_alone() -> None:
    source = samples.plain_pdf(b"BT /F1 24 Tf 20 100 Td (Hello) Tj ET") + samples.archive({"evil.exe": b"MZ evil"})
    made = clean(source)
    assert (made.pages, zipfile.is_zipfile(io.BytesIO(made.data))) == (("Hello",), False)


def test_a_word_file_with_something_in_front_is_refused_or_rewritten() -> None:
    with pytest.raises(MediaError) as caught:
        sniff(b"MZ\x90\x00" + samples.word())
    assert caught.value.code == "unsupported_type"


def test_a_file_that_pretends_to_be_of_the_kind_it_was_sniffed_as_is_refused() -> None:
    for head in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"fLaC",
        b"OggS",
        b"%PDF-1.7\n",
        b"RIFF\0\0\0\0WEBP",
    ):
        with pytest.raises(MediaError) as caught:
            clean(head + b"<html>nothing of the kind</html>" * 20)
        assert caught.value.code == "broken", head


def test_a_file_of_more_bytes_than_allowed_is_refused_unread() -> None:
    with pytest.raises(TooLarge, match="has 11 bytes, accepted are 10"):
        clean(b"hello there", bytes=10)


def test_a_written_word_file_opens_with_its_own_styles() -> None:
    rebuilt = docx.Document(io.BytesIO(clean(samples.word()).data))
    assert [paragraph.style.name for paragraph in rebuilt.paragraphs][:4] == [
        "Heading 1",
        "Normal",
        "List Bullet",
        "List Bullet",
    ]
