"""A video becomes a few upright pictures, evenly spread, and its sound; a damaged one is refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from duomo.errors import MediaError
from duomo.media import audio, image, video
from tests.media import samples

SECOND = 10  # frames


def film(
    *, form: str, codec: str, seconds: int = 4, rate: int = SECOND, sound: str | None = None, hertz: float = 440.0
) -> bytes:
    """Grey pictures that grow brighter by 40 each second, and a tone."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, width=64, height=48, pix_fmt="yuv420p")
        voice = container.add_stream(sound, rate=16000, layout="mono") if sound else None
        for number in range(seconds * rate):
            pixels = np.full((48, 64, 3), 20 + 40 * (number // rate) % 200, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        if voice is not None:
            size, tone = voice.codec_context.frame_size or 1024, samples.tone(seconds, hertz=hertz)
            resampler = av.AudioResampler(format=voice.codec_context.format, layout="mono", rate=16000)
            for start in range(0, tone.shape[1] - size + 1, size):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(tone[:, start : start + size]), format="fltp", layout="mono"
                )
                frame.sample_rate, frame.pts = 16000, start
                for resampled in resampler.resample(frame):
                    container.mux(voice.encode(resampled))
            container.mux(voice.encode(None))
    return out.getvalue()


def brightness(clip: video.Clip) -> list[int]:
    return [round(float(frame.mean())) for frame in clip.frames]


@pytest.mark.parametrize(
    ("form", "codec", "sound", "rate"),
    [
        ("mpeg", "mpeg1video", "mp2", 25),
        ("mp4", "mpeg4", "aac", 10),
        ("matroska", "mpeg4", "flac", 10),
        ("avi", "mpeg4", "pcm_s16le", 10),
        ("mpegts", "mpeg2video", "mp2", 25),
    ],
)
def test_pictures_are_evenly_spread_and_the_sound_is_kept(form: str, codec: str, sound: str, rate: int):
    clip = video.decode(film(form=form, codec=codec, sound=sound, rate=rate), frames=4)
    assert brightness(clip) == pytest.approx([20, 60, 100, 140], abs=4)
    assert np.diff(clip.times) == pytest.approx([1.0] * 3, abs=0.1)
    assert clip.frames[0].shape == (48, 64, 3)
    assert clip.waveform is not None
    assert len(clip.waveform) / audio.SAMPLING_RATE == pytest.approx(4, abs=0.2)
    spectrum = np.abs(np.fft.rfft(clip.waveform))
    assert spectrum.argmax() / len(clip.waveform) * audio.SAMPLING_RATE == pytest.approx(440, abs=2)


def test_a_single_picture_is_the_middle_one():
    assert brightness(video.decode(film(form="mp4", codec="mpeg4"), frames=1)) == pytest.approx([100], abs=4)


def test_a_video_without_sound_is_silent():
    assert video.decode(film(form="mp4", codec="mpeg4")).waveform is None


def test_a_video_whose_sound_cannot_be_decoded_is_silent():
    unknown = film(form="matroska", codec="mpeg4", sound="flac").replace(b"A_FLAC", b"A_ZZZZ")
    clip = video.decode(unknown, frames=4)
    assert len(clip.frames) == 4
    assert clip.waveform is None


def test_far_pictures_are_reached_by_jumping_and_are_the_right_ones():
    clip = video.decode(film(form="mp4", codec="mpeg4", seconds=40), frames=4)
    assert clip.times == (0.0, 10.0, 20.0, 30.0)
    assert brightness(clip) == pytest.approx([20 + 40 * second % 200 for second in (5, 15, 25, 35)], abs=4)


def test_what_follows_the_limit_is_not_looked_at():
    clip = video.decode(film(form="mp4", codec="mpeg4", sound="aac", seconds=10), frames=4, max_seconds=2)
    assert max(clip.times) < 2
    assert clip.waveform is not None
    assert len(clip.waveform) == 2 * audio.SAMPLING_RATE


def test_a_file_of_few_pictures_repeats_them():
    clip = video.decode(film(form="mp4", codec="mpeg4", seconds=1, rate=2), frames=8)
    assert len(clip.frames) == 8
    assert len(set(clip.times)) == 2


def test_a_damaged_middle_costs_its_own_pictures_only():
    data = bytearray(film(form="mpeg", codec="mpeg1video", rate=25, sound="mp2"))
    data[len(data) // 2 : len(data) // 2 + 500] = b"\xff" * 500
    assert len(video.decode(bytes(data)).frames) == 8


WHOLE = film(form="mp4", codec="mpeg4", sound="aac")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no video at all " * 50, "not a video"),
        (WHOLE[: len(WHOLE) // 4], "damaged"),
        (b"\x00\x00\x01\xba" + bytes(4000), "damaged|no picture"),
        (b"\x1a\x45\xdf\xa3" + b"\x99" * 4000, "damaged"),
        (audio.encode_wav(samples.tone(1)[0]), "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.mp4\n", "not a video"),
    ],
    ids=["empty", "text", "cut short", "zeros", "garbage", "a sound", "a playlist"],
)
def test_what_is_no_video_is_refused(data: bytes, reason: str):
    with pytest.raises(MediaError, match=reason):
        video.decode(data)


def test_a_sound_in_a_video_container_is_refused():
    with pytest.raises(MediaError, match="holds no pictures"):
        video.decode(samples.recording(samples.tone(1), form="mp4", codec="aac"))


@pytest.mark.parametrize("form", ["mpeg", "mp4"])
def test_random_damage_is_survived_or_refused(form: str):
    codec, rate = ("mpeg1video", 25) if form == "mpeg" else ("mpeg4", 10)
    whole = film(form=form, codec=codec, rate=rate, sound="mp2" if form == "mpeg" else "aac", seconds=1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(16, len(data), 20):
            data[at] = rng.integers(256)
        try:
            clip = video.decode(bytes(data))
        except MediaError:
            continue
        assert clip.frames


def test_a_file_that_is_not_there_is_a_media_error(tmp_path: Path):
    with pytest.raises(MediaError, match="No such file"):
        video.decode(tmp_path / "none.mp4")


# --- one's own pictures and sounds


def test_a_picture_of_ones_own_is_upright_and_on_white():
    upright = image.read(samples.phone_photo())
    assert upright.shape == (64, 96, 3)
    assert upright[32, 10] == pytest.approx(np.array(samples.RED), abs=12)
    clear = samples.saved(samples.halves().convert("RGBA").point(lambda _: 0), "PNG")
    assert image.read(clear).min() == 255


def test_a_tiny_grey_picture_is_read_as_rgb():
    assert image.read(samples.saved(samples.halves(28, 28).convert("L"), "PNG")).shape == (28, 28, 3)


@pytest.mark.parametrize("keep", [9, 60, 200, 400])
def test_a_picture_cut_short_is_refused(keep: int):
    with pytest.raises(MediaError):
        image.read(samples.phone_photo()[:keep])


def test_a_sound_of_ones_own_is_cut_at_the_limit():
    data = samples.recording(samples.tone(3, channels=2), form="ogg", codec="libopus", sampling_rate=48000)
    assert len(audio.read(data, max_seconds=0.5)) == 8000


@pytest.mark.parametrize("data", [samples.phone_photo(), b"RIFF1234WAVEjunk"], ids=["a picture", "damaged"])
def test_what_is_no_sound_is_refused(data: bytes):
    with pytest.raises(MediaError):
        audio.read(data, max_seconds=5)
