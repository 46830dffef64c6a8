"""Corruptions are the same for the same seed and sample, spoil their own modality alone, and as much as they say."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from pypinyin import lazy_pinyin

from duomo.errors import InputError
from duomo.learn.corrupt import CORRUPTIONS, corrupted
from duomo.learn.encoders import encode
from duomo.media import audio, image
from duomo.media.text import pinyin
from duomo.types import Sample
from tests.media import samples as media
from tests.models.sounds import recording

ENGLISH = "I would like to return the shoes that I bought for my brother last week, they are too small."
CHINESE = "请问我的App订单什么时候发货，收货地址写错了，我想修改一下收货地址"
TEXTS = [name for name, corruption in CORRUPTIONS.items() if corruption.modality == "text"]
PICTURES = [name for name, corruption in CORRUPTIONS.items() if corruption.modality == "image"]
SOUNDS = [name for name, corruption in CORRUPTIONS.items() if corruption.modality == "audio"]


@pytest.fixture
def whole(tmp_path: Path) -> list[Sample]:
    (tmp_path / "a.png").write_bytes(media.saved(media.halves(), "PNG"))
    (tmp_path / "a.wav").write_bytes(audio.encode_wav(recording("en.flac")))
    return [
        Sample(str(number), text=text, image=tmp_path / "a.png", audio=tmp_path / "a.wav", group="g", labels={"h": "x"})
        for number, text in enumerate((ENGLISH, CHINESE))
    ]


def content(sample: Sample) -> tuple[str | None, bytes, bytes]:
    assert sample.image is not None
    assert sample.audio is not None
    return sample.text, sample.image.read_bytes(), sample.audio.read_bytes()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_only_its_own_modality_changes_and_by_the_seed_alone(name: str, whole: list[Sample], tmp_path: Path):
    first, again, other = (
        [
            content(sample)
            for sample in corrupted([replace(sample) for sample in whole[::step]], name, tmp_path / folder, seed=seed)
        ]
        for folder, seed, step in (("one", 0, 1), ("two", 0, -1), ("one", 1, 1))
    )
    assert first == again[::-1]
    at = {"text": 0, "image": 1, "audio": 2}[CORRUPTIONS[name].modality]
    for before, after in zip(whole, first, strict=True):
        assert [index for index in range(3) if content(before)[index] != after[index]] == [at]
    if name not in ("audio_clipped", "audio_telephone"):  # there nothing is drawn
        assert first != other
    kept = corrupted(whole, name, tmp_path / "one")[0]
    assert (kept.id, kept.group, kept.labels) == ("0", "g", {"h": "x"})


def test_encoders_take_what_corruptions_write(whole: list[Sample], tmp_path: Path):
    spoilt = [
        sample
        for name in (*PICTURES, *SOUNDS)
        for sample in corrupted([Sample(name, image=whole[0].image, audio=whole[0].audio)], name, tmp_path)
    ]
    found = encode(spoilt)
    assert (found.broken, found.features.present.all()) == ((), True)


def test_a_missing_or_broken_part_stays_as_it_is(tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    given = [Sample("1", text="a"), Sample("2", image=tmp_path / "x.png"), Sample("3", image=tmp_path / "absent.png")]
    assert corrupted(given, "image_blur", tmp_path / "out") == given
    assert corrupted(given, "audio_clipped", tmp_path / "out") == given


def test_an_unknown_corruption_is_answered_with_those_there_are(tmp_path: Path):
    with pytest.raises(InputError, match="image_blur"):
        corrupted([], "image_blurr", tmp_path)


def spoilt(name: str, value: object, *, times: int = 40) -> list[object]:
    return [CORRUPTIONS[name].apply(value, np.random.default_rng(seed)) for seed in range(times)]


def edits(one: str, other: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        above, row[0] = row[0], at
        for place, wanted in enumerate(other, start=1):
            above, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above + (letter != wanted))
    return row[-1]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_typos_touch_about_a_twelfth_of_the_letters(text: str):
    touched = np.mean([edits(text, str(found)) for found in spoilt("text_typos", text)]) / len(text)
    assert 0.05 < touched < 0.12


def test_what_is_misheard_in_chinese_sounds_alike():
    for found in spoilt("text_misheard", CHINESE):
        assert list(chain(*pinyin(str(found)))) == list(chain(*pinyin(CHINESE)))
    said = "收货地址写错了想修改"
    changes = {
        lazy_pinyin(before) == lazy_pinyin(after)
        for found in spoilt("text_misheard", said)
        for before, after in zip(said, str(found), strict=True)
        if before != after
    }
    assert changes == {True, False}  # the same sound; and one that many do not tell apart, as zh and z


def test_what_is_misheard_has_neither_capitals_nor_punctuation():
    for found in spoilt("text_misheard", ENGLISH):
        assert str(found).replace(" ", "").isalpha()
        assert str(found).islower()
        kept = set(str(found).split()) & set(ENGLISH.lower().replace(",", "").replace(".", "").split())
        assert len(kept) >= 9  # of 17 different ones


def test_a_cut_text_keeps_its_beginning():
    for found in spoilt("text_cut", ENGLISH):
        assert ENGLISH.startswith(str(found))
        assert 0.3 * len(ENGLISH) < len(str(found)) < 0.71 * len(ENGLISH)


def test_case_changes_nothing_else():
    assert {str(found).lower() for found in spoilt("text_case", ENGLISH)} == {ENGLISH.lower()}


@pytest.mark.parametrize("text", ["", "a", "?!", "退", "😀"])
@pytest.mark.parametrize("name", TEXTS)
def test_short_texts_survive(name: str, text: str):
    assert all(isinstance(found, str) for found in spoilt(name, text, times=10))


PHOTO = image.read(media.phone_photo())


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("pixels", [PHOTO, np.zeros((1, 1, 3), np.uint8), PHOTO[:1]], ids=["photo", "point", "line"])
def test_pictures_stay_pictures(name: str, pixels: np.ndarray):
    for found in spoilt(name, pixels, times=5):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.ndim, found.shape[2]) == (np.uint8, 3, 3)
        assert found.size > 0


def test_dark_pictures_are_dark_and_cropped_ones_small():
    for found in spoilt("image_dark", PHOTO):
        assert isinstance(found, np.ndarray)
        assert 0.15 * PHOTO.mean() < found.mean() < 0.45 * PHOTO.mean()
    for found in spoilt("image_cropped", PHOTO):
        assert isinstance(found, np.ndarray)
        assert 0.4 * PHOTO.size < found.size < 0.65 * PHOTO.size


VOICE = recording("en.flac")


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("length", [0, 1, 2, 17, len(VOICE)])
def test_sounds_stay_sounds(name: str, length: int):
    for found in spoilt(name, VOICE[:length], times=3):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.ndim) == (np.float32, 1)
        assert np.isfinite(found).all()
        assert np.abs(found).max(initial=0) <= 1
        assert (len(found) <= length) if name == "audio_cut" else (len(found) == length)


@pytest.mark.parametrize(("name", "snr_db"), [("audio_noise_10db", 10), ("audio_noise_0db", 0)])
def test_noise_stands_so_far_below_the_sound(name: str, snr_db: float):
    quiet = VOICE * 0.3
    for found in spoilt(name, quiet, times=5):
        noise = np.asarray(found) - quiet
        assert 10 * np.log10(np.mean(quiet**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.1)


def test_a_telephone_carries_only_its_band():
    (found,) = spoilt("audio_telephone", VOICE, times=1)
    power = np.abs(np.fft.rfft(np.asarray(found))) ** 2
    hertz = np.fft.rfftfreq(len(VOICE), 1 / 16000)
    assert power[(hertz < 250) | (hertz > 3600)].sum() < 0.01 * power.sum()
    assert np.corrcoef(np.asarray(found), VOICE)[0, 1] > 0.3


def test_clipping_flattens_the_peaks():
    (found,) = spoilt("audio_clipped", VOICE, times=1)
    assert np.mean(np.abs(np.asarray(found)) > 0.98) > 0.02
