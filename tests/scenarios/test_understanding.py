"""The demo shop's own model: whole, agreeing with its list of intents, and right about plain sentences."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from duomo.media import audio, image
from duomo.models.encoders import Encoders
from duomo.models.understanding import Understanding, load
from duomo.types import Sample

SCENARIO = Path(str(resources.files("duomo"))) / "scenarios" / "customer_service"
UNDERSTANDING = SCENARIO / "understanding"
SCRIPTS = Path(__file__).parents[2] / "scripts"


@cache
def intents() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((UNDERSTANDING / "intents.json").read_text("utf-8"))
    return found


@cache
def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress((UNDERSTANDING / name).read_bytes()).splitlines()]


@pytest.fixture(scope="module")
def model() -> Understanding:
    return load(UNDERSTANDING / "model")  # refuses a file with another hash


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import make_demo_samples  # type: ignore[import-not-found]

    yield make_demo_samples
    for name in ("make_demo_samples", "phrases"):
        sys.modules.pop(name, None)


def test_an_intent_belongs_to_a_team_of_the_shop_and_is_answered_by_articles_it_has() -> None:
    teams = {team["id"] for team in json.loads((SCENARIO / "workspace.json").read_text("utf-8"))["teams"]}
    articles = {path.stem for path in (SCENARIO / "articles").glob("*/*.md")}
    assert {one["team"] for one in intents()} <= teams
    assert {article for one in intents() for article in one["articles"]} <= articles
    assert [one["name"] for one in intents() if one["hidden"]] == ["installation_booking", "trade_in"]
    assert len(intents()) == 25


def test_the_model_knows_every_intent_that_is_not_hidden_and_how_urgent_it_is(model: Understanding) -> None:
    assert set(model.heads["intent"].labels) == {one["name"] for one in intents() if not one["hidden"]}
    assert model.heads["intent"].out_of_scope == "other"
    assert set(model.heads["urgency"].labels) == {"low", "normal", "high"}
    assert model.modalities == ("text", "image", "audio")


def test_the_model_is_right_about_plain_sentences_in_both_languages(model: Understanding) -> None:
    asked = {
        "我的快递到哪了": "track_order",
        "付款一直失败怎么办": "payment_failed",
        "请帮我取消订单": "cancel_order",
        "蓝牙耳机怎么配对": "pairing",
        "充电宝冒烟了！": "safety_hazard",
        "发票抬头写错了": "invoice",
        "I forgot my password": "account_access",
        "I was charged twice for the same order": "double_charge",
        "where is my refund": "refund_status",
        "the robot vacuum shows error E05": "error_code",
        "can you change my delivery address": "change_address",
        "how long is the warranty": "warranty",
    }
    samples = [Sample(str(number), text=text) for number, text in enumerate(asked)]
    encoders = Encoders.for_views(model.views)
    features = encoders.features([{"text": encoders.encode("text", sample.text)} for sample in samples])
    found = model.predict(features, shares=False)
    labels = {text: one.heads["intent"].label for text, one in zip(asked, found, strict=True)}
    assert labels == asked
    urgency = {text: one.heads["urgency"].label for text, one in zip(asked, found, strict=True)}
    assert urgency["充电宝冒烟了！"] == "high"


def test_no_way_of_asking_stands_on_both_sides() -> None:
    assert not {row["group"] for row in rows("samples.jsonl.gz")} & {row["group"] for row in rows("heldout.jsonl.gz")}


def test_media_of_the_samples_are_there_and_can_be_read() -> None:
    both = [*rows("samples.jsonl.gz"), *rows("heldout.jsonl.gz")]
    named = {row[kind] for row in both for kind in ("image", "audio") if kind in row}
    assert named == {f"media/{path.name}" for path in (UNDERSTANDING / "media").iterdir()}
    shapes = {image.read((UNDERSTANDING / name).read_bytes()).ndim for name in sorted(named)[:200:25] if "webp" in name}
    assert shapes == {3}
    sound = next(name for name in sorted(named) if name.endswith("ogg"))
    assert len(audio.read((UNDERSTANDING / sound).read_bytes(), max_seconds=60)) > 16000


def test_the_shipped_texts_are_those_the_script_makes_from_its_seed(script: ModuleType) -> None:
    said = script.plan()
    written = {one.id: one.written for one in said if one.shot is None and not one.spoken}
    shipped = {
        row["id"]: row["text"]
        for name in ("samples.jsonl.gz", "heldout.jsonl.gz")
        for row in rows(name)
        if "image" not in row and "audio" not in row
    }
    assert shipped == written
    assert [one.spoken for one in script.plan()] == [one.spoken for one in said]
    assert [one.written for one in script.plan(seed=5)] != [one.written for one in said]
