"""The report: one file that needs nothing else, in which a sample's text is never code."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from duomo.learn import metrics
from duomo.learn.charts import plots
from duomo.learn.evaluate import compare, evaluate
from duomo.learn.page import say, tag
from duomo.learn.report import to_html, to_text
from duomo.learn.wording import COLUMNS, FIGURES, HEADLINES
from duomo.media.audio import encode_wav
from duomo.types import Sample
from tests.learn.spelled import LABELS, Spelled, some

HOSTILE = '</script></style><script>alert(1)</script><img src=x onerror="alert(2)">'


class Page(HTMLParser):
    """Elements and texts of a page, as a browser would read them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name in names]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [
        *some(),
        Sample("9", text=HOSTILE, labels={"intent": "refund"}),
        Sample("<b>", labels={"intent": "loan<i>"}),
    ]


@pytest.fixture(scope="module")
def source(samples: list[Sample]) -> str:
    comparison = compare(Spelled(blind="parcel"), Spelled(), samples, names=("old<b>", "new"), resamples=50)
    evaluation = evaluate(Spelled(), samples, resamples=50, corruptions=["text_cut"])
    return to_html(evaluation, title="models/<tickets>", model={"fusion": "late"}, comparison=comparison)


def test_a_samples_text_is_shown_and_is_never_code(source):
    page = Page(source)
    assert len(page.all("script")) == 1
    assert [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)] == []
    assert HOSTILE in page.texts
    assert "<b>" in page.texts


def test_the_page_asks_for_nothing_and_knows_its_own_script_by_its_hash(source):
    page = Page(source)
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")]
    assert [link for link in links if not (link or "").startswith(("#", "data:"))] == []
    assert page.all("link", "iframe", "object", "embed", "form") == []
    script = source.split("<script>")[1].split("</script>")[0]
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{known}'" in policy
    assert "url(" not in source
    assert "@import" not in source


def test_every_text_is_there_in_english_and_chinese(source):
    languages = [element["lang"] for element in Page(source).all("span", "tspan") if element.get("class") == "t"]
    assert len(languages) > 200
    assert set(zip(languages[::2], languages[1::2], strict=True)) == {("en", "zh")}


def test_every_table_has_a_caption_and_every_heading_a_scope(source):
    page = Page(source)
    assert len(page.all("table")) == len(page.all("caption")) > 8
    assert {heading.get("scope") for heading in page.all("th")} == {"col", "row"}
    assert all(drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in page.all("svg")[1:])


def test_links_of_the_bar_lead_somewhere(source):
    page = Page(source)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{id}" for id in ids}


def test_the_comparison_says_what_was_fixed_and_how_sure_that_is(source):
    text = "".join(Page(source).texts)
    assert "old<b> against new" in text
    assert "1 fixed, 1 broken; McNemar's exact test: p = 1.000." in text


def test_wrong_rows_show_their_picture_and_let_their_sound_be_heard(tmp_path):
    picture, sound, broken = tmp_path / "a.png", tmp_path / "a.wav", tmp_path / "b.png"
    Image.new("RGB", (900, 600), (200, 30, 30)).save(picture)
    sound.write_bytes(encode_wav(np.sin(np.arange(8000) / 20).astype(np.float32)))
    broken.write_bytes(b"no picture")
    rows = [
        Sample("1", text="card", image=picture, audio=sound, labels={"intent": "refund"}),
        Sample("2", text="card", image=broken, audio=tmp_path / "gone.wav", labels={"intent": "refund"}),
    ]
    page = Page(to_html(evaluate(Spelled(), rows, resamples=10)))
    (shown,) = page.all("img")
    with Image.open(
        io.BytesIO(base64.b64decode((shown["src"] or "").removeprefix("data:image/jpeg;base64,")))
    ) as image:
        assert image.size == (160, 107)
    (player,) = page.all("audio")
    assert (player["src"] or "").startswith("data:audio/flac;base64,")
    assert {"b.png", "gone.wav"} <= set(page.texts)


class Numbered(Spelled):
    """Forty labels; it always answers the first."""

    def __init__(self) -> None:
        super().__init__()
        names = tuple(f"label_{i:02}" for i in range(40))
        self.heads = {"intent": type(self.heads["intent"])("intent", "class", names, (1 / 40,) * 40)}

    def predict_features(self, features):
        output = super().predict_features(features)["intent"]
        chances = np.tile(np.linspace(2, 0, 40) / 40, (len(features), 1))
        fields = {name: getattr(output, name) for name in ("interval", "abstain", "conflict")}
        return {"intent": type(output)(probabilities=chances, predicted=chances.argmax(axis=1), sets=chances > 0.01,
                confidence=chances.max(axis=1), out_of_scope=np.zeros(len(features)), **fields)}  # fmt: skip


def test_of_many_labels_the_most_confused_and_the_weakest_stand_for_the_matrix():
    rows = [Sample(str(i), text="x", labels={"intent": f"label_{i % 40:02}"}) for i in range(80)]
    evaluation = evaluate(Numbered(), rows, resamples=10)
    text = "".join(Page(to_html(evaluation)).texts)
    assert "What it mixes up" in text
    assert "Where it is weakest" in text
    assert "Confusion matrix" not in text
    assert len(evaluation.as_json()["details"]["intent"]["confused"]) == 30
    assert "confusion" not in evaluation.as_json()["details"]["intent"]


def test_a_head_without_a_label_says_so():
    page = Page(to_html(evaluate(Spelled(), some()[:1], resamples=10)))
    assert "No sample has a label for this head." in page.texts


def test_the_text_form_holds_headlines_and_tables(samples):
    text = to_text(evaluate(Spelled(), some(), resamples=50, seed=1))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "intent  (class, 7 rows in 6 groups)"
    assert lines[1].startswith("In-scope accuracy         66.7% [")
    assert any(line.startswith("with less") for line in lines)
    assert "most often taken for another: card -> parcel (1); parcel -> card (1)" in lines


def test_every_figure_that_is_measured_has_words_in_both_languages():
    ones = np.ones((4, 1), dtype=np.float32)
    true, p = np.array([0, 1, 0, 1]), np.full((4, 2), 0.5)
    no = np.zeros(4, dtype=bool)
    rows = metrics.Decisions(true, true, p, 3, p > 0, no, np.zeros(4))
    labels = np.eye(2, dtype=bool)[true]
    formulas = (
        metrics.class_formula(rows),
        metrics.multilabel_formula(labels, labels, p),
        metrics.number_formula(true, true, np.stack([true - 1, true + 1], axis=1)),
    )
    with np.errstate(invalid="ignore"):
        measured = {name for formula in formulas for name in formula(ones)}
    named = {name for table in (HEADLINES, COLUMNS) for names in table.values() for name in names}
    assert measured | named <= set(FIGURES)
    assert all(words.en and words.zh and bool(words.en_hint) == bool(words.zh_hint) for words in FIGURES.values())


def test_markup_escapes_texts_and_attributes_and_leaves_markup():
    both = '<span class="t" lang="en">&lt;i&gt;!</span><span class="t" lang="zh">&lt;i&gt;！</span>'
    assert say("{x}!", "{x}！", x="<i>") == both
    assert tag("p", "a < b", say("{x}!", "{x}！", x="<i>"), title='"') == f'<p title="&quot;">a &lt; b{both}</p>'


def curves(path: Path, *entries: object) -> ElementTree.Element:
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries) + '{"epoch": 9, "tra', encoding="utf-8")
    return ElementTree.fromstring(plots(path))


def test_training_curves_are_drawn_by_stage_and_a_half_written_line_is_left_out(tmp_path):
    drawn = curves(
        tmp_path / "metrics.jsonl",
        {"stage": "early", "epoch": 1, "train_loss": 1.5, "validation_loss": 1.7, "seconds": 1},
        {"stage": "early", "epoch": 2, "train_loss": 0.9, "validation_loss": 1.2, "seconds": 0.1},
        {"stage": "late", "epoch": 1, "train_loss": 0.7, "validation_loss": float("nan")},
        {"stage": "late", "note": "no epoch"},
    )
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("early loss", "early seconds", "late loss")] == [
        "early loss",
        "early seconds",
        "late loss",
    ]
    assert [text for text in texts if text in ("train_loss", "validation_loss")] == [
        "train_loss",
        "validation_loss",
        "train_loss",
    ]
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}path"))) == 4


def test_a_run_without_an_epoch_is_drawn_empty(tmp_path):
    drawn = ElementTree.fromstring(plots(tmp_path / "metrics.jsonl"))
    assert "no epochs yet" in "".join(drawn.itertext())


def test_labels_stand_in_the_table_by_label_with_their_rows(source):
    page = Page(source)
    assert [name for name in (*LABELS, "other", "loan<i>") if name not in page.texts] == []
