"""Commands of the training toolkit: check, train, evaluate, predict, explain, export, and the data engine."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duomo.errors import InputError, Unavailable

if TYPE_CHECKING:
    from duomo.cli import Add
    from duomo.learn.model import Model
    from duomo.types import Sample

FUSIONS = ("auto", "early", "intermediate", "late", "unimodal")
PREDICTED_AT_ONCE = 1000  # samples, so that memory does not grow with the file
DAMAGED_ROWS = 200  # labelled samples that `evaluate` damages on purpose; each kind of damage encodes them again


def check(given: argparse.Namespace) -> int:
    """Look for mistakes in samples before training: broken files, duplicates, leaks, label balance."""
    _need_train()
    from duomo.learn.check import check as look
    from duomo.learn.task import load_task

    said = _Said()
    report = look(given.samples, load_task(given.task) if given.task else None, progress=said.checking)
    said.end()
    _answer(given, report.as_dict(), report.to_text)
    return 2 if report.errors else 0  # with lines that cannot be read, training refuses the file


def train(given: argparse.Namespace) -> int:
    """Train a model from a task and samples; goes on where a killed run stopped."""
    _need_train()
    if given.engine == "torchrun" and "WORLD_SIZE" not in os.environ:
        return _torchrun(given)
    from dataclasses import replace

    import torch

    from duomo.learn.distributed import world
    from duomo.learn.model import Model
    from duomo.learn.task import load_task

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("WORLD_SIZE", "1"))))
    task = load_task(given.task)
    if given.fusion:
        task = replace(task, fusion=given.fusion)
    if given.seed is not None:
        task = replace(task, training=replace(task.training, seed=given.seed))
    _check_writable(given.out)
    began = time.monotonic()
    with world() as processes:
        said = _Said() if processes.rank == 0 else None
        model = Model(task, cache=_cache(given))
        folder = given.task.parent
        model.fit(
            given.samples,
            unlabelled=_beside(folder, task.training.unlabelled),
            validation=_beside(folder, task.training.validation),
            folder=given.out,
            world=processes,
            progress=None if said is None else said.training,
            encoding=None if said is None else said.encoding,
        )
        if processes.rank == 0:
            model.save(given.out)
        processes.wait()
    if said is None:
        return 0
    said.end()
    _answer(given, _trained(model, given.out, time.monotonic() - began), lambda: _told(model, given.out, began))
    return 0


def evaluate(given: argparse.Namespace) -> None:
    """Measure a model on labelled samples: every figure with its interval, by pattern and by damage."""
    _need_train()
    from duomo.learn import report
    from duomo.learn.corrupt import CORRUPTIONS
    from duomo.learn.evaluate import compare
    from duomo.learn.evaluate import evaluate as measure

    model, samples = _model(given), _samples(given, given.samples)
    chosen = {"all": list(CORRUPTIONS), "none": []}
    damage = chosen.get(given.corruptions, given.corruptions.split(","))
    if given.corruptions not in chosen:
        unknown = [name for name in damage if name not in CORRUPTIONS]
        if unknown:
            raise InputError(f"there is no corruption {', '.join(unknown)}; there are {', '.join(CORRUPTIONS)}")
    said = _Said()
    found = measure(
        model, samples, resamples=given.resamples, corruptions=damage, damaged_rows=DAMAGED_ROWS, progress=said.line
    )
    against = None
    if given.against:
        other = _loaded(given, given.against)
        against = compare(other, model, samples, names=(given.against.name, given.model.name))
    said.end()
    if given.report:
        _write(given.report, report.to_html(found, title=given.model.name, model=_facts(model), comparison=against))
    shown = found.as_json() | ({"comparison": against.as_json()} if against else {})
    _answer(given, shown, lambda: report.to_text(found))


def predict(given: argparse.Namespace) -> None:
    """Say what a model thinks of each sample, with how sure it is and what each modality added."""
    _need_train()
    model = _model(given)
    samples = _samples(given, given.samples, labels=False)
    for first in range(0, len(samples), PREDICTED_AT_ONCE):
        predictions = model.predict(samples[first : first + PREDICTED_AT_ONCE], shares=not given.no_shares)
        _warn_of_broken(model)
        for prediction in predictions:
            if given.json:
                print(json.dumps(prediction.as_dict(), ensure_ascii=False))
                continue
            heads = (
                f"{name}: {head.label}" + ("  (ask a person)" if head.abstain else "")
                for name, head in prediction.heads.items()
            )
            print(f"{prediction.id}\t" + "\t".join(heads))


def explain(given: argparse.Namespace) -> None:
    """Show why: what each modality added, which words, part of the picture, seconds of the sound decided."""
    _need_train()
    from duomo.learn.explain import explain as why

    model = _model(given)
    samples = _samples(given, given.sample, labels=False)
    if len(samples) != 1:
        raise InputError(f"{given.sample} holds {len(samples)} samples; explain takes one")
    found = why(model, samples[0], head=given.head)
    if given.html:
        _write(given.html, found.to_html())
    _answer(given, found.as_dict(), found.to_text)


def export(given: argparse.Namespace) -> None:
    """Write a model for serving without torch: ONNX, int8, a TensorFlow SavedModel."""
    _need_train()
    from duomo.learn.export import export_onnx, export_tensorflow

    if not (given.onnx or given.int8 or given.tensorflow):
        raise InputError("nothing to export; give --onnx, --int8 or --tensorflow")
    model = _model(given)
    shown: dict[str, Any] = {}
    told: list[str] = []
    if given.onnx or given.int8:
        done = export_onnx(model, given.out or given.model / "onnx", int8=given.int8)
        shown["onnx"], told = done.as_dict(), [done.to_text()]
    if given.tensorflow:
        text = export_tensorflow(model, given.model / "tensorflow")
        shown["tensorflow"], told = text.as_dict(), [*told, text.to_text()]
    _answer(given, shown, lambda: "\n".join(told))


def label_errors(given: argparse.Namespace) -> None:
    """List training samples whose label is probably wrong, the surest first."""
    _need_train()
    from duomo.learn import engine

    found = engine.label_errors(_model(given), None if given.samples is None else _samples(given, given.samples))
    _lines(given, found, lambda row: f"{row['id']}\t{row['head']}: {row['given']} → {row['suggested']}")


def select_to_label(given: argparse.Namespace) -> None:
    """Choose which unlabelled samples to label next: uncertain, contested between modalities, unlike each other."""
    _need_train()
    from duomo.learn import engine

    found = engine.select_to_label(
        _model(given), _samples(given, given.samples, labels=False), budget=given.budget, head=given.head
    )
    _lines(given, found, lambda row: f"{row['id']}\t{row['head']}\tvalue {row['value']:.3f}")


def discover(given: argparse.Namespace) -> None:
    """Group unlabelled samples into what may become new intents."""
    _need_train()
    from duomo.learn import engine

    found = engine.discover(
        _model(given), _samples(given, given.samples, labels=False), min_size=given.min_size, head=given.head
    )
    if given.html:
        _write(given.html, found.to_html())
    _answer(given, found.as_dict(), found.to_text)


def duplicates(given: argparse.Namespace) -> None:
    """List pairs of samples that say nearly the same."""
    _need_train()
    from duomo.learn import engine

    found = engine.duplicates(_samples(given, given.samples), threshold=given.threshold, cache=_cache(given))
    _lines(given, found, lambda row: f"{row['a']}\t{row['b']}\t{row['modality']} {row['cosine']:.3f}")


# --- parts


def _need_train() -> None:
    """
    Raises:
        Unavailable: the extra [train] is not installed.
    """
    try:
        import safetensors  # noqa: F401
        import sklearn  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise Unavailable(
            f"training needs the extra [train], but {error.name} is not installed. "
            "Install it: pip install 'duomo[train]', or from a checkout: python3 bootstrap.py train"
        ) from None


def _torchrun(given: argparse.Namespace) -> int:
    """The same command in several processes on this machine."""
    _encode_first(given)
    arguments = [a for a in given.arguments if a not in ("--engine", "torchrun") and not a.startswith("--engine=")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={given.processes}"]
    return subprocess.call([*command, "-m", "duomo.cli", *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})


def _encode_first(given: argparse.Namespace) -> None:
    """Fill the cache once, instead of in every process."""
    from duomo.learn.encoders import encode
    from duomo.learn.samples import load_samples
    from duomo.learn.task import load_task

    task, said = load_task(given.task), _Said()
    for path in (
        given.samples,
        *(_beside(given.task.parent, p) for p in (task.training.unlabelled, task.training.validation)),
    ):
        if path is not None:
            samples = load_samples(path, heads=task.heads, group=task.group)
            encode(samples, task.modalities, cache=_cache(given), progress=said.encoding)
    said.end()


def _beside(folder: Path, name: str | None) -> Path | None:
    return None if name is None else folder / name


def _cache(given: argparse.Namespace) -> Path:
    if given.cache is not None:
        return Path(given.cache)
    from duomo.settings import load

    return load(os.environ, home=given.home, port=None, host=None).home / "features"


def _model(given: argparse.Namespace) -> Model:
    return _loaded(given, given.model)


def _loaded(given: argparse.Namespace, folder: Path) -> Model:
    from duomo.learn.model import Model

    return Model.load(folder, cache=_cache(given))


def _samples(given: argparse.Namespace, path: Path, *, labels: bool = True) -> list[Sample]:
    """
    Args:
        labels: whether a label that the task does not list is a mistake; what only asks the model does not read them.
    """
    from dataclasses import replace

    from duomo.learn.samples import load_samples
    from duomo.learn.task import load_task

    task = load_task(given.model / "task.yaml") if hasattr(given, "model") else None
    heads = task.heads if task else ()
    if not labels:
        heads = tuple(replace(head, labels=()) for head in heads)
    samples = load_samples(path, heads=heads, group=task.group if task else "group")
    if not samples:
        raise InputError(f"{path} holds no samples")
    return samples


def _trained(model: Model, out: Path, seconds: float) -> dict[str, Any]:
    assert model.result is not None
    return {
        "model": str(out),
        "seconds": round(seconds, 2),
        "heads": {name: dict(model.manifest().metrics[name]) for name in model.heads},
        "comparison": {name: found.comparison.rows for name, found in model.result.heads.items()},
        "notes": model.notes,
        "broken": [{"id": b.id, "modality": b.modality, "path": b.path, "reason": b.reason} for b in model.broken],
    }


def _told(model: Model, out: Path, began: float) -> str:
    assert model.result is not None
    lines = [_compared(name, found.comparison.rows) for name, found in model.result.heads.items()]
    for name, reached in model.manifest().metrics.items():
        form = "{:.3f}" if reached["measure"] == "r2" else "{:.1%}"
        measure = {"r2": "R²"}.get(reached["measure"], reached["measure"])
        apart = (
            f", {form.format(reached['untouched'])} on {reached['untouched_rows']} untouched"
            if "untouched" in reached
            else ""
        )
        lines.append(f"{name}: {measure} {form.format(reached['out_of_fold'])} out of fold on {reached['rows']}{apart}")
    lines += [f"ALARM  {note}" for note in model.notes]
    lines += [f"broken  {b.id} {b.modality} {b.path or ''}: {b.reason}" for b in model.broken[:20]]
    if len(model.broken) > 20:
        lines.append(f"broken  and {len(model.broken) - 20} more; see {out}/run/run.json")
    lines.append(f"{out} is ready after {time.monotonic() - began:.1f} s. Next: duomo evaluate {out} TEST.jsonl")
    return "\n".join(lines)


def _compared(head: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Every member where the most modalities are there; of rows with less what was chosen. All of it is in run.json."""
    if not rows:
        return f"{head}: no rows to compare on\n"
    patterns = list(dict.fromkeys(str(row["pattern"]) for row in rows))
    whole = max(patterns, key=lambda pattern: pattern.count("+"))
    members = [row for row in rows if row["pattern"] == whole]
    wide = max(len(str(row["member"])) for row in members)
    lines = [f"{head}, {members[0]['rows']} rows with {whole}:", f"  {'':<{wide}}   score    loss  weight"]
    for row in members:
        weight = f"{row['weight']:6.2f}" if row["member"] != "chosen" else " " * 6
        line = f"  {row['member']:<{wide}}  {row['score']:6.3f}  {row['loss']:6.3f}  {weight}  {row['note']}"
        lines.append(line.rstrip())
    chosen = [row for row in rows if row["member"] == "chosen" and row["pattern"] != whole]
    if chosen:
        wide = max(len(str(row["pattern"])) for row in chosen)
        lines += ["  with less:", *(_with_less(row, rows, wide) for row in chosen)]
    return "\n".join([*lines, ""])


def _with_less(chosen: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], wide: int) -> str:
    speaks = [
        f"{row['member']} {row['weight']:.2f}" if row["weight"] < 1 else str(row["member"])
        for row in rows
        if row["pattern"] == chosen["pattern"] and row["member"] != "chosen" and row["weight"] > 0
    ]
    return f"  {chosen['pattern']:<{wide}}  {chosen['score']:6.3f}  {' + '.join(speaks)}"


def _facts(model: Model) -> dict[str, str]:
    manifest = model.manifest()
    return {
        "fusion": model.task.fusion,
        "modalities": ", ".join(manifest.modalities),
        "duomo": manifest.duomo,
        **{f"trained on {name}": str(value) for name, value in manifest.data.items() if isinstance(value, str | int)},
    }


def _warn_of_broken(model: Model) -> None:
    for one in model.broken:
        print(f"duomo: {one.id}: its {one.modality} counts as missing: {one.reason}", file=sys.stderr)


def _answer(given: argparse.Namespace, value: Mapping[str, Any], text: Callable[[], str]) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str) if given.json else text())


def _lines(
    given: argparse.Namespace, rows: Sequence[Mapping[str, Any]], text: Callable[[Mapping[str, Any]], str]
) -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False) if given.json else text(row))


def _check_writable(folder: Path) -> None:
    """Hours of training should not end with a folder that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


class _Said:
    """One line on stderr that says how far it is: in place on a terminal, elsewhere every five seconds."""

    def __init__(self) -> None:
        self.terminal, self.last = sys.stderr.isatty(), 0.0

    def encoding(self, done: int, of: int) -> None:
        if of:
            self.line(f"encoding {done} of {of}")

    def checking(self, done: int, of: int) -> None:
        self.line(f"looking at {done} of {of}")

    def training(self, entry: Mapping[str, Any]) -> None:
        loss = f", held-out loss {entry['validation_loss']:.4f}" if "validation_loss" in entry else ""
        self.line(f"{entry['stage']}" + (f", epoch {entry['epoch']}" if "epoch" in entry else "") + loss)

    def line(self, text: str) -> None:
        if self.terminal:
            print(f"\r\033[Kduomo: {text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.last > 5:
            self.last = time.monotonic()
            print(f"duomo: {text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the commands of this module."""
    learn = argparse.ArgumentParser(add_help=False, parents=[common])
    learn.add_argument("--json", action="store_true")
    learn.add_argument("--cache", metavar="DIR", help="of encoded features (default: features in the home)")

    command = add(check, learn)
    command.add_argument(
        "samples", nargs="+", type=Path, metavar="SAMPLES", help="several files: leaks between them too"
    )
    command.add_argument("--task", type=Path, metavar="TASK.yaml")

    command = add(train, learn)
    command.add_argument("task", type=Path, metavar="TASK.yaml")
    command.add_argument("samples", type=Path, metavar="SAMPLES")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the model")
    command.add_argument("--fusion", choices=FUSIONS, help="default: the task's, which is auto")
    command.add_argument("--seed", type=_at_least(0), metavar="N")
    command.add_argument("--engine", choices=("local", "torchrun"), default="local")
    command.add_argument("--processes", type=_at_least(1), default=2, metavar="N", help="of torchrun (default: 2)")

    command = _on_model(add(evaluate, learn))
    command.add_argument("--report", type=Path, metavar="FILE.html")
    command.add_argument("--against", type=Path, metavar="DIR", help="another model, compared sample by sample")
    command.add_argument("--corruptions", default="all", metavar="all|none|NAME,…", help="damage to try (default: all)")
    command.add_argument(
        "--resamples", type=_at_least(1), default=1000, metavar="N", help="of the bootstrap (default: 1000)"
    )

    command = _on_model(add(predict, learn))
    command.add_argument("--no-shares", action="store_true", help="leave out what each modality added")

    command = add(explain, learn)
    command.add_argument("model", type=Path, metavar="MODEL")
    command.add_argument("sample", type=Path, metavar="SAMPLE.json")
    command.add_argument("--html", type=Path, metavar="FILE.html")
    command.add_argument("--head", metavar="NAME", help="default: the first")

    command = add(export, learn)
    command.add_argument("model", type=Path, metavar="MODEL")
    for form in ("--onnx", "--int8", "--tensorflow"):
        command.add_argument(form, action="store_true")
    command.add_argument("--out", type=Path, metavar="DIR", help="of the ONNX files (default: onnx in the model)")

    command = add(label_errors, learn)
    command.add_argument("model", type=Path, metavar="MODEL")
    command.add_argument("samples", type=Path, nargs="?", metavar="SAMPLES", help="default: those it was trained on")

    command = _on_model(add(select_to_label, learn))
    command.add_argument("--budget", type=_at_least(1), default=50, metavar="N", help="how many (default: 50)")
    command.add_argument("--head", metavar="NAME", help="default: the first class head")

    command = _on_model(add(discover, learn))
    command.add_argument("--html", type=Path, metavar="FILE.html")
    command.add_argument("--min-size", type=_at_least(2), default=8, metavar="N", help="of a cluster (default: 8)")
    command.add_argument("--head", metavar="NAME", help="default: the first class head")

    command = add(duplicates, learn)
    command.add_argument("samples", type=Path, metavar="SAMPLES")
    command.add_argument("--threshold", type=float, default=0.97, metavar="COSINE")


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} instead of a whole number from {least}")
        return int(text)

    return number


def _on_model(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("model", type=Path, metavar="MODEL")
    command.add_argument("samples", type=Path, metavar="SAMPLES")
    return command
