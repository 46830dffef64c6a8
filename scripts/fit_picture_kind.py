"""Fit `picture_kind.json`, which tells photos, screenshots and documents apart, and report its held-out accuracy.

    python scripts/fit_picture_kind.py --data ../shared/data src/duomo/models/weights/picture_kind.json

Photos: product photos, video frames, and photos with words on them. Screenshots: desktops, product figures, rendered
phone screens. Documents: rendered pages, clean, scanned and photographed on a table. Every fourth picture is held out.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import rendering

from duomo.models.ocr import PPOCR
from duomo.models.picture_kind import KINDS, MEASURES, measure

PHOTOS, PAGES, SCREENS = 180, 120, 80


def pictures(data: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """(kind, source, picture)."""
    rng = np.random.default_rng(7)
    files = sorted((data / "images/products").rglob("*.jpg"))
    photos = [Image.open(files[i]).convert("RGB") for i in rng.choice(len(files), PHOTOS, replace=False)]
    texts = passages(data)
    for index, photo in enumerate(photos):
        if index % 3 == 1:
            photo = rendering.noisy(photo.resize((photo.width * 5, photo.height * 5)), rng, deviation=4)
        if index % 3 == 2:
            yield "photo", "photo with words", labelled(photo, texts[index], rng)
        else:
            yield "photo", "product photo", photo
    for frame in frames(data):
        yield "photo", "video frame", frame
    for folder, source in (("screenshots", "desktop"), ("doc_figures", "figure")):
        for file in sorted((data / "images" / folder / "img").glob("*.jpg")):
            yield "screenshot", source, Image.open(file).convert("RGB")
    for _ in range(SCREENS):
        chosen = [texts[i][: int(rng.integers(6, 60))] for i in rng.integers(0, len(texts), 12)]
        yield "screenshot", "phone", rendering.screen(chosen, rng)[0]
    for index in range(PAGES):
        image, _ = rendering.page("".join(texts[i] for i in rng.integers(0, len(texts), 6)), rng)
        if index % 3 == 1:
            image = rendering.noisy(rendering.turned(image, float(rng.uniform(-3, 3))), rng, deviation=8)
        if index % 3 == 2:
            table = np.asarray(photos[int(rng.integers(len(photos)))])
            image = rendering.photographed(image, rng, background=table)
        yield "document", ("clean page", "scanned page", "photographed page")[index % 3], image


def passages(data: Path) -> list[str]:
    found = []
    for language in ("zh", "en"):
        with gzip.open(data / f"faq-{language}/help_center/corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            found += [" ".join(json.loads(line)["text"].split()) for line in lines][:600]
    return [text for text in found if len(text) > 60]


def frames(data: Path) -> Iterator[Image.Image]:
    files = sorted((data / "trimodal/grid").glob("*.mpg")) + sorted((data / "trimodal/video_samples").glob("*.mp4"))
    for file in files:
        with av.open(str(file)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % 25 == 0 and index <= 75:
                    yield frame.to_image()


def labelled(photo: Image.Image, text: str, rng: np.random.Generator) -> Image.Image:
    """A photo of a thing that carries a few words, as packages and displays do."""
    photo = photo.resize((photo.width * 4, photo.height * 4), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(photo)
    size = int(photo.width / rng.uniform(8, 20))
    x, y = rng.uniform(0.1, 0.5) * photo.width, rng.uniform(0.2, 0.7) * photo.height
    for row in range(int(rng.integers(1, 4))):
        ink = tuple(int(v) for v in rng.integers(0, 256, 3))
        draw.text((x, y + row * 1.3 * size), text[row * 8 : row * 8 + 8], font=rendering.font(size), fill=ink)
    return rendering.noisy(photo, rng, deviation=5)


def fit(x: NDArray[np.float64], y: NDArray[np.int64], *, penalty: float = 1e-3) -> tuple[NDArray[np.float64], ...]:
    """Multinomial logistic regression by gradient descent, every kind weighing the same."""
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    x = (x - mean) / scale
    onehot = np.eye(len(KINDS))[y]
    share = (1 / onehot.sum(axis=0))[y][:, None] / len(KINDS)
    weight, bias = np.zeros((len(KINDS), x.shape[1])), np.zeros(len(KINDS))
    for _ in range(20_000):
        logits = x @ weight.T + bias
        probability = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        error = (probability - onehot) * share
        weight -= 0.5 * (error.T @ x + penalty * weight)
        bias -= 0.5 * error.sum(axis=0)
    return mean, scale, weight, bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    if not (arguments.data / "images").is_dir():
        sys.exit(f"{arguments.data} has no pictures; give their folder with --data")
    reader = PPOCR()
    rows, kinds, sources = [], [], []
    for kind, source, image in pictures(arguments.data):
        pixels = np.asarray(image)
        rows.append(measure(pixels, reader.read(pixels)))
        kinds.append(KINDS.index(kind))
        sources.append(source)
    x, y = np.array(rows), np.array(kinds)
    held_out = np.arange(len(y)) % 4 == 3
    mean, scale, weight, bias = fit(x[~held_out], y[~held_out])
    found = ((x - mean) / scale @ weight.T + bias).argmax(axis=1)
    right, total = Counter(), Counter()
    for index in np.flatnonzero(held_out):
        total[sources[index]] += 1
        right[sources[index]] += int(found[index] == y[index])
    accuracy = {source: [right[source], total[source]] for source in total}
    data = {
        "measures": list(MEASURES),
        "kinds": list(KINDS),
        "mean": mean.round(6).tolist(),
        "scale": scale.round(6).tolist(),
        "weight": weight.round(5).tolist(),
        "bias": bias.round(5).tolist(),
        "fitted_on": int((~held_out).sum()),
        "held_out_right_of": accuracy,
    }
    arguments.output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(hashlib.sha256(arguments.output.read_bytes()).hexdigest())
    print("held out:", sum(right.values()), "of", sum(total.values()), "right;", accuracy)
    for index in np.flatnonzero(held_out & (found != y)):
        print("  ", sources[index], "taken for", KINDS[found[index]])


if __name__ == "__main__":
    main()
