"""What a sound is like, without any learned weights: its spectrum over time, loudness, pitch and pauses.

Recognisers hear words; how something is said, and sounds that are not speech, show here.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]  # (samples,) at 16 kHz, in [-1, 1]
Floats = NDArray[np.float32]

SAMPLING_RATE = 16_000
WINDOW, HOP, FFT = 400, 160, 512  # 25 ms every 10 ms
BANDS = 40
COLUMNS = 16  # of the time grid
RANGE_DB = 80.0  # what is fainter than the loudest moment by more counts as silence
QUIET_DB = 35.0  # below the loudest moment: leading and trailing frames are no part of the grid

PITCH_WINDOW, PITCH_HOP, PITCH_FFT = 640, 320, 2048  # 40 ms every 20 ms; correlation without wrapping round
LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0
VOICED = 0.45  # normalised autocorrelation at the best lag

CEPSTRA = 20
WAVES = (13, 8)  # of the grid: the slowest across bands, and along time
RHYTHM_HZ = (0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 50.0)  # bounds of the speeds at which loudness changes
RHYTHM_BANDS = 8
SHAPE = 10  # cepstra whose common movement is kept

_PROSODY = 27
DIM = (
    6 * BANDS
    + 5 * CEPSTRA
    + RHYTHM_BANDS * (len(RHYTHM_HZ) - 1)
    + SHAPE * (SHAPE + 1) // 2
    + WAVES[0] * WAVES[1]
    + _PROSODY
)


def spectrum(waveform: Waveform) -> Floats:
    """Statistics of 40 log-mel bands and their cepstra, rhythm, the course over time, and prosody.

    Which of these, and in what form, was chosen on ESC-10 and on spoken digits of unknown speakers
    (docs/experiments.md).

    Returns:
        (582,) float32, in bels (10 dB) where they are levels:
        240 mean, deviation, minimum, maximum of each band, mean and deviation of its changes;
        100 mean, deviation, deviation of changes, 10th and 90th percentile of 20 cepstra;
        56 how strongly 8 groups of bands change at 7 speeds;
        55 covariances of 10 cepstra;
        104 the slowest 13 x 8 waves of a grid of 40 bands x 16 times, from which each band's mean is taken, so that
        microphone and voice weigh less;
        27 loudness, brightness, pitch, pauses and duration.
    """
    padded = np.pad(waveform, (0, max(0, WINDOW - len(waveform))))
    power = _power(padded)  # (frames, 257)
    mel = _decibels(power @ _filters())  # (frames, 40)
    loudness = _decibels(power.sum(axis=1))
    inside = mel[_sounding(loudness)]
    found = [_statistics(mel), _cepstra(mel), _rhythm(mel), _shape(inside), _course(inside)]
    return np.concatenate([*found, _prosody(padded, power, loudness)], dtype=np.float32)


def _power(waveform: Waveform) -> Floats:
    frames = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW)[::HOP]
    found: Floats = np.abs(np.fft.rfft(frames * _hann(), FFT)).astype(np.float32) ** 2
    return found


@cache
def _hann() -> Floats:
    return np.hanning(WINDOW).astype(np.float32)


@cache
def _filters() -> Floats:
    """(257, 40) triangles, evenly spaced on the mel scale from 40 to 7800 Hz."""
    edges = 700 * (10 ** (np.linspace(_mel(40.0), _mel(7800.0), BANDS + 2) / 2595) - 1)
    hertz = np.arange(FFT // 2 + 1)[:, None] * SAMPLING_RATE / FFT
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _decibels(power: Floats) -> Floats:
    """In bels, 10 dB each. The floor lies `RANGE_DB` below the loudest value."""
    floor = max(float(power.max(initial=0)) * 10 ** (-RANGE_DB / 10), 1e-10)
    found: Floats = np.log10(np.maximum(power, floor))
    return found


def _sounding(loudness: Floats) -> slice:
    """From the first to the last frame that is not quiet."""
    heard = np.flatnonzero(loudness > loudness.max() - QUIET_DB / 10)
    return slice(int(heard[0]), int(heard[-1]) + 1)


def _statistics(mel: Floats) -> Floats:
    changes = np.diff(mel, axis=0) if len(mel) > 1 else np.zeros_like(mel)
    return np.concatenate(
        [mel.mean(0), mel.std(0), mel.min(0), mel.max(0), np.abs(changes).mean(0), changes.std(0)], dtype=np.float32
    )


@cache
def _waves(points: int, count: int) -> Floats:
    """(points, count): the slowest orthogonal cosines over so many points, the constant first."""
    at = (np.arange(points) + 0.5) / points
    waves: Floats = (np.cos(np.pi * at[:, None] * np.arange(count)) * np.sqrt(2 / points)).astype(np.float32)
    return waves


def _cepstra(mel: Floats) -> Floats:
    cepstra = mel @ _waves(BANDS, CEPSTRA)
    changes = np.diff(cepstra, axis=0) if len(cepstra) > 1 else np.zeros_like(cepstra)
    low, high = np.percentile(cepstra, [10, 90], axis=0)
    return np.concatenate([cepstra.mean(0), cepstra.std(0), changes.std(0), low, high], dtype=np.float32)


def _rhythm(mel: Floats) -> Floats:
    """(frames, 40) -> (56,): log strength of slow and fast changes, of at least five seconds (silence follows)."""
    groups = mel.reshape(len(mel), RHYTHM_BANDS, -1).mean(axis=2)
    length = max(512, len(groups))
    strength = np.abs(np.fft.rfft(groups - groups.mean(0), length, axis=0))
    hertz = np.fft.rfftfreq(length, HOP / SAMPLING_RATE)
    bands = [strength[(hertz >= low) & (hertz < high)].mean(0) for low, high in pairwise(RHYTHM_HZ)]
    found: Floats = np.log(np.concatenate(bands) + 1e-3)
    return found


def _shape(mel: Floats) -> Floats:
    """(frames, 40) -> (55,): which cepstra move together."""
    cepstra = (mel - mel.mean(0)) @ _waves(BANDS, SHAPE)
    common: Floats = cepstra.T @ cepstra / len(cepstra)
    return common[np.triu_indices(SHAPE)]


def _course(mel: Floats) -> Floats:
    """(frames, 40) -> (104,): 16 means over equal parts of the sound, and of that picture the slowest waves."""
    bounds = np.linspace(0, len(mel), COLUMNS + 1)
    total = np.concatenate([np.zeros((1, BANDS), np.float32), np.cumsum(mel - mel.mean(0), axis=0)])
    # Parts need not end at a frame: the running sum is read in between.
    at = np.minimum(bounds.astype(np.int64), len(mel) - 1)
    reached = total[at] + (bounds - at)[:, None] * (total[at + 1] - total[at])
    grid = np.diff(reached, axis=0) / (len(mel) / COLUMNS)  # (16, 40)
    waves: Floats = _waves(BANDS, WAVES[0]).T @ grid.T @ _waves(COLUMNS, WAVES[1])
    return waves.ravel()


def _prosody(waveform: Waveform, power: Floats, loudness: Floats) -> Floats:
    return np.array([*_loudness(loudness), *_brightness(power, waveform), *_pitch(waveform), *_pauses(loudness)])


def _loudness(loudness: Floats) -> list[float]:
    low, middle, high = np.percentile(loudness, [10, 50, 90])
    slope = _slope(loudness)
    return [float(v) for v in (loudness.mean(), loudness.std(), loudness.max(), low, middle, high, high - low, slope)]


def _brightness(power: Floats, waveform: Waveform) -> list[float]:
    share = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-10)
    kilohertz = np.arange(power.shape[1]) * (SAMPLING_RATE / FFT / 1000)
    centre = share @ kilohertz
    spread = np.sqrt(np.maximum(share @ kilohertz**2 - centre**2, 0))
    flat = np.log(np.maximum(power, 1e-10)).mean(1) - np.log(np.maximum(power.mean(1), 1e-10))
    crossings = np.mean(np.signbit(waveform[1:]) != np.signbit(waveform[:-1]))
    return [float(v) for v in (centre.mean(), centre.std(), spread.mean(), flat.mean(), flat.std(), 10 * crossings)]


@cache
def _correlation_of_window() -> NDArray[np.float64]:
    return np.fft.irfft(np.abs(np.fft.rfft(np.hanning(PITCH_WINDOW), PITCH_FFT)) ** 2)


def pitch(waveform: Waveform) -> tuple[Floats, Floats]:
    """Fundamental frequency by autocorrelation.

    Returns:
        (frames,) float32 Hz, every 20 ms, and (frames,) how periodic the sound is there, in [0, 1].

    Source: Boersma 1993, Accurate short-term analysis of the fundamental frequency, without its search for a path.
    """
    padded = np.pad(waveform, (0, max(0, PITCH_WINDOW - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, PITCH_WINDOW)[::PITCH_HOP]
    tapered = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(PITCH_WINDOW)
    lags = np.arange(int(SAMPLING_RATE / HIGHEST_HZ), int(SAMPLING_RATE / LOWEST_HZ) + 1)
    # A window's own correlation falls with the lag; dividing by it leaves the sound's.
    of_window = _correlation_of_window()
    of_sound = np.fft.irfft(np.abs(np.fft.rfft(tapered, PITCH_FFT)) ** 2)  # (frames, 2048)
    energy = np.maximum(of_sound[:, :1], 1e-6)
    periodic = of_sound[:, lags] / energy * (of_window[0] / of_window[lags])
    # Multiples of the period correlate as well; a small price on long lags prefers the first.
    best = np.argmax(periodic - 0.0005 * (lags - lags[0]), axis=1)
    strength = np.clip(periodic[np.arange(len(best)), best], 0, 1)
    return (SAMPLING_RATE / lags[best]).astype(np.float32), strength.astype(np.float32)


def _pitch(waveform: Waveform) -> list[float]:
    """In octaves above 100 Hz over the voiced frames; zeros where nothing is voiced."""
    hertz, strength = pitch(waveform)
    voiced = strength > VOICED
    share = float(voiced.mean())
    if voiced.sum() < 2:
        return [0.0, 0.0, 0.0, share, 0.0, float(strength.mean())]
    octaves = np.log2(hertz[voiced] / 100)
    low, high = np.percentile(octaves, [5, 95])
    found = (octaves.mean(), octaves.std(), high - low, share, _slope(octaves), strength.mean())
    return [float(value) for value in found]


def _pauses(loudness: Floats) -> list[float]:
    """Duration, share and number of pauses of at least 0.1 s, and loudness peaks a second: syllables, about."""
    inside = loudness[_sounding(loudness)]
    seconds = len(inside) * HOP / SAMPLING_RATE
    quiet = inside < inside.max() - 3.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    lengths = (edges[1::2] - edges[::2]) * HOP / SAMPLING_RATE
    long = lengths[lengths >= 0.1]
    smooth = np.convolve(inside, np.ones(7) / 7, mode="same")
    middle = smooth[1:-1]
    peaks = np.sum((middle > smooth[:-2]) & (middle >= smooth[2:]) & (middle > inside.max() - 2.0))
    return [
        float(np.log(len(loudness) * HOP / SAMPLING_RATE)),
        float(np.log(seconds)),
        float(long.sum() / seconds),
        len(long) / seconds,
        float(long.mean()) if len(long) else 0.0,
        float(peaks) / seconds / 4,
        float(np.argmax(inside) / len(inside)),
    ]


def _slope(values: Floats) -> float:
    """Of a straight line through the values, over their whole length."""
    if len(values) < 2:
        return 0.0
    x = np.linspace(-0.5, 0.5, len(values))
    return float(np.dot(x, values - values.mean()) / np.dot(x, x))
