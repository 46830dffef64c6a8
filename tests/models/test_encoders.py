"""Every view says what it should of its modality, whatever the size of what it is given, and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from duomo.errors import ConfigError, InputError, MediaError
from duomo.media import audio, image, video
from duomo.models import encoders, ngrams, shape, sound
from duomo.models.encoders import Encoders, default_views, vector_view
from duomo.models.features import View
from duomo.types import Sample
from tests.media import samples
from tests.models.sounds import recording, silence


@pytest.fixture(scope="module")
def all_of_them() -> Encoders:
    return Encoders.for_modalities(["video", "audio", "image", "text"])


def test_the_default_views_and_their_sizes():
    views = [view for modality in ("text", "image", "audio", "video") for view in default_views(modality)]
    assert [(view.name, view.dim, view.sparse) for view in views] == [
        ("text.e5", 384, False),
        ("text.minilm", 384, False),
        ("text.ngrams", 2**18, True),
        ("image.efficientnet", 1408, False),
        ("image.shape", 2020, False),
        ("audio.whisper", 2560, False),
        ("audio.spectrum", 582, False),
        ("video.frames", 4224, False),
        ("video.sound", 3142, False),
    ]


VALUES = {
    "text": ["a", "退货", "word " * 600, "\u200b😀"],
    "image": [np.zeros((1, 1, 3), np.uint8), np.full((28, 28, 3), 255, np.uint8), np.zeros((3, 900, 3), np.uint8)],
    "audio": [silence(0), silence(0.001), silence(3), recording("en.flac"), recording("en.flac")[:900]],
    "video": [
        video.Clip((np.zeros((9, 9, 3), np.uint8),), (0.0,), None),
        video.Clip((np.zeros((9, 9, 3), np.uint8),) * 2, (0.0, 1.0), silence(0)),
    ],
}


@pytest.mark.parametrize("modality", VALUES)
def test_whatever_its_size_a_value_becomes_finite_vectors_of_the_views_length(all_of_them: Encoders, modality: str):
    for value in VALUES[modality]:
        found = all_of_them.encode(modality, value)
        assert list(found) == [view.name for view in all_of_them.of(modality)]
        for view in all_of_them.of(modality):
            vector = found[view.name]
            if isinstance(vector, tuple):
                columns, values = vector
                assert len(columns) == len(values)
                assert (np.diff(columns) > 0).all()
            else:
                assert (vector.shape, vector.dtype) == ((view.dim,), np.dtype(np.float32))
                assert np.isfinite(vector).all()


def test_a_text_is_normalised_before_it_is_read(all_of_them: Encoders):
    wide, plain = (all_of_them.encode("text", text) for text in (" Ｅ２１\u200b", "E21"))
    assert np.array_equal(np.asarray(wide["text.e5"]), np.asarray(plain["text.e5"]))


def test_the_same_value_gives_the_same_vectors_in_any_company(all_of_them: Encoders):
    voice = recording("en.flac")
    alone = all_of_them.encode("audio", voice)["audio.whisper"]
    all_of_them.encode("audio", recording("zh.flac"))
    assert np.array_equal(all_of_them.encode("audio", voice)["audio.whisper"], alone)


class Ear:
    """A recogniser whose states are a number for each 320 samples: how many there were before."""

    def states(self, waveform: np.ndarray) -> np.ndarray:
        self.heard = [*getattr(self, "heard", []), len(waveform)]
        return np.repeat(waveform[::320, None], 512, axis=1)


def test_the_states_of_a_sound_become_their_mean_deviation_and_thirds_in_order():
    frames = np.arange(9, dtype=np.float32)
    pooled = encoders.pooled_states(Ear(), frames.repeat(320)).reshape(5, 512)
    assert np.ptp(pooled, axis=1).tolist() == [0.0] * 5
    assert pooled[:, 0].tolist() == [4.0, pytest.approx(frames.std()), 1.0, 4.0, 7.0]


def test_a_long_sound_is_heard_in_equal_windows():
    ear = Ear()
    encoders.pooled_states(ear, silence(45))
    assert ear.heard == [15 * 16000] * 3


def test_silence_after_a_sound_hardly_changes_what_is_heard_in_it(all_of_them: Encoders):
    """The window ends two seconds after the sound; eight, as recognition takes, say nearly the same."""
    model = all_of_them.models.whisper()
    near, far = (model.states(recording("en.flac"), pad_s=pad) for pad in (2.0, 8.0))
    assert near.shape == far.shape == (-(-len(recording("en.flac")) // 320), 512)
    cosine = (near * far).sum(1) / np.linalg.norm(near, axis=1) / np.linalg.norm(far, axis=1)
    assert np.median(cosine) > 0.9


def test_what_follows_the_first_minute_is_not_heard(all_of_them: Encoders):
    minute = np.tile(recording("en.flac"), 30)[: 60 * 16000]
    longer = np.concatenate([minute, recording("zh.flac")])
    model = all_of_them.models.whisper()
    assert np.array_equal(encoders.pooled_states(model, longer), encoders.pooled_states(model, minute))


def test_a_video_holds_what_is_seen_what_changes_and_what_is_heard(all_of_them: Encoders):
    red, blue = (np.full((32, 32, 3), colour, np.uint8) for colour in (samples.RED, samples.BLUE))
    still, moving = (video.Clip(frames, (0.0, 1.0), None) for frames in ((red, red), (red, blue)))
    seen = [np.asarray(all_of_them.encode("video", clip)["video.frames"]).reshape(3, 1408) for clip in (still, moving)]
    picture = all_of_them.encode("image", red)["image.efficientnet"]
    assert np.allclose(seen[0], [picture, np.zeros(1408), np.zeros(1408)], atol=1e-6)
    assert (np.linalg.norm(seen[1], axis=1) > 0.1).all()
    heard = replace(still, waveform=recording("en.flac"))
    views = all_of_them.encode("audio", heard.waveform)
    together = np.concatenate([np.asarray(views["audio.whisper"]), np.asarray(views["audio.spectrum"])])
    assert np.array_equal(np.asarray(all_of_them.encode("video", heard)["video.sound"]), together)
    assert not np.asarray(all_of_them.encode("video", still)["video.sound"]).any()


# --- one sample


def test_one_sample_becomes_features_with_what_is_missing(all_of_them: Encoders, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(audio.encode_wav(recording("en.flac")))
    sample = Sample("1", text=" \n", audio=tmp_path / "a.wav", features={"lab": (1.0,)})
    features = all_of_them.encode_one(sample)
    assert (features.modalities, features.present.tolist()) == (
        ("text", "image", "audio", "video"),
        [[False, False, True, False]],
    )
    assert {name: bool(view.any()) for name, view in features.dense.items()} == {
        "text.e5": False,
        "text.minilm": False,
        "image.efficientnet": False,
        "image.shape": False,
        "audio.whisper": True,
        "audio.spectrum": True,
        "video.frames": False,
        "video.sound": False,
    }
    assert len(features.sparse["text.ngrams"].columns) == 0


def test_a_sample_with_nothing_to_read_is_refused_by_what_it_may_have():
    with pytest.raises(InputError, match=r"sample 7 has nothing this model reads. Give it one of: text, image"):
        Encoders.for_modalities(["image", "text"]).encode_one(Sample("7", text=""))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\nxx", None], ids=["empty", "damaged", "absent"])
def test_a_file_that_cannot_be_used_is_a_media_error(tmp_path: Path, data: bytes | None):
    path = tmp_path / "picture.png"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(MediaError):
        Encoders.for_modalities(["image"]).encode_one(Sample("1", image=path))


def test_vectors_pass_through_and_another_length_is_refused():
    two = Encoders([vector_view("lab", 2)])
    assert two.encode_one(Sample("1", features={"lab": (1.5, -2.0)})).dense["features.lab"].tolist() == [[1.5, -2.0]]
    with pytest.raises(InputError, match=r"sample 2 has 3 numbers in features.lab, expected 2"):
        two.encode_one(Sample("2", features={"lab": (1.0, 2.0, 3.0)}))


def test_modalities_stand_in_one_order_whatever_was_given():
    views = [vector_view("b", 1), *default_views("audio"), vector_view("a", 1), *default_views("text")]
    assert Encoders(views).modalities == ("text", "audio", "features.a", "features.b")


def test_the_views_of_a_trained_model_are_taken_as_they_are():
    views = (*default_views("text", stop_words=True), vector_view("lab", 3))
    assert Encoders.for_views(views).views == views


def test_views_of_another_version_are_refused_with_both_versions():
    (old, *rest) = default_views("text")
    with pytest.raises(ConfigError, match=f"version 0-abc; here is multilingual-e5-small, version {old.version}"):
        Encoders.for_views([replace(old, version="0-abc"), *rest])
    with pytest.raises(ConfigError, match="which this installation cannot make"):
        Encoders.for_views([View("text.hf", "text", 8, "my-bert", "123")])


def test_known_views_need_no_weights(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    for name in ("MultilingualE5", "MiniLM", "EfficientNet", "Whisper"):
        monkeypatch.setattr(encoders, name, refuse)
    Encoders.for_views(default_views("audio"))
    Encoders([vector_view("lab", 1)]).encode_one(Sample("1", features={"lab": (1.0,)}))


# --- n-grams


def columns(text: str, **options: bool) -> set[int]:
    return set(ngrams.ngrams(text, **options)[0].tolist())


def test_ngrams_are_the_same_in_every_process():
    found, values = ngrams.ngrams("abc")
    pieces = (" a", "ab", "bc", "c ", " ab", "abc", "bc ", " abc", "abc ", " abc ")
    names = ["wabc", *("c" + piece for piece in pieces)]
    assert (found.tolist(), values.tolist()) == (sorted(crc32(name.encode()) % 2**18 for name in names), [1.0] * 11)


def test_a_repeated_word_counts_by_its_logarithm():
    found, values = ngrams.ngrams("refund refund refund refund")
    assert values[found.tolist().index(ngrams._column("wrefund"))] == pytest.approx(1 + np.log(4))


def test_a_typo_leaves_most_pieces_in_place():
    assert len(columns("refund") & columns("refnud")) >= 3
    assert not columns("refund") & columns("套餐")


def test_the_order_of_words_and_their_case():
    assert columns("card lost") != columns("lost card")
    assert columns("Ｃａｒｄ LOST") == columns("card lost")


def test_chinese_is_cut_into_words_and_neighbours():
    found = columns("收货地址")
    for name in ("z收", "z收货", "z收货地", "w收货", "w地址", "b收货 地址"):
        assert ngrams._column(name) in found


def test_stop_words_can_be_left_out_but_never_a_negation():
    assert columns("the card is not here", stop_words=True) == columns("card not", stop_words=True)
    assert columns("card not") != columns("card")
    assert columns("我的订单", stop_words=True) == columns("订单")


# --- shape


def test_turning_a_stroke_moves_it_to_another_direction():
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:, 28:36] = 255
    cells = [shape._cells(picture[:, :, 0] / np.float32(255)) for picture in (upright, upright.transpose(1, 0, 2))]
    assert [int(cell.sum((0, 1)).argmax()) for cell in cells] == [0, 4]  # across; down lies between the 4th and 5th
    assert cells[1].sum((0, 1))[4:6].sum() == pytest.approx(cells[0].sum((0, 1))[0], rel=1e-5)


def test_light_does_not_change_the_shape():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 120, (40, 40, 1), dtype=np.uint8).repeat(3, axis=2)
    histograms = [shape.shape(one)[:1764] for one in (picture, picture * 2)]
    assert np.linalg.norm(histograms[0] - histograms[1]) < 0.03 * np.linalg.norm(histograms[0])


def test_the_small_picture_is_the_picture():
    data = samples.saved(samples.halves(64, 64), "PNG")
    grey = shape.shape(image.read(data))[1764:].reshape(16, 16)
    assert np.ptp(grey[:, :8]) < 0.01 < grey[0, 0] - grey[0, 15]


# --- sound


def test_the_pitch_of_a_tone_is_found():
    for hertz in (80.0, 150.0, 330.0):
        found, strength = sound.pitch(samples.tone(1, hertz=hertz)[0])
        assert np.median(found) == pytest.approx(hertz, rel=0.02)
        assert np.median(strength) > 0.9


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    assert np.mean(sound.pitch(noise)[1] > sound.VOICED) < 0.05


def test_loudness_alone_changes_levels_and_not_the_course():
    voice = recording("en.flac")
    loud, faint = sound.spectrum(voice), sound.spectrum(voice / 10)
    levels, course = slice(0, 40), slice(-131, -27)
    assert np.allclose(loud[levels] - faint[levels], 2.0, atol=1e-3)  # 20 dB
    assert np.allclose(loud[course], faint[course], atol=1e-3)


def test_silence_around_a_sound_is_no_part_of_its_course():
    voice = recording("en.flac")
    course = slice(-131, -27)
    inside = sound.spectrum(voice)[course]
    around = sound.spectrum(np.concatenate([silence(1), voice, silence(1)]))[course]
    assert np.corrcoef(inside, around)[0, 1] > 0.95


def test_pauses_and_duration_are_measured():
    voice = recording("en.flac")[8000:24000]
    once, twice = sound.spectrum(voice)[-7:], sound.spectrum(np.concatenate([voice, silence(1), voice]))[-7:]
    assert twice[0] - once[0] == pytest.approx(np.log(3), abs=0.02)
    assert twice[2] > once[2] + 0.2
