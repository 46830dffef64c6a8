"""What the default encoders tell apart, each view with a plain linear classifier, and what they cost.

`python -m bench.encoders [--data ../shared/data]`. Every score is accuracy in percent of a logistic regression on
standardised features, C = 0.01, chosen once for all. No official test part is read: FSDD gives every second recording
of its train part and leaves one speaker out at a time, ESC-10 has five folds, products a validation part, and MNIST
4,000 pictures of its train part to learn and 2,000 others of it to judge.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.common import write
from duomo.learn.encoders import encode, encoders_for
from duomo.media import audio
from duomo.models.encoders import Encoders, pooled_states, read
from duomo.models.features import Features
from duomo.types import Sample

Split = tuple[np.ndarray, np.ndarray]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def accuracy(matrix: np.ndarray, labels: np.ndarray, splits: Sequence[Split]) -> float:
    right = []
    for train, held in splits:
        scaler = StandardScaler().fit(matrix[train])
        probe = LogisticRegression(C=0.01, max_iter=100).fit(scaler.transform(matrix[train]), labels[train])
        right.append(float(np.mean(probe.predict(scaler.transform(matrix[held])) == labels[held])))
    return round(100 * float(np.mean(right)), 1)


def by_view(features: Features, labels: Sequence[object], splits: Sequence[Split]) -> dict[str, float]:
    wanted = np.array([str(label) for label in labels])
    both = np.concatenate(list(features.dense.values()), axis=1)
    figures = {name: accuracy(view, wanted, splits) for name, view in [*features.dense.items(), ("together", both)]}
    print(figures, flush=True)
    return figures


def leave_one_out(groups: Sequence[object]) -> list[Split]:
    given = np.array([str(group) for group in groups])
    return [(np.flatnonzero(given != one), np.flatnonzero(given == one)) for one in sorted(set(given))]


def fsdd(data: Path, cache: Path) -> dict[str, float]:
    records = [r for r in lines(data / "speech/fsdd/manifest.jsonl") if r["split"] == "train"][::2]
    found = encode([Sample(r["file"], audio=data / "speech" / r["file"]) for r in records], cache=cache)
    return by_view(found.features, [r["digit"] for r in records], leave_one_out([r["speaker"] for r in records]))


def esc10(data: Path, cache: Path) -> dict[str, float]:
    records = lines(data / "speech/esc10/manifest.jsonl")
    found = encode([Sample(r["file"], audio=data / "speech" / r["file"]) for r in records], cache=cache)
    return by_view(found.features, [r["label"] for r in records], leave_one_out([r["fold"] for r in records]))


def products(data: Path, cache: Path) -> dict[str, float]:
    records = lines(data / "images/products/manifest.jsonl")
    found = encode([Sample(r["file"], image=data / "images" / r["file"]) for r in records], cache=cache)
    part = np.array([r["split"] for r in records])
    split = np.flatnonzero(part == "train"), np.flatnonzero(part == "validation")
    return by_view(found.features, [r["label"] for r in records], [split])


def mnist(data: Path, cache: Path, folder: Path) -> dict[str, float]:
    archive = np.load(data / "trimodal/mnist/mnist.npz")
    pictures, labels = archive["train_x"], archive["train_y"]  # each access unpacks all of them
    rows = [*range(4000), *range(20000, 22000)]
    given = []
    for row in rows:
        path = folder / f"{row}.png"
        Image.fromarray(pictures[row].reshape(28, 28)).save(path)
        given.append(Sample(str(row), image=path))
    found = encode(given, cache=cache)
    return by_view(found.features, labels[rows].tolist(), [(np.arange(4000), np.arange(4000, 6000))])


def padding(data: Path) -> dict[str, dict[str, float]]:
    """Silence behind a sound in the recogniser's window: what it buys on every sixth digit of FSDD, and costs."""
    records = [r for r in lines(data / "speech/fsdd/manifest.jsonl") if r["split"] == "train"][::6]
    sounds = [read("audio", (data / "speech" / r["file"]).read_bytes()) for r in records]
    model = Encoders.for_modalities(["audio"]).models.whisper()
    figures = {}
    for seconds in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0):
        began = time.perf_counter()
        matrix = np.stack([pooled_states(Padded(model, seconds), np.asarray(sound)) for sound in sounds])
        cost = 1000 * (time.perf_counter() - began) / len(sounds)
        labels = np.array([str(r["digit"]) for r in records])
        right = accuracy(matrix, labels, leave_one_out([r["speaker"] for r in records]))
        figures[f"{seconds} s"] = {"accuracy": right, "ms": round(cost, 1)}
    return figures


class Padded:
    """The recogniser with another padding than its own."""

    def __init__(self, model: Any, seconds: float) -> None:
        self._model, self._seconds = model, seconds

    def states(self, waveform: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.states(waveform, pad_s=self._seconds))


def milliseconds(call: Callable[[], object], *, times: int = 20) -> float:
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - began))
    return round(float(np.median(taken)), 2)


def tickets(data: Path, folder: Path, count: int = 200) -> list[Sample]:
    """Short texts, each with a small picture and one second of sound, all different."""
    texts = lines(data / "intents-en/banking77/train.jsonl")
    pictures = lines(data / "images/products/manifest.jsonl")
    sounds = itertools.cycle(lines(data / "speech/esc10/manifest.jsonl"))
    found = []
    for number in range(count):
        waveform = np.resize(read("audio", (data / "speech" / next(sounds)["file"]).read_bytes()), 48000)
        path = folder / f"{number}.wav"
        path.write_bytes(audio.encode_wav(np.asarray(waveform[16000:32000], dtype=np.float32)))
        image = data / "images" / pictures[number]["file"]
        found.append(Sample(str(number), text=texts[number * 7]["text"], image=image, audio=path))
    return found


def costs(data: Path, folder: Path) -> dict[str, Any]:
    given = tickets(data, folder)
    encoders = encoders_for({}, given)
    encode(given[:4], encoders=encoders)
    values = {"text": given[0].text}
    values |= {name: read(name, getattr(given[0], name).read_bytes()) for name in ("image", "audio")}
    clips = sorted((data / "trimodal/grid").glob("*.mpg"))
    video = Encoders.for_modalities(["video"], models=encoders.models)
    clip = read("video", clips[0].read_bytes())
    figures: dict[str, Any] = {
        view.name: milliseconds(lambda view=view: encoders.encoder(view).encode(values[view.modality]))
        for view in encoders.views
    }
    figures |= {
        view.name: milliseconds(lambda view=view: video.encoder(view).encode(clip), times=5) for view in video.views
    }
    figures["decode a 3 s MPEG-1 clip"] = milliseconds(lambda: read("video", clips[0].read_bytes()), times=5)
    rows: dict[str, float] = {}
    for workers in (1, 2):
        began = time.perf_counter()
        encode(given, encoders=encoders, workers=workers)
        rows[f"{workers} threads"] = round(time.perf_counter() - began, 2)
    return {"milliseconds, one thread": figures, "200 trimodal rows from files, seconds": rows}


def cache_speed(folder: Path) -> float:
    """Seconds to read 10,000 rows of three dense views of 1,000 to 2,600 numbers."""
    from duomo.learn.cache import Cache

    views = [view for modality in ("image", "audio") for view in Encoders.for_modalities([modality]).views][:3]
    keys = [number.to_bytes(16, "big") for number in range(10_000)]
    cache = Cache(folder / "speed")
    rng = np.random.default_rng(0)
    for view in views:
        vector = rng.normal(size=view.dim).astype(np.float32)
        for key in keys:
            cache.put(view, key, vector)
    cache.close()
    cache = Cache(folder / "speed")
    began = time.perf_counter()
    for view in views:
        matrix = np.empty((len(keys), view.dim), dtype=np.float32)
        for row, (_, found) in enumerate(cache.get(view, keys)):
            matrix[row] = np.asarray(found)
    cache.close()
    return round(time.perf_counter() - began, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="keeps the features for the next run")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"{options.data} is not there: give the folder of the real data with --data")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = options.cache or folder / "cache"
        figures: dict[str, Any] = {
            "costs": costs(options.data, folder),
            "load of the machine meanwhile": round(os.getloadavg()[0], 1),
            "10,000 rows x 3 views from the cache, seconds": cache_speed(folder),
            "FSDD, leave one speaker out": fsdd(options.data, cache),
            "ESC-10, 5 folds": esc10(options.data, cache),
            "products, validation": products(options.data, cache),
            "MNIST, 4,000 to learn": mnist(options.data, cache, folder),
            "FSDD by padding": padding(options.data),
        }
    out = io.StringIO()
    json.dump(figures, out, indent=2)
    print(out.getvalue())
    path = write(
        "encoders",
        what="accuracy of a logistic regression on each view, and what encoding costs",
        figures=figures,
        data="FSDD, ESC-10, products, MNIST, BANKING77, GRID of ../shared/data; train and validation parts",
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
