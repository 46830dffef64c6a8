"""Public sets as tasks: each becomes a folder with task.yaml, train.jsonl, dev.jsonl and sometimes unlabelled.jsonl.

    python -m bench.learn.tasks trimodal av_mnist --data ../shared/data

Only training and development parts are read. Where a set has no development part, one is split off with a fixed seed;
where the rows are few or speakers must not meet, the set comes in parts, e.g. fsdd:jackson leaves that speaker out.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.learn import digits
from duomo.learn.samples import load_samples, save_samples
from duomo.media.audio import encode_flac, resample
from duomo.types import Sample

SCENARIOS = Path(__file__).parents[2] / "src" / "duomo" / "scenarios"
SEED = 20261124
DATA = Path("../shared/data")
WORK = Path(tempfile.gettempdir()) / "duomo-bench"
SETS = WORK / "sets"
Floats = NDArray[np.float32]


@dataclass
class Parts:
    """What an adapter makes of a set."""

    task: str  # the text of task.yaml
    train: list[Sample]
    dev: list[Sample]
    unlabelled: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """A set on disk."""

    name: str
    folder: Path
    has_unlabelled: bool

    @property
    def task(self) -> Path:
        return self.folder / "task.yaml"

    def samples(self, part: str) -> list[Sample]:
        """Of train, dev or unlabelled."""
        return load_samples(self.folder / f"{part}.jsonl")

    @property
    def unlabelled(self) -> list[Sample] | None:
        return self.samples("unlabelled") if self.has_unlabelled else None


def write(name: str, *, data: Path = DATA, folder: Path | None = None) -> Written:
    """Write one set, or find it written.

    Args:
        name: of `ADAPTERS`, with a part behind a colon where the set has parts.
        folder: default: `SETS` / name.
    Raises:
        SystemExit: the data is not there.
    """
    if not data.is_dir():
        raise SystemExit(f"{data} is not there: give the folder of the public sets with --data")
    folder = (folder or SETS / name.replace(":", "_")).absolute()
    done = folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "media").mkdir(parents=True)
        kind, _, part = name.partition(":")
        adapter = ADAPTERS[kind]
        parts = adapter(data.absolute(), folder / "media", *([part] if part else []))
        (folder / "task.yaml").write_text(parts.task, encoding="utf-8")
        save_samples(folder / "train.jsonl", parts.train)
        save_samples(folder / "dev.jsonl", parts.dev)
        if parts.unlabelled:
            save_samples(folder / "unlabelled.jsonl", parts.unlabelled)
        done.touch()
    return Written(name, folder, (folder / "unlabelled.jsonl").exists())


def parts_of(name: str) -> list[str]:
    """The names to train one after the other, for sets that come in parts; else the set itself."""
    return [f"{name}:{part}" for part in PARTS[name]] if name in PARTS else [name]


# --- reading


def _scenario(scenario: str, task: str) -> str:
    return (SCENARIOS / scenario / "learn" / f"{task}.yaml").read_text(encoding="utf-8")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


@cache
def loader(data: Path, folder: str) -> ModuleType:
    """The set's own load.py."""
    spec = importlib.util.spec_from_file_location(f"load_{folder}", data / folder / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stratified(
    samples: Sequence[Sample], head: str, *, share: float, seed: int = SEED
) -> tuple[list[Sample], list[Sample]]:
    """Most of the samples and a share of every label, in the given order."""
    by_label: dict[object, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        by_label[sample.labels[head]].append(row)
    random = np.random.default_rng(seed)
    apart: set[int] = set()
    for rows in by_label.values():
        apart.update(random.permutation(rows)[: max(1, round(share * len(rows)))].tolist())
    return (
        [sample for row, sample in enumerate(samples) if row not in apart],
        [sample for row, sample in enumerate(samples) if row in apart],
    )


def group_fold(samples: Sequence[Sample], part: str, *, of: int) -> tuple[list[Sample], list[Sample]]:
    """Without, and with, the groups of one fold."""
    groups = np.random.default_rng(SEED).permutation(sorted({str(sample.group) for sample in samples}))
    held = set(groups[int(part) :: of].tolist())
    return [s for s in samples if s.group not in held], [s for s in samples if s.group in held]


def _picture(pixels: NDArray[np.uint8], path: Path) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def _sound(waveform: Floats, sampling_rate: int, path: Path) -> Path:
    scaled = waveform / max(1.0, float(np.abs(waveform).max(initial=0)))
    path.write_bytes(encode_flac(resample(scaled.astype(np.float32), sampling_rate=sampling_rate)))
    return path


# --- text


def banking77(data: Path, media: Path) -> Parts:
    rows = _lines(data / "intents-en/banking77/train.jsonl")
    samples = [Sample(f"b{i}", text=r["text"], labels={"intent": r["label"]}) for i, r in enumerate(rows)]
    return Parts(_scenario("customer_service", "banking"), *stratified(samples, "intent", share=0.15))


def clinc150(data: Path, media: Path, without: str = "") -> Parts:
    """`clinc150:unseen` trains without a single out-of-scope example."""
    folder = data / "intents-en/clinc150"

    def of(*parts: str) -> list[Sample]:
        return [
            Sample(f"{part}-{i}", text=r["text"], labels={"intent": r["label"]})
            for part in parts
            for i, r in enumerate(_lines(folder / f"{part}.jsonl"))
        ]

    train = of("train") if without else of("train", "oos_train")
    return Parts(_scenario("customer_service", "assistant"), train, of("val", "oos_val"))


def smp2020(data: Path, media: Path) -> Parts:
    def of(part: str) -> list[Sample]:
        rows = _lines(data / f"intents-zh/smp2020/{part}.jsonl")
        return [Sample(f"{part}-{i}", text=r["text"], labels={"intent": r["label"]}) for i, r in enumerate(rows)]

    return Parts(_scenario("customer_service", "spoken_chinese"), of("train"), of("dev"))


def mts_dialog(data: Path, media: Path) -> Parts:
    def of(part: str) -> list[Sample]:
        rows = _lines(data / f"medical/mts_dialog/{part}.jsonl")
        return [Sample(f"{part}-{r['id']}", text=r["dialogue"], labels={"section": r["section"]}) for r in rows]

    return Parts(_scenario("medical", "note_section"), of("train"), of("valid"))


_MOVE = re.compile(r"^Teacher: \((\w+)\)")


def mathdial(data: Path, media: Path, part: str = "0") -> Parts:
    """Fold 0 to 4, by problem."""
    samples = []
    for number, row in enumerate(_lines(data / "education/mathdial/test.jsonl.gz")):
        turns: list[str] = []
        for turn in row["conversation"].split("|EOM|"):
            move = _MOVE.match(turn)
            words = _MOVE.sub("", turn).split(": ", 1)[-1].strip()
            if move and words:
                samples.append(
                    Sample(
                        f"{number}-{len(turns)}",
                        text=words,
                        history=tuple(turns[-2:]),
                        group=str(row["qid"]),
                        labels={"move": move.group(1)},
                    )
                )
            turns.append(words)
    train, dev = group_fold(samples, part, of=5)
    return Parts(_scenario("education", "tutoring_move"), train, dev)


# --- sound


def fsdd(data: Path, media: Path, speaker: str) -> Parts:
    """One speaker is never heard in training. The recordings of the official test part stay out."""
    rows = [row for row in _lines(data / "speech/fsdd/manifest.jsonl") if row["split"] == "train"]
    samples = [
        Sample(
            row["file"], audio=data / "speech" / row["file"], group=row["speaker"],
            labels={"digit": str(row["digit"])},
        )
        for row in rows
    ]  # fmt: skip
    train = [sample for sample in samples if sample.group != speaker]
    return Parts("heads:\n  digit: class\n", train, [sample for sample in samples if sample.group == speaker])


def esc10(data: Path, media: Path, fold: str) -> Parts:
    samples = {
        f: [
            Sample(r["file"], audio=data / "speech" / r["file"], labels={"sound": r["label"]})
            for r in _lines(data / "speech/esc10/manifest.jsonl")
            if (str(r["fold"]) == fold) == f
        ]
        for f in (False, True)
    }
    # clips cut from one recording share its number
    named = {f: [replace(s, group=s.id.rsplit("/")[-1].split("-")[1]) for s in some] for f, some in samples.items()}
    return Parts("heads:\n  sound: class\n", named[False], named[True])


def speechocean(data: Path, media: Path, part: str) -> Parts:
    """Fold 0 to 4, by speaker: 92 learners, one sentence each."""
    from bench.learn.heard import difference

    samples = []
    for row in _lines(data / "speech/speechocean/manifest.jsonl"):
        audio = data / "speech" / row["file"]
        scores = {name: float(row["scores"][name]) for name in ("total", "accuracy", "fluency", "prosodic")}
        features = {"heard": difference(audio, row["text"])}
        samples.append(
            Sample(
                row["file"],
                text=row["text"].capitalize(),
                audio=audio,
                features=features,
                group=row["speaker"],
                labels=scores,
            )
        )
    return Parts(_scenario("education", "pronunciation"), *group_fold(samples, part, of=5))


MISREAD = 7.0  # the experts' median for a word, 0 to 10, below which it counts as read wrongly


def misread(data: Path, media: Path, part: str) -> Parts:
    """Fold 0 to 4, by speaker: the 593 words of speechocean's 92 sentences."""
    from bench.learn.heard import of_words

    samples = []
    for row in _lines(data / "speech/speechocean/manifest.jsonl"):
        audio = data / "speech" / row["file"]
        words = [word["text"] for word in row["words"]]
        for place, (word, heard) in enumerate(zip(row["words"], of_words(audio, words), strict=True)):
            samples.append(
                Sample(
                    f"{row['file']}#{place}",
                    text=word["text"],
                    audio=audio,
                    features={"heard": heard},
                    group=row["speaker"],
                    history=(" ".join(words),),
                    labels={"mispronounced": "yes" if word["accuracy"] < MISREAD else "no"},
                )
            )
    return Parts(_scenario("education", "mispronounced"), *group_fold(samples, part, of=5))


# --- pictures


def products(data: Path, media: Path) -> Parts:
    parts: dict[str, list[Sample]] = {"train": [], "validation": []}
    for row in _lines(data / "images/products/manifest.jsonl"):
        labels = {"product": row["label"]}
        parts[row["split"]].append(Sample(row["file"], image=data / "images" / row["file"], labels=labels))
    return Parts("heads:\n  product: class\n", parts["train"], parts["validation"])


def math_vision(data: Path, media: Path, part: str) -> Parts:
    """Fold 0 to 4, stratified by subject: 304 questions, 19 of each."""
    samples = []
    for row in _lines(data / "education/math_vision/testmini.jsonl"):
        question = "\n".join([row["question"].replace("<image1>", "").strip(), *row["options"]])
        labels = {"subject": row["subject"], "level": float(row["level"])}
        image = data / "education" / row["file"]
        samples.append(Sample(row["id"], text=question, image=image, labels=labels))
    train, dev = [], []
    for subject in sorted({str(s.labels["subject"]) for s in samples}):
        mine = [s for s in samples if s.labels["subject"] == subject]
        order = np.random.default_rng(SEED).permutation(len(mine))
        dev += [mine[i] for i in order[int(part) :: 5]]
        train += [mine[i] for i in np.setdiff1d(order, order[int(part) :: 5])]
    return Parts(_scenario("education", "question"), train, dev)


# --- several at once

BLOOD = ("crp", "d-dimer", "ldh", "lymphocytes", "neutrophils", "factor_xii")
GASES = ("pco2", "po2")


def chest_xray(data: Path, media: Path, part: str) -> Parts:
    """Fold 0 to 4, by patient. Days of measurement, projection and outcome are left out: they tell the answer."""
    samples = []
    for row in _lines(data / "medical/chest_xray/manifest.jsonl"):
        features = {"patient": (float(row["sex"] == "m"), float(row["sex"] == "f"))}
        for name, measured in (("blood", BLOOD), ("gases", GASES)):
            values = [float(row.get(f"{one}_val", "nan")) for one in measured]
            if np.isfinite(values).any():
                features[name] = tuple(number for value in values for number in _measured(value))
        labels = {"intensive_care": "yes" if row["label_icu"] else "no"}
        image = data / "medical" / row["file"]
        samples.append(Sample(row["image_id"], image=image, features=features, group=row["patient_id"], labels=labels))
    return Parts(_scenario("medical", "intensive_care"), *group_fold(samples, part, of=5))


def _measured(value: float) -> tuple[float, float]:
    """Logarithm of a value and whether there is one; the table says inf for what the laboratory could not tell."""
    return (float(np.log1p(max(0.0, value))), 1.0) if np.isfinite(value) else (0.0, 0.0)


def handwritten6(data: Path, media: Path) -> Parts:
    """Own split of the 1,600 training rows, 1,200 and 400."""
    rows = list(loader(data, "trimodal").handwritten6("train"))
    samples = [
        Sample(
            f"h{i}", labels={"digit": str(row["label"])},
            features={f"view{v}": tuple(map(float, view)) for v, view in enumerate(row["views"], 1)},
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip
    return Parts("heads:\n  digit: class\n", *stratified(samples, "digit", share=0.25))


def av_mnist(data: Path, media: Path) -> Parts:
    """A degraded picture and a noisy voice of one digit, as in the data's floor row: 4,000 and, of val, 1,000."""
    load = loader(data, "trimodal")

    def of(split: str, count: int) -> list[Sample]:
        samples = []
        for record in load.av_mnist(split, degrade=True, limit=count):
            name = f"{split}-{record['i']}"
            waveform, rate = load.noisy_audio(record)
            image = _picture(record["image"], media / f"{name}.png")
            audio = _sound(waveform, rate, media / f"{name}.flac")
            samples.append(Sample(name, image=image, audio=audio, labels={"digit": str(record["label"])}))
        return samples

    return Parts("heads:\n  digit: class\n", of("train", 4000), of("val", 1000))


COMPOSITE_ROWS = (2000, 1000)


def composite(data: Path, media: Path) -> Parts:
    load = loader(data, "trimodal")

    def of(split: str, count: int) -> list[Sample]:
        return [
            Sample(
                f"{split}-{i}", text=r["text"], image=Path(r["image_path"]), audio=Path(r["audio_path"]),
                labels={"intent": r["intent"], "product": r["product"], "sound": r["sound"]},
            )
            for i, r in enumerate(load.composite(split, n=count))
        ]  # fmt: skip

    train, dev = (of(split, count) for split, count in zip(("train", "dev"), COMPOSITE_ROWS, strict=True))
    return Parts(_scenario("customer_service", "tickets"), train, dev)


TRIMODAL = "heads:\n  digit: class\nmodalities: [text, image, audio]\n"


def trimodal(data: Path, media: Path) -> Parts:
    train, dev = digits.rows(data, media)
    return Parts(TRIMODAL, train, dev)


def trimodal_50(data: Path, media: Path) -> Parts:
    """The same rows with 50 labels, five of each digit."""
    train, dev = digits.rows(data, media)
    more, few = stratified(train, "digit", share=50 / len(train))
    return Parts(
        TRIMODAL + "training:\n  mode: semi-supervised\n  unlabelled: unlabelled.jsonl\n",
        few, dev, [replace(sample, labels={}) for sample in more],
    )  # fmt: skip


def grid(data: Path, media: Path, part: str) -> Parts:
    """One clip of the eleven is left out."""
    samples = [
        Sample(row["file"], video=data / "trimodal" / row["file"], labels={"verb": row["verb"]})
        for row in _lines(data / "trimodal/grid/manifest.jsonl")
    ]
    held = int(part)
    return Parts(_scenario("education", "clip"), samples[:held] + samples[held + 1 :], [samples[held]])


ADAPTERS: dict[str, Callable[..., Parts]] = {
    "trimodal": trimodal, "trimodal_50": trimodal_50, "av_mnist": av_mnist, "handwritten6": handwritten6,
    "composite": composite, "fsdd": fsdd, "esc10": esc10, "products": products, "banking77": banking77,
    "clinc150": clinc150, "smp2020": smp2020, "speechocean": speechocean, "chest_xray": chest_xray,
    "mts_dialog": mts_dialog, "mathdial": mathdial, "math_vision": math_vision, "misread": misread, "grid": grid,
}  # fmt: skip

_FOLDS = ("0", "1", "2", "3", "4")
PARTS: dict[str, tuple[str, ...]] = {
    "fsdd": ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"),
    "esc10": ("1", "2", "3", "4", "5"),
    "speechocean": _FOLDS, "misread": _FOLDS, "chest_xray": _FOLDS, "math_vision": _FOLDS, "mathdial": _FOLDS,
    "grid": tuple(map(str, range(11))),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(ADAPTERS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=SETS)
    arguments = parser.parse_args()
    for name in arguments.names:
        for part in parts_of(name) if ":" not in name else [name]:
            found = write(part, data=arguments.data, folder=arguments.out / part.replace(":", "_"))
            count = {name: len(found.samples(name)) for name in ("train", "dev")}
            print(part, count, len(found.unlabelled or ()), found.folder)


if __name__ == "__main__":
    main()
