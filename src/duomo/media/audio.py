"""Sound: foreign bytes to mono 16 kHz FLAC; and that to arrays."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.stream import Disposition

from duomo.errors import MediaError, TooLarge
from duomo.media.sandbox import Reply
from duomo.media.sniff import HEAD, sniff

SAMPLING_RATE = 16000
"""Hz, of every sound inside Duomo: what speech recognisers take."""

Samples = npt.NDArray[np.float32]
"""(samples,) float32 in [-1, 1], mono."""

DEMUXERS = {
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp4": "mov",
    "audio/ogg": "ogg",
    "audio/webm": "matroska",
    "audio/flac": "flac",
    "audio/amr": "amr",
    "audio/aac": "aac",
}
"""FFmpeg's reader by type. Left to guess it would also follow playlists, which name other files and addresses."""


def clean(data: bytes, *, mime: str, max_seconds: float) -> Reply:
    """Re-encode a foreign sound as mono 16 kHz FLAC without metadata. For the sandbox only.

    Returns:
        {mime, extension, duration_s} and the bytes.
    Raises:
        TooLarge: longer than max_seconds; counted while decoding, since headers lie.
        MediaError: damaged; without sound; or a video.
    """
    with _opened(data, DEMUXERS[mime]) as container:
        samples = _decoded(container, max_seconds)
    duration_s = len(samples) / SAMPLING_RATE
    return {"mime": "audio/flac", "extension": "flac", "duration_s": duration_s}, [encode_flac(samples)]


def _opened(data: bytes, demuxer: str) -> InputContainer:
    try:
        return av.open(io.BytesIO(data), mode="r", format=demuxer, metadata_errors="replace")
    except (av.error.FFmpegError, EOFError, ValueError):
        raise MediaError("the recording is damaged; record or export it again", code="broken") from None


def _decoded(container: InputContainer, max_seconds: float) -> Samples:
    """(samples,) float32 at 16 kHz."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            raise MediaError("this is a video; accepted are pictures, sound and documents", code="unsupported_type")
    if not container.streams.audio:
        raise MediaError("the file holds no sound", code="empty")
    if container.duration is not None and container.duration / av.time_base > max_seconds + 1:
        raise _too_long(max_seconds)
    chunks: list[Samples] = []
    left = int(max_seconds * SAMPLING_RATE)
    for chunk in _at_16_khz(_frames(container)):
        left -= len(chunk)
        if left < 0:
            raise _too_long(max_seconds)
        chunks.append(chunk)
    if not chunks:
        raise MediaError("the recording is empty: it holds no sound", code="empty")
    return np.concatenate(chunks)


def _too_long(max_seconds: float) -> TooLarge:
    return TooLarge(f"the recording is longer than {max_seconds / 60:g} minutes; send it in parts")


def _frames(container: InputContainer) -> Iterator[AudioFrame]:
    """Decode the first sound; a damaged packet costs its own milliseconds, a recording cut short its end."""
    stream = container.streams.audio[0]
    stream.codec_context.thread_count = 1
    good = bad = 0
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    if not isinstance(frame, AudioFrame):
                        continue
                    good += 1
                    yield frame
            except MemoryError:
                raise
            except av.error.FFmpegError:  # each decoder has errors of its own for damage
                bad += 1
    except (av.error.FFmpegError, EOFError):
        bad += 1
    if bad and bad >= good:
        raise MediaError("the recording is damaged; record or export it again", code="broken")


_MOST_CHANNELS = 8
_RATES = range(4000, 384001)  # Hz; outside, resampling would make much from little


def _at_16_khz(frames: Iterator[AudioFrame]) -> Iterator[Samples]:
    resampler: AudioResampler | None = None
    form = None
    for frame in frames:
        if frame.sample_rate not in _RATES or frame.layout.nb_channels > _MOST_CHANNELS:
            raise MediaError(
                f"the recording has {frame.layout.nb_channels} channels of {frame.sample_rate} samples a second; "
                f"accepted are {_MOST_CHANNELS} channels of 4000 to 384000"
            )
        this = frame.format.name, frame.layout.name, frame.sample_rate
        if this != form:  # AAC may change it on the way
            yield from _resampled(resampler, None)
            resampler = AudioResampler(format="fltp", layout=frame.layout, rate=SAMPLING_RATE)
            form = this
        frame.pts = None
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _resampled(resampler: AudioResampler | None, frame: AudioFrame | None) -> Iterator[Samples]:
    """Channels are averaged here: FFmpeg's own mixing to mono adds them up, and loud stereo would be clipped."""
    for out in resampler.resample(frame) if resampler is not None else ():
        samples = np.nan_to_num(out.to_ndarray().astype(np.float32, copy=False))  # (channels, samples)
        yield samples.mean(axis=0).clip(-1, 1)


# --- of one's own files, in any process


def read(data: bytes, *, max_seconds: float) -> Samples:
    """Decode one's own sound, of any accepted format, in this process; a stranger's goes through `sanitise`.

    Training reads many short files of the user's own: the sandbox's 5 ms for each would double the time.

    Returns:
        (samples,) float32 in [-1, 1], mono, 16 kHz; what follows after max_seconds is left out.
    Raises:
        MediaError: not a sound, damaged, or empty.
    """
    found = sniff(data[:HEAD])
    if found.kind != "audio":
        raise MediaError(f"this is {found.mime}, expected a sound: {', '.join(DEMUXERS)}", code="unsupported_type")
    try:
        with _opened(data, DEMUXERS[found.mime]) as container:
            samples = track(container, max_seconds=max_seconds)
    except (av.error.FFmpegError, EOFError, ValueError, IndexError):
        raise MediaError("the recording is damaged; record or export it again", code="broken") from None
    if samples is None:
        raise MediaError("the file holds no sound", code="empty")
    return samples


def track(container: InputContainer, *, max_seconds: float) -> Samples | None:
    """The first sound of an opened file, such as a video's, up to max_seconds; None where it holds none.

    Raises:
        MediaError: more damaged packets than whole ones.
    """
    if not container.streams.audio:
        return None
    if container.streams.audio[0].codec_context is None:
        raise MediaError("the sound is in a format that cannot be decoded; export it as WAV", code="broken")
    chunks: list[Samples] = []
    left = int(max_seconds * SAMPLING_RATE)
    for chunk in _at_16_khz(_frames(container)):
        chunks.append(chunk[:left])
        left -= len(chunks[-1])
        if left <= 0:
            break
    return np.concatenate(chunks) if chunks else None


# --- over clean bytes, in any process


def decode(data: bytes) -> Samples:
    """Decode a sound that `clean` or `encode_wav` made.

    Returns:
        (samples,) float32 in [-1, 1], 16 kHz.
    Raises:
        MediaError: neither FLAC nor WAV, or damaged.
    """
    demuxer = {b"fLaC": "flac", b"RIFF": "wav"}.get(data[:4])
    if demuxer is None:
        raise MediaError("not a sound Duomo stored; give it to `sanitise` first", code="broken")
    with _opened(data, demuxer) as container:
        return _decoded(container, max_seconds=24 * 3600)


def resample(samples: Samples, *, sampling_rate: int, to: int = SAMPLING_RATE) -> Samples:
    """(samples,) float32 at `sampling_rate` Hz to the same sound at `to` Hz."""
    if sampling_rate == to or len(samples) == 0:
        return samples
    resampler = AudioResampler(format="fltp", layout="mono", rate=to)
    frame = _frame(samples.astype(np.float32, copy=False), "fltp", sampling_rate)
    return np.concatenate([*_resampled(resampler, frame), *_resampled(resampler, None)])


def encode_wav(samples: Samples, *, sampling_rate: int = SAMPLING_RATE) -> bytes:
    """(samples,) float32 in [-1, 1] to 16-bit mono WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sampling_rate)
        file.writeframes(_sixteen_bit(samples).tobytes())
    return out.getvalue()


def encode_flac(samples: Samples) -> bytes:
    """(samples,) float32 in [-1, 1] at 16 kHz to 16-bit mono FLAC; equal samples give equal bytes."""
    out = io.BytesIO()
    with av.open(out, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=SAMPLING_RATE, layout="mono", format="s16")
        for start in range(0, len(samples), 4096):
            frame = _frame(_sixteen_bit(samples[start : start + 4096]), "s16", SAMPLING_RATE)
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def _sixteen_bit(samples: Samples) -> npt.NDArray[np.int16]:
    return (samples.clip(-1, 1) * 32767).round().astype("<i2")


def _frame(samples: npt.NDArray[np.float32] | npt.NDArray[np.int16], form: str, sampling_rate: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format=form, layout="mono")
    frame.sample_rate = sampling_rate
    return frame
