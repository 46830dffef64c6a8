"""Is this data fit to learn from: what is missing, broken, there twice, on both sides of a split, or badly labelled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from duomo.errors import InputError, MediaError
from duomo.learn.encoders import LARGEST_FILE
from duomo.learn.formats import MEDIA
from duomo.learn.samples import Row, file_hash, label_counts, modalities_of, read_rows
from duomo.learn.task import Task
from duomo.media.text import normalise
from duomo.models.encoders import in_order, read
from duomo.models.language import detect_language
from duomo.types import Sample

FEW = 5
"""A class with fewer examples cannot be both learnt and measured."""
IMBALANCE = 20  # largest class to smallest
NEAR = 0.95  # cosine of two texts' character n-grams
SHOWN = 10  # of each list, in the text report
KEPT = 1000  # of each list, in the report

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that cannot be used; its modality will be missing."""

    place: str  # "samples.jsonl:3"
    id: str
    modality: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Twice:
    """The same in several samples."""

    kind: str  # "sample": all of it · "text" · "image" · "audio" · "video" · "group" · "near": texts nearly equal
    places: tuple[str, ...]
    what: str  # the text, the file or the group


@dataclass(frozen=True, slots=True)
class Leak:
    """The same on two sides of a split."""

    kind: str  # as of `Twice`
    sides: tuple[str, ...]
    places: tuple[str, ...]
    what: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Samples that are equal but for a label."""

    head: str
    labels: tuple[str, ...]
    places: tuple[str, ...]
    what: str


@dataclass(frozen=True, slots=True)
class LabelCount:
    counts: Mapping[str, Any]  # {label: count}, or {count, min, max, mean} of numbers
    unlabelled: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found. Lists hold at most 1,000 entries; `found` holds their full counts."""

    files: Mapping[str, int]  # samples a file
    errors: tuple[str, ...]  # of lines that cannot be read and are left out of all the rest, and of whole files
    count: int
    sides: Mapping[str, int]  # samples on each side of the split; empty with one side
    modalities: Mapping[str, Mapping[str, int]]  # {"present", "missing", "broken"}
    patterns: Mapping[str, int]  # "text+image": samples that hold just these, broken ones left out
    broken: tuple[Broken, ...]
    duplicates: tuple[Twice, ...]
    near: tuple[Twice, ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[Conflict, ...]
    labels: Mapping[str, LabelCount]
    languages: Mapping[str, int]
    groups: int
    empty: tuple[str, ...]  # places of samples that hold nothing
    found: Mapping[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> int:
        """What should be put right before training. Duplicates and warnings about labels are for judgement."""
        return len(self.errors) + sum(self.found.get(name, 0) for name in ("broken", "leaks", "conflicts", "empty"))

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "problems": self.problems}

    def to_text(self) -> str:
        """For a terminal."""
        return _to_text(self)


def check(files: Sequence[Path], task: Task | None = None, *, progress: Progress | None = None) -> CheckReport:
    """Read samples and say what is wrong with them. Several files, or a `split` in the samples, are sides of a split.

    Every picture, sound and video is decoded as training would.

    Args:
        progress: called with the number of samples looked at, and of all.
    """
    rows: list[Row] = []
    sides: list[str] = []
    errors: list[str] = []
    counts: dict[str, int] = {}
    for file in map(Path, files):
        try:
            read_here = read_rows(
                file, heads=task.heads if task else (), group=task.group if task else "group", told=errors
            )
        except InputError as error:
            errors.append(str(error))
            continue
        rows += read_here
        sides += [row.split or str(file) for row in read_here]
        counts[str(file)] = len(read_here)
    return _report(rows, sides, counts, errors, task, progress)


def _report(
    rows: list[Row],
    sides: list[str],
    counts: Mapping[str, int],
    errors: list[str],
    task: Task | None,
    progress: Progress | None,
) -> CheckReport:
    media = _Media()
    broken: list[Broken] = []
    for number, row in enumerate(rows, 1):
        broken += media.look_at(row)
        if progress is not None:
            progress(number, len(rows))
    unusable = {(one.place, one.modality) for one in broken}
    usable = [[name for name in modalities_of(r.sample) if (r.place, name) not in unusable] for r in rows]
    prints = [_prints(row.sample, media.hashes) for row in rows]
    split = len(set(sides)) > 1
    duplicates = _twice(rows, prints, ("sample",))
    near = _near_texts(rows)
    leaks = _leaks(rows, sides, prints, near) if split else []
    conflicts = _conflicts(rows, prints)
    empty = [row.place for row in rows if not modalities_of(row.sample) and not row.absent]
    lists: dict[str, Sequence[object]] = {
        "broken": broken,
        "duplicates": duplicates,
        "near": near,
        "leaks": leaks,
        "conflicts": conflicts,
        "empty": empty,
    }
    return CheckReport(
        files=counts,
        errors=tuple(errors),
        count=len(rows),
        sides=dict(Counter(sides)) if split else {},
        modalities=_modalities(rows, usable, broken, task),
        patterns=dict(Counter("+".join(names) or "nothing" for names in usable).most_common()),
        broken=tuple(broken[:KEPT]),
        duplicates=tuple(duplicates[:KEPT]),
        near=tuple(near[:KEPT]),
        leaks=tuple(leaks[:KEPT]),
        conflicts=tuple(conflicts[:KEPT]),
        labels=_labels([row.sample for row in rows], task),
        languages=dict(Counter(detect_language(row.sample.text) for row in rows if row.sample.text)),
        groups=len({row.sample.group for row in rows if row.sample.group is not None}),
        empty=tuple(empty[:KEPT]),
        found={name: len(what) for name, what in lists.items()},
    )


class _Media:
    """Opens every file once, however many samples name it."""

    def __init__(self) -> None:
        self.hashes: dict[Path, str | None] = {}
        self.reasons: dict[tuple[str, Path], str | None] = {}

    def look_at(self, row: Row) -> list[Broken]:
        found = [
            Broken(row.place, row.sample.id, "features", str(path), "the file is not there") for path in row.absent
        ]
        for modality in MEDIA:
            path: Path | None = getattr(row.sample, modality)
            if path is None:
                continue
            reason = self._reason(modality, path)
            if reason is not None:
                found.append(Broken(row.place, row.sample.id, modality, str(path), reason))
        return found

    def _reason(self, modality: str, path: Path) -> str | None:
        if path not in self.hashes:
            self.hashes[path] = file_hash(path)
        if (modality, path) not in self.reasons:
            self.reasons[modality, path] = _unreadable(modality, path)
        return self.reasons[modality, path]


def _unreadable(modality: str, path: Path) -> str | None:
    try:
        if not path.exists():
            return "the file is not there"
        if not path.is_file():  # a device would be read without end
            return "this is no file"
        if path.stat().st_size > LARGEST_FILE:
            return f"larger than {LARGEST_FILE >> 20} MiB"
        read(modality, path.read_bytes())
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except MediaError as error:
        return str(error)
    return None


# --- equal things

_Prints = Mapping[str, str]
"""Kind -> what is equal when this is: "sample" for everything a model sees, and each modality."""


def _prints(sample: Sample, hashes: Mapping[Path, str | None]) -> _Prints:
    found: dict[str, str] = {}
    unseen: list[Path] = []  # nobody knows what is in them: equal to nothing but the same file
    if sample.text is not None:
        found["text"] = _folded(sample.text)
    for name in MEDIA:
        path: Path | None = getattr(sample, name)
        content = hashes.get(path) if path is not None else None
        if content is not None:
            found[name] = content
        elif path is not None:
            unseen.append(path)
    if found or sample.features:
        whole = repr([*sorted(found.items()), unseen, *sorted(sample.features.items()), sample.history])
        found["sample"] = blake2b(whole.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return found


def _folded(text: str) -> str:
    return " ".join(normalise(text).casefold().split())


def _equal(prints: Sequence[_Prints], kind: str) -> list[list[int]]:
    """Rows that are equal in this kind, by first appearance."""
    groups: dict[str, list[int]] = defaultdict(list)
    for at, one in enumerate(prints):
        if kind in one:
            groups[one[kind]].append(at)
    return [group for group in groups.values() if len(group) > 1]


def _twice(rows: Sequence[Row], prints: Sequence[_Prints], kinds: Iterable[str]) -> list[Twice]:
    return [
        Twice(kind, tuple(rows[at].place for at in group), _what(rows[group[0]].sample))
        for kind in kinds
        for group in _equal(prints, kind)
    ]


def _what(sample: Sample) -> str:
    if sample.text is not None:
        text = " ".join(sample.text.split())
        return text if len(text) <= 80 else text[:79] + "…"
    return next((str(path) for path in (sample.image, sample.audio, sample.video) if path), "features")


def _leaks(rows: Sequence[Row], sides: Sequence[str], prints: Sequence[_Prints], near: Sequence[Twice]) -> list[Leak]:
    """Equal samples, files or groups, and nearly equal texts, on several sides.

    An equal text alone is none where the samples differ in the rest: "what is this?" comes with many pictures.
    """
    found: list[Leak] = []
    told: set[tuple[int, ...]] = set()
    groups = [{"group": row.sample.group} if row.sample.group is not None else {} for row in rows]
    for kind, equal in [
        *((kind, _equal(prints, kind)) for kind in ("sample", *MEDIA)),
        ("group", _equal(groups, "group")),
    ]:
        for group in equal:
            across = tuple(dict.fromkeys(sides[at] for at in group))
            if len(across) < 2 or (kind != "group" and tuple(group) in told):
                continue
            told.add(tuple(group))
            sample = rows[group[0]].sample
            what = str(sample.group) if kind == "group" else str(getattr(sample, kind, None) or _what(sample))
            found.append(Leak(kind, across, tuple(rows[at].place for at in group), what))
    # beside pictures and sounds, texts are often from few forms
    alone = {row.place: side for row, side in zip(rows, sides, strict=True) if modalities_of(row.sample) == ("text",)}
    for twice in near:
        across = tuple(dict.fromkeys(alone[place] for place in twice.places if place in alone))
        if len(across) > 1:
            found.append(Leak("near", across, twice.places, twice.what))
    return found


def _conflicts(rows: Sequence[Row], prints: Sequence[_Prints]) -> list[Conflict]:
    found: list[Conflict] = []
    for group in _equal(prints, "sample"):
        by_head: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at in group:
            for head, label in rows[at].sample.labels.items():
                if label is not None:
                    by_head[head][_label(label)].append(at)
        for head, labels in by_head.items():
            if len(labels) > 1:
                places = tuple(rows[at].place for at in sorted(at for members in labels.values() for at in members))
                found.append(Conflict(head, tuple(sorted(labels)), places, _what(rows[group[0]].sample)))
    return found


def _label(label: object) -> str:
    return ", ".join(sorted(label)) if isinstance(label, tuple) else str(label)


# --- nearly equal texts

GRAM = 4  # characters
BANDS, BAND = 16, 4  # texts of Jaccard similarity .85 meet in a band with probability .9999
_MULTIPLY, _ADD = np.random.default_rng(0x5EED).integers(1, 2**63, size=(2, BANDS * BAND), dtype=np.uint64)


def _near_texts(rows: Sequence[Row]) -> list[Twice]:
    """Pairs of different texts whose character n-grams have a cosine of .95 or more.

    Source: Broder 1997, On the resemblance and containment of documents; banding as in Leskovec, Rajaraman, Ullman,
    Mining of Massive Datasets, section 3.4. Time grows with the number of texts, not with that of pairs.
    """
    holders: dict[str, list[Row]] = defaultdict(list)  # letters and digits of the text -> its rows
    for row in rows:
        if row.sample.text is not None:
            holders["".join(c for c in normalise(row.sample.text).casefold() if c.isalnum())].append(row)
    texts = [text for text in holders if len(text) >= 3 * GRAM]
    grams = [Counter(text[at : at + GRAM] for at in range(len(text) - GRAM + 1)) for text in texts]
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    pairs: dict[tuple[int, int], None] = {}
    for at, counts in enumerate(grams):
        signature = _signature(counts)
        for band in range(BANDS):
            bucket = buckets[band, signature[band * BAND : (band + 1) * BAND].tobytes()]
            pairs.update(dict.fromkeys((other, at) for other in bucket[:50]))
            bucket.append(at)
    near = [holders[texts[a]] + holders[texts[b]] for a, b in sorted(pairs) if _cosine(grams[a], grams[b]) >= NEAR]
    punctuated = [same for same in holders.values() if len({_folded(row.sample.text or "") for row in same}) > 1]
    return [
        Twice("near", tuple(row.place for row in together), _what(together[0].sample))
        for together in (*punctuated, *near)
    ]


def _signature(counts: Counter[str]) -> NDArray[np.uint64]:
    hashes = np.array([crc32(gram.encode("utf-8", "replace")) for gram in counts], dtype=np.uint64)
    mixed: NDArray[np.uint64] = ((hashes[:, None] * _MULTIPLY + _ADD) >> np.uint64(32)).min(axis=0)  # wraps at 2**64
    return mixed


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    product = sum(count * other[gram] for gram, count in one.items())
    norms = sum(count * count for count in one.values()) * sum(count * count for count in other.values())
    return float(product / norms**0.5)


# --- counts


def _modalities(
    rows: Sequence[Row], usable: Sequence[Sequence[str]], broken: Sequence[Broken], task: Task | None
) -> dict[str, dict[str, int]]:
    present = Counter(name for names in usable for name in names)
    failed = Counter(one.modality for one in broken)
    names = {*present, *(name for name in failed if name != "features"), *(task.modalities if task else ())}
    return {
        name: {
            "present": present[name],
            "missing": len(rows) - present[name] - failed[name],
            "broken": failed[name],
        }
        for name in in_order(names)
    }


def _labels(samples: Sequence[Sample], task: Task | None) -> dict[str, LabelCount]:
    heads = {head.name: head.type for head in task.heads} if task else {}
    counted = {**{name: {} for name in heads}, **label_counts(samples)}
    found = {}
    for name, counts in counted.items():
        labelled = sum(sample.labels.get(name) is not None for sample in samples)
        number = heads.get(name, "number" if "mean" in counts else "class") == "number"
        warnings = [*_shares(labelled, len(samples)), *(_spread(counts) if number else _balance(counts))]
        found[name] = LabelCount(counts, len(samples) - labelled, tuple(warnings))
    return found


def _shares(labelled: int, count: int) -> list[str]:
    if not count:
        return []
    if not labelled:
        return ["no sample has a label"]
    unlabelled = 1 - labelled / count
    return [f"{unlabelled:.0%} of the samples have no label"] if unlabelled > 0.5 else []


def _balance(counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    found = ["all labels are the same: there is nothing to tell apart"] if len(counts) == 1 else []
    few = [name for name, count in counts.items() if count < FEW]
    if few:
        more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
        found.append(f"fewer than {FEW} examples of {', '.join(few[:SHOWN])}{more}")
    largest, smallest = max(counts.values()), min(counts.values())
    if largest > IMBALANCE * smallest:
        found.append(
            f"the largest class has {largest / smallest:.0f} times the examples of the smallest; "
            "consider class_weights: balanced"
        )
    return found


def _spread(counts: Mapping[str, Any]) -> list[str]:
    return ["all values are the same: there is nothing to learn"] if counts and counts["min"] == counts["max"] else []


# --- text


def _to_text(report: CheckReport) -> str:
    lines = [f"{report.count} samples in {len(report.files)} file{'s' if len(report.files) != 1 else ''}"]
    lines += [f"  {name}: {count}" for name, count in report.files.items()] if len(report.files) > 1 else []
    if report.groups:
        lines.append(f"{report.groups} groups")
    if report.languages:
        lines.append("languages: " + ", ".join(f"{name} {count}" for name, count in report.languages.items()))
    lines += _table("modality", report.modalities)
    lines += ["", "held together", *(f"  {count:>7}  {pattern}" for pattern, count in report.patterns.items())]
    for head, labels in report.labels.items():
        lines += ["", f"labels of {head}: {_counted(labels.counts)}; {labels.unlabelled} not labelled"]
        lines += [f"  warning: {warning}" for warning in labels.warnings]
    found = report.found
    lines += _list("errors", len(report.errors), report.errors)
    lines += _list("samples that hold nothing", found["empty"], report.empty)
    lines += _list(
        "broken files", found["broken"], (f"{b.place} {b.modality} {b.path}: {b.reason}" for b in report.broken)
    )
    lines += _list(
        "leaks between splits",
        found["leaks"],
        (f"{leak.kind} on {' and '.join(leak.sides)}: {leak.what} ({_places(leak.places)})" for leak in report.leaks),
    )
    lines += _list(
        "equal samples with different labels",
        found["conflicts"],
        (f"{c.head}: {' / '.join(c.labels)} for {c.what} ({_places(c.places)})" for c in report.conflicts),
    )
    lines += _list("samples there more than once", found["duplicates"], map(_told, report.duplicates))
    lines += _list("texts nearly equal", found["near"], map(_told, report.near))
    count = report.problems
    return "\n".join([*lines, "", f"{count} problem{'s' if count != 1 else ''}" if count else "no problems"])


def _told(twice: Twice) -> str:
    return f"{twice.what} ({_places(twice.places)})"


def _table(head: str, rows: Mapping[str, Mapping[str, int]]) -> list[str]:
    if not rows:
        return []
    width = max(len(name) for name in (head, *rows))
    columns = list(next(iter(rows.values())))
    lines = ["", f"{head:<{width}}" + "".join(f"{column:>9}" for column in columns)]
    return lines + [
        f"{name:<{width}}" + "".join(f"{count:>9}" for count in counts.values()) for name, counts in rows.items()
    ]


def _counted(counts: Mapping[str, Any]) -> str:
    if "mean" in counts:
        return f"{counts['count']} from {counts['min']:g} to {counts['max']:g}, mean {counts['mean']:g}"
    shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:SHOWN])
    return f"{len(counts)} classes" + (f" ({shown}{', …' if len(counts) > SHOWN else ''})" if counts else "")


def _list(title: str, count: int, entries: Iterable[str]) -> list[str]:
    shown = [entry for entry, _ in zip(entries, range(SHOWN), strict=False)]
    more = [f"  … and {count - len(shown)} more"] if count > len(shown) else []
    return ["", f"{title}: {count}", *(f"  {entry}" for entry in shown), *more] if count else []


def _places(places: Sequence[str]) -> str:
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
