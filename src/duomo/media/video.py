"""Video: a few pictures evenly spread over it, and its sound."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from duomo.errors import MediaError, TooLarge
from duomo.media import audio

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3) uint8 RGB."""

MAX_PIXELS = 40_000_000  # of one frame
MAX_SIDE = 512  # pixels; encoders take 224
MAX_FRAMES_A_SECOND = 240  # a file that claims more is cut there
JUMP_S = 4.0  # to a picture further away we jump to the key frame before it, where the container has an index


@dataclass(frozen=True, slots=True)
class Clip:
    """What is left of a video."""

    frames: tuple[Pixels, ...]  # at least one, upright, all of one size
    times: tuple[float, ...]  # seconds from the first picture
    waveform: audio.Samples | None  # mono 16 kHz; None where there is no sound


def decode(data: bytes | Path, *, frames: int = 8, max_seconds: float = 60.0) -> Clip:
    """Sample a video: MP4, MOV, WebM, Matroska, AVI, MPEG-1, MPEG-2, MPEG-TS or Ogg.

    Runs in this process, for the user's own files; what follows after max_seconds is not looked at. Without a sound
    track, or with one that is damaged, the clip is silent.

    Raises:
        TooLarge: a frame of more than `MAX_PIXELS`.
        MediaError: not a video, or without a single picture that can be decoded.
    """
    if isinstance(data, Path):
        data = _bytes(data)
    form = _demuxer(data[:4096])
    try:
        with _opened(data, form) as container:
            stamps = _stamps(container, max_seconds)
        with _opened(data, form) as container:
            shown = _sampled(container, stamps, frames)
    except (av.error.FFmpegError, EOFError, ValueError, IndexError):  # the last where streams come and go
        raise MediaError("the video is damaged; record or export it again", code="broken") from None
    if not shown:
        raise MediaError("no picture of the video can be decoded; record or export it again", code="broken")
    first = shown[0][0]
    return Clip(
        frames=tuple(picture for _, picture in shown),
        times=tuple(round(float(time - first), 3) for time, _ in shown),
        waveform=_sound(data, form, max_seconds),
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read: {error.strerror}", code="broken") from None


def _demuxer(head: bytes) -> str:
    """FFmpeg's reader by the first bytes. Left to guess it would also follow playlists, which name other files."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == b"\x00\x00\x01\xba":
        return "mpeg"
    if head[:4] == b"\x00\x00\x01\xb3":
        return "mpegvideo"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:1] == b"\x47" and head[188:189] == b"\x47" and head[376:377] == b"\x47":
        return "mpegts"
    if not head:
        raise MediaError("the video is empty (0 bytes)", code="empty")
    raise MediaError(
        "not a video, judged by its content. Accepted: mp4, mov, webm, mkv, avi, mpg, ts, ogv.", code="unsupported_type"
    )


def _opened(data: bytes, form: str) -> InputContainer:
    return av.open(io.BytesIO(data), mode="r", format=form, metadata_errors="replace")


def _stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise MediaError("the file holds no pictures; give it as audio", code="unsupported_type")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise MediaError("the pictures are in a format that cannot be decoded; export the video as MP4", code="broken")
    pixels = stream.codec_context.width * stream.codec_context.height
    if pixels > MAX_PIXELS:
        raise TooLarge(f"the video has {pixels:,} pixels a frame, accepted are {MAX_PIXELS:,}; scale it down")
    stream.codec_context.thread_count = 1
    return stream


def _stamps(container: InputContainer, max_seconds: float) -> list[Fraction]:
    """When pictures are shown, in seconds, ascending, without decoding any.

    Headers lie about the duration, and MPEG-1 has none. Pictures without a time are counted instead.
    """
    stream = _stream(container)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    stamps: list[Fraction] = []
    most = int(max_seconds * MAX_FRAMES_A_SECOND)
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.pts is None or packet.time_base is None:
                stamps.append(stamps[-1] + 1 / rate if stamps else Fraction(0))
            else:
                stamps.append(packet.pts * packet.time_base)
            if len(stamps) >= most or stamps[-1] > min(stamps) + Fraction(max_seconds):
                break
    except (av.error.FFmpegError, EOFError):
        pass  # cut short: what came before counts
    return sorted(stamps)


def _sampled(container: InputContainer, stamps: list[Fraction], frames: int) -> list[tuple[Fraction, Pixels]]:
    """The pictures in the middle of `frames` equal parts; fewer where there are fewer."""
    wanted = [stamps[int((part + 0.5) * len(stamps) / frames)] for part in range(frames)] if stamps else [Fraction(0)]
    found: list[tuple[Fraction, Pixels]] = []
    last: tuple[Fraction, VideoFrame] | None = None
    for time, frame in _shown(container, sorted(set(wanted)), most=len(stamps)):
        last = time, frame
        if len(found) < len(wanted) and time >= wanted[len(found)]:
            picture = _pixels(frame)
            while len(found) < len(wanted) and time >= wanted[len(found)]:
                found.append((time, picture))
            if len(found) == len(wanted):
                break
    if last is not None and len(found) < len(wanted):  # damaged, or cut short: its last picture stands for the rest
        found += [(last[0], _pixels(last[1]))] * (len(wanted) - len(found))
    return found


def _shown(container: InputContainer, wanted: list[Fraction], *, most: int) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Pictures with their times, in order. Between two wanted ones that lie far apart, it jumps."""
    stream = _stream(container)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    far = any(after - before > JUMP_S for before, after in pairwise(wanted))
    indexed = container.format.name.startswith(("mov", "matroska"))
    time = wanted[0] - 1 / rate
    for target in wanted if far and indexed else wanted[-1:]:
        if far and indexed and stream.time_base:
            container.seek(int(target / stream.time_base), stream=stream, backward=True)
        for frame in _decoded(container, stream, most=most):
            at = frame.pts * frame.time_base if frame.pts is not None and frame.time_base else time + 1 / rate
            if at <= time and far and indexed:
                continue  # the jump went back behind what was shown
            time = at
            yield time, frame
            if time >= target:
                break


def _decoded(container: InputContainer, stream: VideoStream, *, most: int) -> Iterator[VideoFrame]:
    """A damaged packet costs its own pictures, a video cut short its end."""
    left = most + 16  # decoders hold a few back
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    if isinstance(frame, VideoFrame):
                        yield frame
            except MemoryError:
                raise
            except av.error.FFmpegError:  # each decoder has errors of its own for damage
                pass
            left -= 1
            if left < 0:
                return
    except (av.error.FFmpegError, EOFError):
        return


def _pixels(frame: VideoFrame) -> Pixels:
    if frame.width * frame.height > MAX_PIXELS:  # a stream may change its size on the way
        raise TooLarge(f"the video has frames of {frame.width} x {frame.height} pixels; scale it down")
    scale = min(1.0, MAX_SIDE / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    turned: Pixels = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
    return turned


def _sound(data: bytes, form: str, max_seconds: float) -> audio.Samples | None:
    try:
        with _opened(data, form) as container:
            return audio.track(container, max_seconds=max_seconds)
    except (av.error.FFmpegError, EOFError, ValueError, IndexError, MediaError):
        return None
