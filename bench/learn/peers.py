"""Side by side with what a practitioner would write instead: same rows, same machine, same minute, one thread.

    python -m bench.learn.peers trimodal smp2020 --data ../shared/data

Peers get the same embeddings and usual settings, the logistic regression its best of four strengths by
cross-validation; nothing is tuned on the development rows, neither theirs nor ours.
LightGBM is not among the project's packages: `pip install lightgbm` first, or its row is left out and said so.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct
from scipy.sparse import csr_matrix, hstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from bench.learn import tasks
from bench.learn.measure import CACHE, figures, merge, train
from duomo.learn.encoders import encode
from duomo.models.features import Features
from duomo.types import Sample

WHAT = (
    "share right on the development rows, and seconds of wall and processor from features (TF-IDF and hand features: "
    "from raw files) to the last prediction; one run, one thread, same rows for all"
)
SETS = ("trimodal", "smp2020", "av_mnist", "handwritten6", "fsdd:theo")
TREES = 60  # boosting rounds; a class costs a tree each

Labels = NDArray[np.str_]
Predict = Callable[[], NDArray[Any]]


def timed(run: Predict, truth: Labels) -> dict[str, Any]:
    clock, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted = run()
    return {
        "accuracy": round(float((predicted == truth).mean()), 4),
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def concatenated(features: Features) -> NDArray[np.float32]:
    """(n, D): all dense views side by side; a missing modality's zeros stay."""
    return np.concatenate(list(features.dense.values()), axis=1)


def peers(
    train_: list[Sample], dev: list[Sample], head: str, features: tuple[Features, Features]
) -> dict[str, dict[str, Any]]:
    y, truth = (np.array([str(sample.labels[head]) for sample in part]) for part in (train_, dev))
    x, new = (concatenated(part) for part in features)

    def linear() -> NDArray[Any]:
        strengths = GridSearchCV(LogisticRegression(max_iter=100), {"C": [0.0003, 0.003, 0.03, 0.3]}, cv=3)
        return make_pipeline(StandardScaler(), strengths).fit(x, y).predict(new)

    def mlp() -> NDArray[Any]:
        network = MLPClassifier((256,), early_stopping=True, max_iter=60, random_state=0)
        return make_pipeline(StandardScaler(), network).fit(x, y).predict(new)

    def trees() -> NDArray[Any]:
        from lightgbm import LGBMClassifier

        model = LGBMClassifier(n_estimators=TREES, n_jobs=1, verbosity=-1, colsample_bytree=0.1, random_state=0)
        return model.fit(x, y).predict(new)

    found = {
        "logistic regression on the same embeddings": timed(linear, truth),
        "embeddings concatenated, MLP": timed(mlp, truth),
    }
    try:
        found["LightGBM on the same embeddings"] = timed(trees, truth)
    except ImportError:
        print("lightgbm is not installed: no row for it")
    if train_[0].text:
        found["TF-IDF, linear SVM"] = timed(lambda: text_alone(train_, dev, y), truth)
    if train_[0].text and train_[0].image and train_[0].audio:
        found["hand features, early fusion"] = timed(lambda: by_hand(train_, dev, y, late=False), truth)
        found["hand features, late fusion"] = timed(lambda: by_hand(train_, dev, y, late=True), truth)
    return found


def text_alone(train_: list[Sample], dev: list[Sample], y: Labels) -> NDArray[Any]:
    words = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
    )
    model = make_pipeline(words, LinearSVC(C=1.0, random_state=0))
    return model.fit([s.text for s in train_], y).predict([s.text for s in dev])


def by_hand(train_: list[Sample], dev: list[Sample], y: Labels, *, late: bool) -> NDArray[Any]:
    """Letter n-grams, grey pixels and cepstra over eight parts of the sound; one logistic regression each, or one."""
    letters = TfidfVectorizer(analyzer="char", ngram_range=(1, 3))
    sides = [
        (letters.fit_transform([s.text for s in train_]), letters.transform([s.text for s in dev])),
        *(_scaled([look(s) for s in train_], [look(s) for s in dev]) for look in (_pixels, _cepstra)),
    ]
    if not late:
        both = [hstack([csr_matrix(side[part]) for side in sides]).tocsr() for part in (0, 1)]
        return LogisticRegression(C=0.01, max_iter=300).fit(both[0], y).predict(both[1])
    strengths = (5.0, 0.01, 0.01)
    models = [LogisticRegression(C=c, max_iter=300).fit(side[0], y) for c, side in zip(strengths, sides, strict=True)]
    chances = sum(np.log(m.predict_proba(s[1]) + 1e-9) for m, s in zip(models, sides, strict=True))
    return models[0].classes_[np.asarray(chances).argmax(1)]


def _scaled(x: list[Any], new: list[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(new)


def _pixels(sample: Sample) -> NDArray[np.float64]:
    assert sample.image is not None
    with Image.open(sample.image) as picture:
        grey = picture.convert("L")
        whole, small = np.asarray(grey, np.float64), np.asarray(grey.resize((14, 14)), np.float64)
    return np.concatenate([whole.ravel(), small.ravel()]) / 255


def _cepstra(sample: Sample, window: int = 512, hop: int = 160, rate: int = 16_000) -> NDArray[np.float64]:
    assert sample.audio is not None
    waveform, _ = soundfile.read(sample.audio, dtype="float32")
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, (0, window)), window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 28) / 2595) - 1)
    hertz = np.arange(window // 2 + 1)[:, None] * rate / window
    filters = np.minimum((hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:])
    cepstra = dct(np.log(power @ np.maximum(0, filters) + 1e-6), norm="ortho")[:, :13]
    parts = [part.mean(0) if len(part) else cepstra.mean(0) for part in np.array_split(cepstra, 8)]
    return np.concatenate([cepstra.mean(0), cepstra.std(0), *parts])


def measure(name: str, *, data: Path, cache: Path) -> dict[str, Any]:
    found = tasks.write(name, data=data)
    ours = train(name, data=data, cache=cache)
    (head,) = ours.model.heads
    labelled = found.samples("train")
    seen = encode(labelled, ours.model.task.modalities, cache=cache, workers=1).features
    value = figures([ours])[head]["accuracy"]
    mine = {"accuracy": round(value["value"], 4), "seconds": ours.seconds, "cpu_seconds": ours.cpu_seconds}
    return {"rows": [len(labelled), len(ours.dev)], "Duomo": mine} | peers(
        labelled, ours.dev, head, (seen, ours.features)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    for name in arguments.names or SETS:
        found = measure(name, data=arguments.data, cache=arguments.cache)
        merge("learn_peers", what=WHAT, figures={name: found}, data="shared/data, development rows as tasks.py splits")
        for peer, figure in found.items():
            print(f"{name:14} {peer:44} {figure}", flush=True)


if __name__ == "__main__":
    main()
