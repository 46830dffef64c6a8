"""Samples from files, checked, and back to JSON lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import shutil
import tempfile
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from duomo.errors import InputError
from duomo.learn.formats import KEYS, MEDIA, records, short
from duomo.learn.task import Head
from duomo.media.sniff import sniff
from duomo.types import Label, Sample

KEPT_AS = "samples.jsonl"
MOST_MISTAKES = 20
"""Reading stops at so many."""
MOST_TOLD = 1000
"""Where all are wanted."""
MOST_VECTOR_BYTES = 64 << 20
MOST_VECTOR = 1_000_000  # numbers in one feature vector


@dataclass(frozen=True, slots=True)
class Row:
    """A sample with where it was read."""

    sample: Sample
    place: str  # "samples.jsonl:3"
    split: str | None = None  # what the file's `split` says
    absent: tuple[Path, ...] = ()  # files of feature vectors that are not there


def load_samples(
    path: Path | str, *, heads: Sequence[Head] = (), group: str = "group", media: Path | None = None
) -> list[Sample]:
    """Read a file, or a folder that `datasets` saved.

    Args:
        heads: of the task. Their labels are brought into form and checked, and a column may bear a head's bare name.
        group: the field whose samples never stand on both sides of a split.
        media: where pictures and sounds that lie inside the file are written, by the hash of their content. Default:
            `duomo/media` in the user's cache folder.
    Returns:
        The samples in their order. A picture, sound, video or vector whose file is not there is a missing modality.
    Raises:
        InputError: unreadable, or mistakes in it: the first 20, each with its line.
    """
    return [row.sample for row in read_rows(path, heads=heads, group=group, media=media)]


def read_rows(
    path: Path | str,
    *,
    heads: Sequence[Head] = (),
    group: str = "group",
    media: Path | None = None,
    told: list[str] | None = None,
) -> list[Row]:
    """As `load_samples`, with the place and the split of every sample.

    Args:
        told: takes the mistakes of samples, which are then left out; None: they raise.
    """
    path = Path(path)
    mistakes = _Mistakes(path, most=MOST_MISTAKES if told is None else MOST_TOLD)
    reader = _Reader(path.parent if path.is_file() else path, heads, group, media or _cache(), mistakes)
    try:
        for number, record in records(path, heads=reader.heads, group=group):
            reader.add(number, record)
    except _Enough:
        pass
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    if told is None:
        mistakes.raise_if_any()
    else:
        told += mistakes.told
    return reader.rows


def as_label(value: object, head: Head) -> Label | None:
    """A label in the form its head wants: str for a class, float for a number, a tuple of str for several.

    3 and 3.0 are the class "3", and true is "true".

    Raises:
        InputError: cannot be that, or is none of the head's labels.
    """
    if value is None:
        return None
    if head.type == "number":
        return _number(value, head)
    if head.type == "class":
        if isinstance(value, list | tuple):
            raise InputError(f"labels.{head.name} is a list; {head.name} is a class head and takes one name")
        return _known(_name(value, head), head)
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(_known(_name(item, head), head) for item in items))


def save_samples(path: Path | str, samples: Iterable[Sample]) -> None:
    """Write JSON lines (compressed when the name ends in .gz); whole or not at all. Files below the folder are written
    relative to it, others absolute."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as plain:
            # no name and no time in the header: equal samples give equal files
            with gzip.GzipFile("", "wb", 9, plain, mtime=0) if path.suffix == ".gz" else plain as file:
                for sample in samples:
                    line = json.dumps(as_record(sample, base=path.parent), ensure_ascii=False, allow_nan=False)
                    file.write(line.encode() + b"\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def keep_samples(samples: Sequence[Sample], folder: Path) -> Path:
    """Copy samples and the files they name below `folder`, whole or not at all; the same ones are found again.

    A file that is not there is a missing modality, as it was before.

    Returns:
        Their samples.jsonl.
    """
    target = folder / str(fingerprint(samples)["sha256"])
    if not (target / KEPT_AS).is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as whole:
            fresh = Path(whole) / "samples"
            (fresh / "media").mkdir(parents=True)
            save_samples(fresh / KEPT_AS, [_with_files_in(fresh / "media", sample) for sample in samples])
            try:
                fresh.rename(target)
            except OSError:
                if not (target / KEPT_AS).is_file():  # another process was faster with the same ones
                    raise
    return target / KEPT_AS


def _with_files_in(folder: Path, sample: Sample) -> Sample:
    files: dict[str, Any] = {}
    for name in MEDIA:
        file: Path | None = getattr(sample, name)
        digest = None if file is None else file_hash(file)
        files[name] = file and digest and folder / f"{digest}{file.suffix}"
        if file is not None and files[name] and not files[name].exists():
            shutil.copyfile(file, files[name])
    return replace(sample, **files)


def as_record(sample: Sample, *, base: Path) -> dict[str, Any]:
    """The sample as its JSON line: only what it has, paths relative to `base` where they lie below it."""
    record: dict[str, Any] = {"id": sample.id, "text": sample.text}
    for name in MEDIA:
        file: Path | None = getattr(sample, name)
        record[name] = None if file is None else _relative(file, base)
    record["features"] = {name: list(vector) for name, vector in sample.features.items()}
    record["group"] = sample.group
    record["history"] = list(sample.history)
    record = {name: value for name, value in record.items() if value not in (None, {}, [])}
    if sample.labels:
        record["labels"] = {
            head: list(label) if isinstance(label, tuple) else label for head, label in sample.labels.items()
        }
    return record


def fingerprint(samples: Sequence[Sample]) -> dict[str, Any]:
    """What a model was trained on: {count, sha256, modalities {name: count}, labels {head: {label: count}}}.

    The hash covers every sample in order, with the content of its files, not their names or dates. A number head has
    {count, min, max, mean} instead of counts by label.
    """
    files: dict[Path, str | None] = {}
    whole = hashlib.sha256()
    for sample in samples:
        record = as_record(sample, base=Path("/"))
        for name in MEDIA:
            file = getattr(sample, name)
            if file is not None:
                if file not in files:
                    files[file] = file_hash(file)
                record[name] = files[file]
        whole.update(json.dumps(record, sort_keys=True).encode() + b"\n")
    return {
        "count": len(samples),
        "sha256": whole.hexdigest(),
        "modalities": dict(Counter(name for sample in samples for name in modalities_of(sample))),
        "labels": label_counts(samples),
    }


def modalities_of(sample: Sample) -> tuple[str, ...]:
    """What the sample names, in model order; its files may still turn out broken."""
    named = tuple(name for name in ("text", *MEDIA) if getattr(sample, name) is not None)
    return (*named, *(f"features.{name}" for name in sorted(sample.features)))


def label_counts(samples: Iterable[Sample]) -> dict[str, dict[str, Any]]:
    """By head: {label: count}, most frequent first, or {count, min, max, mean} of numbers."""
    labels: dict[str, list[Label]] = {}
    for sample in samples:
        for head, label in sample.labels.items():
            labels.setdefault(head, []).extend([] if label is None else [label])
    return {head: _counts(values) for head, values in sorted(labels.items())}


def _counts(values: list[Label]) -> dict[str, Any]:
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers and len(numbers) == len(values):
        mean = math.fsum(numbers) / len(numbers)
        return {"count": len(numbers), "min": min(numbers), "max": max(numbers), "mean": mean}
    names = [name for value in values for name in (value if isinstance(value, tuple) else (str(value),))]
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file's content; None when it cannot be read."""
    try:
        if not path.is_file():  # a device or a pipe would be read without end
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _relative(file: Path, base: Path) -> str:
    absolute = Path(os.path.abspath(file))
    base = Path(os.path.abspath(base))
    inside = base != Path("/") and absolute.is_relative_to(base)
    return (absolute.relative_to(base) if inside else absolute).as_posix()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duomo" / "media"


# --- labels


def _name(value: object, head: Head) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float) and str(value).strip():
        return str(value).strip()
    raise InputError(f"labels.{head.name} is {_came(value)}; allowed: a name")


def _known(name: str, head: Head) -> str:
    if not head.labels or name in head.labels or name == head.out_of_scope:
        return name
    near = _nearest(name, head.labels)
    raise InputError(f"labels.{head.name} is {name!r}, which is none of the task's {len(head.labels)} labels.{near}")


def _number(value: object, head: Head) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"labels.{head.name} is {_came(value)}; {head.name} is a number head and takes a number")
    return number


# --- one record


class _Enough(Exception):
    """So many mistakes that reading on tells nothing more."""


@dataclass(slots=True)
class _Mistakes:
    path: Path
    most: int = MOST_MISTAKES
    told: list[str] = field(default_factory=list)

    def place(self, number: int) -> str:
        return f"{self.path}:{number}"

    def add(self, number: int, message: str) -> None:
        self.told.append(f"{self.place(number)}: {message}")
        if len(self.told) >= self.most:
            raise _Enough

    def raise_if_any(self) -> None:
        if not self.told:
            return
        if len(self.told) == 1:
            raise InputError(self.told[0])
        count = f"the first {MOST_MISTAKES}" if len(self.told) >= MOST_MISTAKES else str(len(self.told))
        raise InputError("\n".join([f"{count} mistakes in {self.path}:", *self.told]))


class _Reader:
    """Turns records into rows, and remembers what must agree across them: ids and the lengths of vectors."""

    def __init__(self, base: Path, heads: Sequence[Head], group: str, media: Path, mistakes: _Mistakes) -> None:
        self.base = base
        self.heads = {head.name: head for head in heads}
        self.group = group
        self.media = media
        self.mistakes = mistakes
        self.rows: list[Row] = []
        self.lines: dict[str, int] = {}  # id -> line
        self.lengths: dict[str, tuple[int, int]] = {}  # vector -> its length, line that set it

    def add(self, number: int, record: object) -> None:
        if isinstance(record, InputError):
            self.mistakes.add(number, str(record))
            return
        if not isinstance(record, dict):
            self.mistakes.add(number, f"{_came(record)} instead of a sample {{...}}")
            return
        before = len(self.mistakes.told)
        record = self._folded(number, record)
        id = self._id(number, record)
        absent: list[Path] = []
        sample = Sample(
            id=id,
            text=self._text(number, record, "text"),
            image=self._file(number, record, "image"),
            audio=self._file(number, record, "audio"),
            video=self._file(number, record, "video"),
            features=self._features(number, record, absent),
            group=self._word(number, record, self.group if self.group in record else "group"),
            labels=self._labels(number, record),
            history=self._history(number, record),
        )
        split = self._word(number, record, "split")
        if len(self.mistakes.told) == before:
            self.rows.append(Row(sample, self.mistakes.place(number), split, tuple(absent)))

    def _folded(self, number: int, record: dict[str, Any]) -> dict[str, Any]:
        """`labels.HEAD`, `label_HEAD`, a head's own name, `label` of an only head and `features.NAME` in their places;
        complains of what is left over."""
        folded: dict[str, Any] = {}
        inner: dict[str, dict[str, Any]] = {"labels": {}, "features": {}}
        for key, value in record.items():
            if key in KEYS or key == self.group:
                folded[key] = value
            elif key.startswith(("labels.", "label_")):
                inner["labels"][key.removeprefix("labels.").removeprefix("label_")] = value
            elif key.startswith("features."):
                inner["features"][key.removeprefix("features.")] = value
            elif key in self.heads:
                inner["labels"][key] = value
            elif key == "label" and len(self.heads) == 1:
                inner["labels"][next(iter(self.heads))] = value
            else:
                near = _nearest(key, (*KEYS, *self.heads))
                self.mistakes.add(number, f"a sample has no {short(key)!r}; allowed: {', '.join(KEYS)}.{near}")
        for name, values in inner.items():
            if values:
                whole = folded.get(name)
                folded[name] = {**(whole if isinstance(whole, dict) else {}), **values}
        return folded

    def _id(self, number: int, record: dict[str, Any]) -> str:
        id = self._word(number, record, "id") or str(number)
        first = self.lines.setdefault(id, number)
        if first != number:
            self.mistakes.add(number, f"id {short(id)!r} stands here and in line {first}; ids must differ")
        return id

    def _word(self, number: int, record: dict[str, Any], key: str) -> str | None:
        """A short text; whole numbers are welcome as such."""
        value = record.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self._text(number, record, key)

    def _text(self, number: int, record: dict[str, Any], key: str) -> str | None:
        value = record.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.mistakes.add(number, f"{key} is {_came(value)}; allowed: a text")
            return None
        return _whole(value) if value.strip() else None

    def _file(self, number: int, record: dict[str, Any], key: str) -> Path | None:
        value = record.get(key)
        if isinstance(value, dict) and set(value) <= {"bytes", "path"}:
            data, value = value.get("bytes"), value.get("path")
            if isinstance(data, bytes):
                return _stored(data, self.media)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not value.isprintable():
            self.mistakes.add(number, f"{key} is {_came(value)}; allowed: the path of a file")
            return None
        if "://" in value:
            self.mistakes.add(number, f"{key} is the address {short(value)!r}; fetch it and give the file's path")
            return None
        return self.base / value

    def _features(self, number: int, record: dict[str, Any], absent: list[Path]) -> dict[str, tuple[float, ...]]:
        value = record.get("features")
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.mistakes.add(
                number, f"features is {_came(value)}; allowed: names with a list of numbers or a .npy file"
            )
            return {}
        found: dict[str, tuple[float, ...]] = {}
        for name, given in value.items():
            if given is None or given == "":
                continue
            if not name or not name.isprintable():
                self.mistakes.add(number, f"features has {name!r} as a name; allowed: printable names")
                continue
            try:
                vector = self._vector(given, absent)
            except InputError as error:
                self.mistakes.add(number, f"features.{name} {error}")
                continue
            if vector is not None and self._fits(number, name, vector):
                found[name] = vector
        return found

    def _vector(self, given: object, absent: list[Path]) -> tuple[float, ...] | None:
        if isinstance(given, str):
            path = self.base / given
            try:
                if path.is_file():
                    return _npy(path)
            except OSError as error:  # a name too long, a folder closed to us
                raise InputError(f"is the file {short(given)}, which cannot be read: {error.strerror}") from None
            absent.append(path)
            return None
        if not isinstance(given, list):
            raise InputError(f"is {_came(given)}; allowed: a list of numbers, or the path of a .npy file")
        if not 0 < len(given) <= MOST_VECTOR:
            raise InputError(f"has {len(given)} numbers; allowed: 1 to {MOST_VECTOR}")
        for at, one in enumerate(given):
            if type(one) not in (float, int) or not math.isfinite(_finite(one)):
                raise InputError(f"holds {_came(one)} at {at}; allowed: finite numbers")
        return tuple(map(float, given))

    def _fits(self, number: int, name: str, vector: tuple[float, ...]) -> bool:
        length, line = self.lengths.setdefault(name, (len(vector), number))
        if length != len(vector):
            self.mistakes.add(number, f"features.{name} has {len(vector)} numbers, but {length} in line {line}")
        return length == len(vector)

    def _labels(self, number: int, record: dict[str, Any]) -> dict[str, Label | None]:
        value = record.get("labels")
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.mistakes.add(number, f"labels is {_came(value)}; allowed: {{head: label}}")
            return {}
        found: dict[str, Label | None] = {}
        for head, label in value.items():
            try:
                found[head] = as_label(label, self.heads[head]) if head in self.heads else _loose(label, head)
            except InputError as error:
                self.mistakes.add(number, str(error))
        return found

    def _history(self, number: int, record: dict[str, Any]) -> tuple[str, ...]:
        value = record.get("history")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(turn, str) for turn in value):
            self.mistakes.add(number, f"history is {_came(value)}; allowed: a list of texts, oldest first")
            return ()
        return tuple(map(_whole, value))


def _loose(label: object, head: str) -> Label | None:
    """A label of a head of unknown type: numbers stay numbers."""
    if label is None:
        return None
    if isinstance(label, int | float) and not isinstance(label, bool) and math.isfinite(_finite(label)):
        return label
    if isinstance(label, list | tuple):
        return as_label(label, Head(head, "multilabel"))
    return as_label(label, Head(head))


def _finite(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf


def _came(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, bool):
        return "true" if value else "false"
    return short(repr(value) if isinstance(value, str) else str(value))


def _nearest(name: str, allowed: Iterable[str]) -> str:
    close = get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def _whole(text: str) -> str:
    """Half of a surrogate pair, left where someone cut an emoji in two, cannot be encoded."""
    return text.encode("utf-8", "replace").decode()


def _npy(path: Path) -> tuple[float, ...]:
    size = path.stat().st_size
    if size > MOST_VECTOR_BYTES:
        raise InputError(f"{path.name} has {size >> 20} MiB; a vector has at most {MOST_VECTOR_BYTES >> 20}")
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise InputError(f"{path.name} is not a .npy file; write it with numpy.save")
        with warnings.catch_warnings(action="ignore"):  # NumPy warns of headers from Python 2
            # mapped, since a header may claim any length: a map cannot be longer than its file
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, SyntaxError, TypeError, OverflowError, MemoryError, tokenize.TokenError) as error:
        raise InputError(f"{path.name} is damaged or holds objects ({short(str(error))})") from None
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not 0 < array.size <= MOST_VECTOR:
        raise InputError(f"{path.name} is {array.dtype} of shape {array.shape}; allowed: one vector of numbers")
    vector = array.astype(np.float64)
    if not np.isfinite(vector).all():
        raise InputError(f"{path.name} holds numbers that are not finite")
    return tuple(vector.tolist())


def _stored(data: bytes, folder: Path) -> Path:
    """Write embedded bytes under their hash; a file that is there already holds the same."""
    path = folder / f"{hashlib.sha256(data).hexdigest()}{_extension(data)}"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
            part.write(data)
        Path(part.name).replace(path)
    return path


def _extension(data: bytes) -> str:
    try:
        mime = sniff(data[:8192]).mime
    except InputError:
        return ".bin"
    return "." + mime.rpartition("/")[2].replace("mpeg", "mp3")
