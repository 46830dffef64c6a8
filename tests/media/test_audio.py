"""Any recording a phone or browser makes comes out as mono 16 kHz FLAC of the same sound."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest

from duomo.errors import MediaError, TooLarge
from duomo.media import audio
from duomo.media.sanitise import Clean, Limits, sanitise
from duomo.media.sniff import sniff
from tests.media import samples


def clean(data: bytes, **limits: float) -> Clean:
    return sanitise(data, sniff(data), limits=Limits(**limits))


def pitch(sound: audio.Samples) -> float:
    """Hz of the strongest tone."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * audio.SAMPLING_RATE / len(sound))


TWO_SECONDS = samples.tone(2)
STEREO_48 = samples.tone(2, sampling_rate=48000, channels=2)
NARROW = samples.tone(2, sampling_rate=8000)


def eight_bit_wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(((NARROW[0] + 1) * 127).astype(np.uint8).tobytes())
    return out.getvalue()


RECORDINGS = {
    "wav": lambda: samples.recording(TWO_SECONDS, form="wav", codec="pcm_s16le"),
    "stereo 48 kHz wav": lambda: samples.recording(STEREO_48, form="wav", codec="pcm_s24le", sampling_rate=48000),
    "8-bit wav": eight_bit_wav,
    "float wav": lambda: samples.recording(TWO_SECONDS, form="wav", codec="pcm_f32le"),
    "mp3": lambda: samples.recording(STEREO_48, form="mp3", codec="libmp3lame", sampling_rate=48000),
    "mp3 with cover art": lambda: samples.recording(
        STEREO_48, form="mp3", codec="libmp3lame", sampling_rate=48000, cover=b"png"
    ),
    "m4a": lambda: samples.recording(STEREO_48, form="ipod", codec="aac", sampling_rate=48000),
    "ogg opus": lambda: samples.recording(STEREO_48, form="ogg", codec="libopus", sampling_rate=48000),
    "webm": lambda: samples.recording(STEREO_48, form="webm", codec="libopus", sampling_rate=48000),
    "webm without duration": lambda: samples.recording(
        STEREO_48, form="webm", codec="libopus", sampling_rate=48000, live="1"
    ),
    "flac": lambda: samples.recording(STEREO_48, form="flac", codec="flac", sampling_rate=48000),
    "amr": lambda: samples.recording(NARROW, form="amr", codec="libopencore_amrnb", sampling_rate=8000),
    "aac": lambda: samples.recording(STEREO_48, form="adts", codec="aac", sampling_rate=48000),
}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_a_recording_keeps_its_length_and_its_tone(kind: str) -> None:
    made = clean(RECORDINGS[kind]())
    assert (made.kind, made.mime, made.extension, made.width) == ("audio", "audio/flac", "flac", None)
    assert made.duration_s == pytest.approx(2, abs=0.1)
    sound = audio.decode(made.data)
    assert len(sound) / audio.SAMPLING_RATE == made.duration_s
    assert pitch(sound) == pytest.approx(440, abs=2)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.1)


def test_not_a_sample_is_lost_at_the_end() -> None:
    made = clean(
        samples.recording(samples.tone(1, sampling_rate=48000), form="flac", codec="flac", sampling_rate=48000)
    )
    assert made.duration_s == pytest.approx(1, abs=1e-4)


def test_a_browser_recording_really_has_no_duration() -> None:
    import av

    with av.open(io.BytesIO(RECORDINGS["webm without duration"]())) as container:
        assert container.duration is None


def test_more_seconds_than_allowed_are_refused_by_the_header_and_by_the_count() -> None:
    """The second has no header to believe: eleven seconds are found by decoding."""
    for form in ({"form": "flac", "codec": "flac"}, {"form": "webm", "codec": "libopus", "live": "1"}):
        data = samples.recording(samples.tone(11, sampling_rate=48000), sampling_rate=48000, **form)
        with pytest.raises(TooLarge) as caught:
            clean(data, audio_seconds=6)
        assert str(caught.value) == "the recording is longer than 0.1 minutes; send it in parts"


def test_an_hour_of_silence_in_a_small_file_is_refused() -> None:
    silence = np.zeros((1, 3600 * 8000), dtype=np.float32)
    bomb = samples.recording(silence, form="flac", codec="flac", sampling_rate=8000)
    assert len(bomb) < 1_000_000
    silent_header = bomb[:21] + bytes([bomb[21] & 0xF0]) + bytes(4) + bomb[26:]  # number of samples: unknown
    for data in (bomb, silent_header):
        with pytest.raises(TooLarge):
            clean(data)


def test_one_sample_a_second_cannot_be_blown_up_into_hours() -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1)
        file.writeframes(bytes(2 * 500))
    with pytest.raises(MediaError, match="channels of 1 samples a second"):
        clean(out.getvalue())


def test_a_recording_without_a_sample_is_refused() -> None:
    with pytest.raises(MediaError) as caught:
        clean(audio.encode_wav(np.zeros(0, dtype=np.float32)))
    assert caught.value.code == "empty"


def test_a_video_is_refused_and_says_so() -> None:
    with pytest.raises(MediaError, match="this is a video") as caught:
        clean(samples.video())
    assert caught.value.code == "unsupported_type"


@pytest.mark.parametrize("kind", ["mp3", "ogg opus", "wav", "webm", "aac", "amr"])
def test_of_a_recording_cut_short_what_arrived_is_kept(kind: str) -> None:
    whole = RECORDINGS[kind]()
    made = clean(whole[: len(whole) * 6 // 10])
    assert made.duration_s is not None
    assert 0.5 < made.duration_s < 1.5


def test_a_damaged_stretch_costs_itself_alone() -> None:
    whole = bytearray(RECORDINGS["aac"]())
    for at in range(len(whole) // 2, len(whole) // 2 + 1200):
        if whole[at : at + 2] == b"\xff\xf1":  # a frame: keep its header, spoil what follows
            whole[at + 7 : at + 60] = b"\xff" * 53
    made = clean(bytes(whole))
    assert made.duration_s is not None
    assert 1.5 < made.duration_s <= 2.1


def test_an_m4a_cut_short_has_lost_its_index_and_is_refused() -> None:
    whole = RECORDINGS["m4a"]()
    with pytest.raises(MediaError) as caught:
        clean(whole[: len(whole) * 6 // 10])
    assert caught.value.code == "broken"


def test_metadata_is_dropped() -> None:
    tagged = RECORDINGS["wav"]() + b"LIST" + struct.pack("<I", 20) + b"INFOIART" + struct.pack("<I", 8) + b"SECRET!\0"
    assert b"SECRET" not in clean(tagged).data


def test_not_a_number_and_overdriven_samples_become_sound() -> None:
    wild = samples.tone(1)
    wild[0, 100:200] = np.nan
    wild[0, 300:400] = 50
    sound = audio.decode(clean(samples.recording(wild, form="wav", codec="pcm_f32le")).data)
    assert (np.abs(sound[100:200]).max(), sound[300:400].min()) == (0, 32767 / 32768)


def test_wav_and_flac_give_the_samples_back() -> None:
    sound = samples.tone(0.7)[0]
    for data in (audio.encode_wav(sound), audio.encode_flac(sound)):
        assert np.abs(audio.decode(data) - sound).max() <= 1 / 32767


def test_resampling_keeps_length_and_tone() -> None:
    sound = audio.resample(samples.tone(1, sampling_rate=44100)[0], sampling_rate=44100)
    assert (abs(len(sound) - 16000) <= 32, pitch(sound)) == (True, pytest.approx(440, abs=2))


def test_equal_sounds_give_equal_bytes() -> None:
    assert audio.encode_flac(TWO_SECONDS[0]) == audio.encode_flac(TWO_SECONDS[0].copy())
