"""What checking and re-encoding a file costs, and what of it is the sandbox: `python -m bench.sanitise`."""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from bench.common import write
from duomo.media import audio, sandbox, writing
from duomo.media.sanitise import sanitise
from duomo.media.sniff import sniff


def photo(width: int, height: int) -> bytes:
    """A JPEG with about as much detail as a phone's: smooth shapes and a little noise."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    noise = rng.normal(0, 6, (height, width, 1))
    return saved(Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)), "JPEG", quality=92)


def screenshot() -> bytes:
    """A PNG of a phone's screen: flat areas and text-like strokes."""
    pixels = np.full((2340, 1080, 3), 255, dtype=np.uint8)
    rng = np.random.default_rng(0)
    for line in range(100, 2300, 60):
        pixels[line : line + 30, 60:1000][rng.random((30, 940)) < 0.25] = 30
    return saved(Image.fromarray(pixels), "PNG")


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def voice_note(seconds: float) -> bytes:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * audio.SAMPLING_RATE)).astype(np.float32)
    return audio.encode_wav(samples)


def milliseconds(call: Callable[[], object], *, times: int) -> dict[str, float]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    taken.sort()
    return {
        "p50_ms": round(statistics.median(taken), 1),
        "p95_ms": round(taken[int(0.95 * (len(taken) - 1))], 1),
        "times": times,
    }


def main() -> None:
    start = time.perf_counter()
    sandbox.start()
    figures: dict[str, object] = {"start_of_the_zygote_ms": round(1000 * (time.perf_counter() - start), 1)}
    figures["sandbox alone (5 bytes of text)"] = milliseconds(
        lambda: sandbox.run(writing.clean, b"hello", max_characters=100), times=200
    )
    for name, data, times in (
        ("photo, 12 megapixels", photo(4000, 3000), 10),
        ("photo, 1.3 megapixels", photo(1280, 1024), 30),
        ("screenshot, 1080 x 2340 PNG", screenshot(), 10),
        ("voice note, 5 s WAV", voice_note(5), 50),
        ("voice note, 60 s WAV", voice_note(60), 20),
    ):
        sniffed = sniff(data)
        figures[name] = milliseconds(lambda data=data, sniffed=sniffed: sanitise(data, sniffed), times=times)
    figures["load of the machine meanwhile"] = round(os.getloadavg()[0], 1)
    path = write(
        "sanitise", what="time to check and re-encode one file, warm", figures=figures, data="made by the script"
    )
    print(path.read_text())


if __name__ == "__main__":
    main()
