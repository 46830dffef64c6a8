"""Sound and pictures become artifacts that say what, how sure, by which model and how long it took."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from duomo.errors import ModelUnavailable
from duomo.models import weights
from duomo.models.ocr import Reading
from duomo.models.perceive import Perception
from duomo.models.picture_kind import KINDS, MEASURES, measure, picture_kind
from duomo.testing import FakeImageEmbedder, FakeReader, FakeSpeech
from duomo.types import Artifact
from tests.models.sounds import DATA, silence

WHITE = np.full((40, 60, 3), 255, dtype=np.uint8)


def perception(*, heard: str = "", read: str = "") -> Perception:
    return Perception(speech=FakeSpeech(heard), ocr=FakeReader(read), pictures=FakeImageEmbedder())


def test_a_voice_note_becomes_a_transcript():
    sound = np.ones(32_000, dtype=np.float32)
    assert perception(heard="怎么退货").voice(sound, language_hint="zh") == [
        Artifact(
            kind="transcript",
            text="怎么退货",
            confidence=0.9,
            model="fake-speech",
            version="1",
            duration_ms=0,
            data={
                "language": "zh",
                "segments": [{"start_s": 0.0, "end_s": 2.0, "text": "怎么退货", "confidence": 0.9}],
                "no_speech": 0.0,
            },
        )
    ]


def test_a_silent_note_is_a_transcript_without_text():
    (artifact,) = perception(heard="never said").voice(silence(2), language_hint="zh")
    assert (artifact.text, artifact.confidence, artifact.data["language"]) == ("", 0.0, "zh")
    assert (artifact.data["segments"], artifact.data["no_speech"]) == ([], 1.0)


def test_a_picture_has_a_kind_its_text_and_a_vector():
    artifacts, vector = perception(read="E21\nFilter blocked").picture(WHITE)
    kind, text = artifacts
    assert (kind.kind, kind.model, kind.text in KINDS) == ("picture_kind", "picture-kind", True)
    assert kind.confidence == max(kind.data["scores"].values())
    assert set(kind.data["scores"]) == set(KINDS)
    assert text == Artifact(
        kind="ocr",
        text="E21\nFilter blocked",
        confidence=0.9,
        model="fake-reader",
        version="1",
        duration_ms=0,
        data={
            "lines": [
                {"text": "E21", "confidence": 0.9, "box": [[0.0, 0.0], [60.0, 0.0], [60.0, 20.0], [0.0, 20.0]]},
                {
                    "text": "Filter blocked",
                    "confidence": 0.9,
                    "box": [[0.0, 20.0], [60.0, 20.0], [60.0, 40.0], [0.0, 40.0]],
                },
            ],
            "size": [60, 40],
            "turned": 0,
        },
    )
    np.testing.assert_array_equal(vector, FakeImageEmbedder().encode(WHITE))


def test_a_picture_without_text_has_no_text_artifact():
    artifacts, _ = perception().picture(WHITE)
    assert [artifact.kind for artifact in artifacts] == ["picture_kind"]


@pytest.mark.parametrize("missing", ["speech", "ocr", "pictures"])
def test_a_missing_model_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "reason", lambda feature: f"install {feature}")
    whole = perception(heard="a", read="b")
    setattr(whole, missing, None)
    feature = {"speech": "speech recognition", "ocr": "text in pictures", "pictures": "picture search"}[missing]
    with pytest.raises(ModelUnavailable, match=f"install {feature}"):
        if missing == "speech":
            whole.voice(silence(1))
        else:
            whole.picture(WHITE)


def test_kinds_are_told_apart():
    rows = Image.open(DATA / "zh.png").convert("RGB")
    noise = np.random.default_rng(0).normal(0, 12, (200, 150, 3))
    y, x = np.mgrid[0:200, 0:150]
    thing = np.stack([90 + 60 * np.sin(x / 40), 70 + 50 * np.cos(y / 30), 60 + 30 * np.sin((x + y) / 50)], axis=2)
    photo = np.clip(thing + noise, 0, 255).astype(np.uint8)
    scores = picture_kind(photo, FakeReader().read(photo))
    assert max(scores, key=lambda kind: scores[kind]) == "photo"
    drawn = np.asarray(rows)
    assert picture_kind(drawn, FakeReader("a\nb\nc").read(drawn))["photo"] < 0.1


def test_measures_are_finite_for_every_picture():
    for shape in [(1, 1), (1, 500), (300, 1), (5, 5)]:
        image = np.zeros((*shape, 3), dtype=np.uint8)
        empty = Reading((), "", 0.0, (shape[1], shape[0]), turned=0, duration_ms=0)
        for reading in (empty, FakeReader("a b\nc").read(image), replace(FakeReader("x").read(image), turned=90)):
            values = measure(image, reading)
            assert values.shape == (len(MEASURES),)
            assert np.isfinite(values).all()
