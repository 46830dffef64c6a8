"""Whisper hears what was said, in the language it was said in, and nothing where nobody spoke."""

from __future__ import annotations

import numpy as np
import pytest

from duomo.models.speech import SAMPLING_RATE, Whisper, simplify, speech
from tests.models.sounds import recording, silence

EN = "He was not an ill-disposed young man."
ZH = "而在股市大幅震荡的环境下"


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return Whisper()


def test_each_language_is_heard_and_recognised(whisper: Whisper):
    heard = [whisper.transcribe(recording(name)) for name in ("en.flac", "zh.flac")]
    assert [(h.text, h.language) for h in heard] == [(EN, "en"), (ZH, "zh")]
    assert all(0.5 < h.confidence < 1 and h.no_speech < 0.5 for h in heard)


def test_what_is_heard_overrules_what_was_expected(whisper: Whisper):
    assert whisper.transcribe(recording("zh.flac"), expected="en").text == ZH


def test_a_forced_language_is_kept(whisper: Whisper):
    assert whisper.transcribe(recording("en.flac"), language="zh").language == "zh"


@pytest.mark.parametrize(
    "waveform",
    [
        silence(0),
        silence(0.01),
        silence(5),
        np.random.default_rng(0).normal(0, 0.05, 5 * SAMPLING_RATE).astype(np.float32),
        np.sin(np.arange(3 * SAMPLING_RATE) * 0.2).astype(np.float32),
    ],
    ids=["empty", "10 ms", "silence", "noise", "a tone"],
)
def test_where_nobody_speaks_nothing_is_heard(whisper: Whisper, waveform: np.ndarray):
    heard = whisper.transcribe(waveform, expected="zh")
    assert (heard.text, heard.language, heard.confidence, heard.segments) == ("", "zh", 0.0, ())
    assert heard.no_speech > 0.5


def test_a_long_note_is_cut_at_pauses_and_keeps_its_order(whisper: Whisper):
    note = np.concatenate([recording("en.flac"), silence(20), recording("en.flac"), silence(20)])
    heard = whisper.transcribe(note)
    first, second = heard.segments
    assert heard.text == f"{first.text} {second.text}"
    assert all(segment.text.endswith("young man.") for segment in (first, second))
    assert 0 <= first.start_s < first.end_s < 5
    assert 21 < second.start_s < second.end_s < 27


def test_speech_longer_than_the_window_is_found_in_pieces_that_cover_it():
    note = np.tile(recording("en.flac"), 12)  # 36 s
    found = speech(note, longest_s=10.0)
    assert all(0 < end - start <= 11 * SAMPLING_RATE for start, end in found)
    assert sum(end - start for start, end in found) > 0.8 * len(note)
    assert found == sorted(found)


def test_chinese_is_written_in_simplified_characters():
    assert simplify("請問這個訂單什麼時候發貨") == "请问这个订单什么时候发货"
    assert simplify("打開 Wi-Fi 開關 就 好") == "打开 Wi-Fi 开关就好"
