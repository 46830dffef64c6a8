"""The demo workspace agrees with itself: articles, questions, scripted customers and media."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import av
import pypdfium2
import pytest
from PIL import Image

from duomo.knowledge.read import front_matter

SCENARIO = Path(str(resources.files("duomo"))) / "scenarios" / "customer_service"
LANGUAGES = ("zh", "en")
ONE_LANGUAGE = {
    "zh": {"trade-in", "student-discount", "invoice-title-change", "livestream-orders"},
    "en": {"airline-power-bank", "travel-voltage", "passport-verification", "e7-dictionaries"},
}
SETS = ("dev", "heldout")


@cache
def articles(language: str) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in sorted((SCENARIO / "articles" / language).glob("*.md"))}


@cache
def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SCENARIO / name).read_text("utf-8").splitlines()]


def asked() -> list[dict[str, Any]]:
    return [q for name in ("dev", "heldout", "images", "voice") for q in lines(f"questions/{name}.jsonl")]


def customers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((SCENARIO / "customers.json").read_text("utf-8"))
    return found


def numbers(text: str) -> set[str]:
    return {found.replace(",", "") for found in re.findall(r"\d+(?:[.,:]\d+)*", text)}


def words(text: str) -> set[str]:
    """English words and Chinese pairs of characters."""
    pairs = {run[i : i + 2] for run in re.findall(r"[\u4e00-\u9fff]+", text) for i in range(max(len(run) - 1, 1))}
    return set(re.findall(r"[a-z0-9]+", text.lower())) | pairs


def similarity(left: set[str], right: set[str]) -> float:
    return len(left & right) / max(len(left | right), 1)


def media_used() -> set[str]:
    """Every file under media/ that an article, a question or a customer names."""
    used = {q[kind] for q in asked() for kind in ("image", "audio") if kind in q}
    used |= {t[kind] for c in customers() for t in c["turns"] for kind in ("image", "audio", "document") if kind in t}
    for text in [*articles("zh").values(), *articles("en").values()]:
        if picture := front_matter(text)[0].get("picture"):
            used.add(picture.removeprefix("../../"))
    return used


# articles


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_article_has_front_matter_a_heading_and_words(language: str) -> None:
    wrong = []
    for stem, text in articles(language).items():
        front, body = front_matter(text)
        good = front.get("id") == stem and bool(front.get("tags"))
        good &= body.strip().startswith(f"# {front.get('title')}\n")
        chinese = len(re.findall(r"[\u4e00-\u9fff]", body)) > 0.25 * len(body)
        size = len(re.findall(r"[\u4e00-\u9fff]|[A-Za-z]+", body))
        if not good or chinese != (language == "zh") or not 80 <= size <= 900:
            wrong.append((stem, front, size))
    assert wrong == []


def test_articles_come_in_both_languages_except_those_that_test_answering_across_languages() -> None:
    chinese, english = set(articles("zh")), set(articles("en"))
    assert {"zh": chinese - english, "en": english - chinese} == ONE_LANGUAGE
    assert len(chinese | english) >= 60


def test_both_languages_of_an_article_state_the_same_numbers() -> None:
    both = articles("zh").keys() & articles("en").keys()
    differing = {stem: numbers(articles("zh")[stem]) ^ numbers(articles("en")[stem]) for stem in both}
    assert {stem: found for stem, found in differing.items() if found} == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_are_unique(language: str) -> None:
    titles = [front_matter(text)[0]["title"] for text in articles(language).values()]
    assert sorted(titles) == sorted(set(titles))


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_article_that_another_one_names_exists(language: str) -> None:
    titles = {front_matter(text)[0]["title"] for text in articles(language).values()}
    quoted = {q for text in articles(language).values() for q in re.findall(r"见《(.+?)》|see \"(.+?)\"", text)}
    missing = [name for pair in quoted for name in pair if name and not any(name in title for title in titles)]
    assert missing == []


# questions


def test_question_ids_are_unique_and_fields_complete() -> None:
    ids = [q["id"] for q in asked()]
    assert sorted(ids) == sorted(set(ids))
    needed = {"text", "lang", "article_ids", "answer_contains", "kind"}
    incomplete = [q["id"] for q in asked() if not needed <= q.keys()]
    assert incomplete == []


def test_there_are_enough_questions_of_each_kind() -> None:
    for name in SETS:
        found = lines(f"questions/{name}.jsonl")
        for language in LANGUAGES:
            here = [q for q in found if q["lang"] == language]
            assert len([q for q in here if q["article_ids"]]) >= 60
            assert len([q for q in here if not q["article_ids"]]) >= 20
    assert len([q for name in SETS for q in lines(f"questions/{name}.jsonl") if q["kind"] == "cross_lingual"]) >= 10


def test_the_article_of_every_question_exists_and_holds_each_answer() -> None:
    wrong = []
    for question in asked():
        for stem in question["article_ids"]:
            if not any(stem in articles(language) for language in LANGUAGES):
                wrong.append((question["id"], stem, "no such article"))
        for language, strings in question["answer_contains"].items():
            texts = [articles(language).get(stem, "") for stem in question["article_ids"]]
            wrong += [(question["id"], language, s) for s in strings if not any(s in text for text in texts)]
    assert wrong == []


def test_a_question_names_its_answer_in_every_language_in_which_its_article_exists() -> None:
    wrong = []
    for question in asked():
        there = {language for language in LANGUAGES for stem in question["article_ids"] if stem in articles(language)}
        if there != set(question["answer_contains"]):
            wrong.append(question["id"])
    assert wrong == []


def test_a_cross_lingual_question_has_its_article_only_in_the_other_language() -> None:
    for question in asked():
        if question["kind"] == "cross_lingual":
            assert all(stem not in articles(question["lang"]) for stem in question["article_ids"]), question["id"]


def test_the_two_question_sets_share_no_question_and_no_near_copy() -> None:
    left, right = ([(q["text"], words(q["text"])) for q in lines(f"questions/{name}.jsonl")] for name in SETS)
    close = [(a, b) for (a, ours), (b, theirs) in product(left, right) if a == b or similarity(ours, theirs) >= 0.7]
    assert close == []


def test_no_question_repeats_another_of_its_own_set() -> None:
    for name in SETS:
        texts = [q["text"].strip().lower() for q in lines(f"questions/{name}.jsonl")]
        assert len(texts) == len(set(texts))


def test_heldout_questions_share_few_words_with_the_articles_that_answer_them() -> None:
    shares = []
    for question in lines("questions/heldout.jsonl"):
        own = words(question["text"])
        texts = [articles(question["lang"])[s] for s in question["article_ids"] if s in articles(question["lang"])]
        shares += [len(own & words(text)) / len(own) for text in texts if own]
    assert sum(shares) / len(shares) < 0.4


# customers


def test_ten_customers_cover_what_the_demo_promises() -> None:
    assert len(customers()) == 10
    assert len({c["id"] for c in customers()}) == 10
    assert {
        "text zh", "text en", "voice zh", "voice en", "error-code screenshot", "product photo", "cross-lingual",
        "unanswerable", "asks for a person", "failed twice", "correction of a transcript", "document attachment",
    } <= {covered for c in customers() for covered in c["covers"]}  # fmt: skip


def test_what_customers_expect_can_be_met() -> None:
    wrong = []
    for customer in customers():
        for index, turn in enumerate(customer["turns"]):
            expect = turn["expect"]
            texts = [articles(language).get(stem, "") for stem in expect.get("cites", []) for language in LANGUAGES]
            good = all(any(texts[i : i + 2]) for i in range(0, len(texts), 2))
            good &= set(expect["outcome"]) <= {"answer", "clarify", "handoff"} and turn["lang"] in LANGUAGES
            good &= all(any(string in text for text in texts) for string in expect.get("contains", []))
            good &= bool({"text", "image", "audio", "document", "correct"} & turn.keys())
            good &= "correct" not in turn or "audio" in customer["turns"][turn["correct"]["turn"]]
            if not good:
                wrong.append((customer["id"], index))
    assert wrong == []


# workspace and canned replies


def test_the_workspace_speaks_both_languages_everywhere() -> None:
    workspace = json.loads((SCENARIO / "workspace.json").read_text("utf-8"))
    canned = json.loads((SCENARIO / "canned_replies.json").read_text("utf-8"))
    pairs = [workspace["title"], workspace["greeting"], workspace["bot"]["label"], workspace["suggestions"]]
    pairs += [team["name"] for team in workspace["teams"]] + list(workspace["messages"].values())
    pairs += [reply[field] for reply in canned for field in ("title", "text")]
    assert [pair for pair in pairs if set(pair) != set(LANGUAGES) or not all(pair.values())] == []
    assert len(canned) >= 12
    assert len({reply["shortcut"] for reply in canned}) == len(canned)


def test_the_opening_hours_of_the_workspace_are_those_of_its_article() -> None:
    workspace = json.loads((SCENARIO / "workspace.json").read_text("utf-8"))
    agents, phone = workspace["agent_hours"][0], workspace["phone_hours"][0]
    for language in LANGUAGES:
        text = articles(language)["contact-hours"]
        for hours in (agents, phone):
            assert f"{hours['open'].lstrip('0')}–{hours['close']}" in text
        assert workspace["contact"]["phone"] in text


# media


def test_every_media_file_that_is_named_exists() -> None:
    assert [name for name in sorted(media_used()) if not (SCENARIO / name).is_file()] == []


def test_every_media_file_has_a_line_in_the_list_of_sources() -> None:
    source = (SCENARIO / "media" / "SOURCE.md").read_text("utf-8")
    rows = [line for line in source.splitlines() if line.startswith("| `")]
    patterns = [p for row in rows for p in re.findall(r"`([^`]+/[^`]+)`", row.split("|")[1])]
    media = SCENARIO / "media"
    files = [str(p.relative_to(media)) for p in media.rglob("*.*") if p.parent != media]
    assert [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)] == []
    assert [row for row in rows if not re.search(r"Apache-2.0|CC0|public domain", row.rsplit("|", 2)[1])] == []


def test_media_stay_small() -> None:
    assert sum(p.stat().st_size for p in (SCENARIO / "media").rglob("*") if p.is_file()) < 12 * 1024 * 1024


def test_pictures_can_be_opened_and_are_large_enough_to_read() -> None:
    for path in [p for p in (SCENARIO / "media").rglob("*") if p.suffix in (".jpg", ".png")]:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) >= (120 if path.name.startswith("real-") else 600), path.name


def test_customer_photos_are_other_pictures_than_the_catalogue() -> None:
    catalogue = {p.stem: p for p in (SCENARIO / "media" / "products").glob("*.jpg")}
    assert len(catalogue) >= 10
    for name, original in catalogue.items():
        with Image.open(original) as picture:
            ours = list(picture.convert("L").resize((16, 16)).tobytes())
        for number in (1, 2):
            with Image.open(SCENARIO / "media" / "photos" / f"customer-{name}-{number}.jpg") as picture:
                theirs = list(picture.convert("L").resize((16, 16)).tobytes())
            assert sum(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / 256 > 30, name


def test_voice_notes_are_16_khz_mono_and_listed_with_text_and_licence() -> None:
    listed = lines("media/speech.jsonl")
    folder = SCENARIO / "media" / "speech"
    assert sorted(row["file"] for row in listed) == sorted(f"speech/{p.name}" for p in folder.iterdir())
    assert {row["lang"] for row in listed} == set(LANGUAGES)
    for row in listed:
        assert row["text"]
        assert re.match(r"Apache-2.0|public domain|CC0", row["licence"])
        with av.open(str(SCENARIO / "media" / row["file"])) as container:
            stream = container.streams.audio[0]
            assert (stream.rate, stream.channels) == (16000, 1), row["file"]
            assert 1.0 < float(stream.duration * stream.time_base) < 15.0, row["file"]


def test_documents_hold_the_text_that_customers_refer_to() -> None:
    found = {}
    for path in (SCENARIO / "media" / "documents").glob("*.pdf"):
        with pypdfium2.PdfDocument(path) as document:
            found[path.stem] = document[0].get_textpage().get_text_range()
    assert "E08" in found["service-request"]
    assert "LT-H3" in found["order-confirmation"]
