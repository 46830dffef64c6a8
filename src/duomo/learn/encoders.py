"""Samples become features: many at once, cached on disk, with a list of what was broken.

    samples --key: hash of content--> cache --what is not there--> threads: read, encode --> cache, features

A file that cannot be read or decoded makes its modality missing in that sample and a line in `Encoded.broken`.

Files are decoded in this process, within limits of size and duration, not in the sandbox that strangers' uploads go
through: that costs 5 ms a file (bench/sanitise.py), a sixth of the whole work, and the files to learn from are one's
own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from duomo.errors import InputError, MediaError
from duomo.learn.cache import Cache
from duomo.learn.task import ModalityOptions
from duomo.media.text import normalise
from duomo.models.encoders import (
    TURN_DIM,
    Encoder,
    Encoders,
    Models,
    checked_vector,
    context_of,
    context_view,
    default_views,
    in_order,
    read,
    sparse_rows,
    vector_view,
)
from duomo.models.encoders import Encoded as Vector
from duomo.models.features import Features, Floats, View
from duomo.models.ngrams import Sparse
from duomo.types import Sample

Progress = Callable[[int, int], None]
"""Called with the number of contents done, and of all; cached ones count as done at once."""

LARGEST_FILE = 1 << 30  # bytes; a larger file is listed as broken instead of filling the memory


@dataclass(frozen=True, slots=True)
class Broken:
    """A part of a sample that could not be used."""

    id: str  # of the sample
    modality: str
    path: str | None  # None: a vector in the sample itself
    reason: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of samples, one row each, in their order."""

    features: Features
    views: tuple[View, ...]
    broken: tuple[Broken, ...]


def encode(
    samples: Sequence[Sample],
    modalities: Mapping[str, ModalityOptions] | None = None,
    *,
    context: int = 0,
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: int = 2,
    encoders: Encoders | None = None,
) -> Encoded:
    """Encode samples.

    Args:
        modalities: of the task; empty: whatever the samples hold.
        context: earlier turns of the conversation that are read, where a sample has any.
        cache: folder of the features made before, by any run; created if absent.
        workers: threads; the networks leave Python's lock, so two are nearly twice as fast as one.
        encoders: those of a trained model, or warm ones; otherwise made from `modalities`.
    Raises:
        InputError: vectors of one name differ in length.
        ConfigError: the cache, or an encoder of one's own, cannot be used.
        ModelUnavailable: weights are missing.
    """
    encoders = encoders or encoders_for(modalities or {}, samples, context=context, workers=workers)
    rows = _Rows(encoders, samples)
    with closing(Cache(cache)) if cache is not None else nullcontext() as store:
        if store is not None:
            for view in encoders.views:
                keys = {content.key: content for content in rows.contents if view in content.lacking}
                for key, vector in store.get(view, list(keys)):
                    rows.put(keys[key], view, vector)
        lacking = [content for content in rows.contents if content.lacking]
        done = len(rows.contents) - len(lacking)
        for content, made in _made(encoders, lacking, workers=workers):
            if isinstance(made, MediaError):
                rows.refuse(content, made)
            else:
                for view in list(content.lacking):
                    rows.put(content, view, made[view.name])
                    if store is not None:
                        store.put(view, content.key, made[view.name])
            done += 1
            if progress is not None:
                progress(done, len(rows.contents))
        if progress is not None and not lacking:
            progress(done, done)
    return rows.encoded()


def encoders_for(
    modalities: Mapping[str, ModalityOptions], samples: Sequence[Sample], *, context: int = 0, workers: int = 2
) -> Encoders:
    """The encoders of a task: its modalities, or whatever the samples hold.

    A checkpoint of one's own takes the place of the pretrained defaults; the views that need no weights stay beside
    it.

    Raises:
        InputError: a task asks for vectors that no sample has.
        ConfigError: a checkpoint cannot be used.
    """
    names = in_order(modalities or [name for sample in samples for name in held(sample)])
    if not names:
        raise InputError("the samples hold nothing to learn from. Give each a text, image, audio, video or features.")
    views: list[View] = []
    own: list[Encoder] = []
    for name in names:
        options = modalities.get(name, ModalityOptions())
        if name.startswith("features."):
            views.append(vector_view(name.removeprefix("features."), _length(samples, name)))
            continue
        defaults = default_views(name, stop_words=options.stop_words)
        if options.encoder != "default":
            own.append(_checkpoint(options.encoder, name))
            views.append(own[-1].view)
            defaults = tuple(view for view in defaults if view.version.isdecimal())  # no weights in it
        views += defaults
    if context and any(sample.history for sample in samples):
        views.append(context_view(context))
    return Encoders(views, models=Models(parallel=workers), own=own)


def encoders_of(
    views: Sequence[View], modalities: Mapping[str, ModalityOptions] | None = None, *, workers: int = 2
) -> Encoders:
    """The encoders that a trained model expects.

    Args:
        modalities: of its task; says where checkpoints of one's own lie.
    Raises:
        ConfigError: an encoder is of another version here.
    """
    checkpoints = {name: options.encoder for name, options in (modalities or {}).items()}
    wanted = {view.modality for view in views if view.name.endswith(".hf")}
    own = [
        _checkpoint(checkpoints[name], name) for name in sorted(wanted) if checkpoints.get(name, "default") != "default"
    ]
    return Encoders.for_views(views, models=Models(parallel=workers), own=own)


def held(sample: Sample) -> list[str]:
    """The modalities of a sample, before any file is opened."""
    parts = {"text": sample.text, "image": sample.image, "audio": sample.audio, "video": sample.video}
    return [name for name, part in parts.items() if part is not None] + [f"features.{name}" for name in sample.features]


def _checkpoint(source: str, modality: str) -> Encoder:
    from duomo.learn.huggingface import Checkpoint  # needs the extra [finetune]

    return Checkpoint(source, modality=modality)


def _length(samples: Sequence[Sample], modality: str) -> int:
    name = modality.removeprefix("features.")
    for sample in samples:
        if name in sample.features:
            return len(sample.features[name])
    raise InputError(f"the task asks for {modality}, but no sample has it; take it out of the task, or add it")


# --- what there is to encode


@dataclass(slots=True)
class _Content:
    """A text or file, once, however many samples hold it."""

    modality: str
    key: bytes  # of what it says, not of where it lies
    source: str | Path
    lacking: list[View]
    rows: list[int] = field(default_factory=list)


class _Rows:
    """Features while they are filled."""

    def __init__(self, encoders: Encoders, samples: Sequence[Sample]) -> None:
        self._encoders, self._samples = encoders, samples
        self._present = np.zeros((len(samples), len(encoders.modalities)), dtype=np.bool_)
        self._dense: dict[str, Floats] = {
            view.name: np.zeros((len(samples), view.dim), dtype=np.float32)
            for view in encoders.views
            if not view.sparse
        }
        self._sparse: dict[str, list[Sparse | None]] = {
            view.name: [None] * len(samples) for view in encoders.views if view.sparse
        }
        self._broken: list[tuple[int, Broken]] = []
        self.contents: list[_Content] = []
        for modality in encoders.modalities:
            if modality.startswith("features."):
                self._fill_vectors(modality)
            else:
                self.contents += self._gather(modality)

    def _fill_vectors(self, modality: str) -> None:
        (view,) = self._encoders.of(modality)
        column = self._encoders.modalities.index(modality)
        for row, sample in enumerate(self._samples):
            vector = sample.features.get(modality.removeprefix("features."))
            if vector is None:
                continue
            try:
                self._dense[view.name][row] = checked_vector(sample, view, vector)
                self._present[row, column] = True
            except MediaError as error:
                self._broken.append((row, Broken(sample.id, modality, None, str(error))))

    def _gather(self, modality: str) -> list[_Content]:
        found: dict[bytes, _Content] = {}
        for row, sample in enumerate(self._samples):
            source = self._source(sample, modality)
            if source is None:
                continue
            try:
                key = _key(source)
            except (OSError, MediaError) as error:
                reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
                self._broken.append((row, Broken(sample.id, modality, str(source), reason)))
                continue
            views = list(self._encoders.of(modality))
            found.setdefault(key, _Content(modality, key, source, views)).rows.append(row)
        return list(found.values())

    def _source(self, sample: Sample, modality: str) -> str | Path | None:
        if modality == "context":
            return context_of(sample, self._encoders.of(modality)[0].dim // TURN_DIM)
        source: str | Path | None = getattr(sample, modality)
        return normalise(source) or None if isinstance(source, str) else source

    def put(self, content: _Content, view: View, vector: Vector) -> None:
        for row in content.rows:
            if isinstance(vector, tuple):
                self._sparse[view.name][row] = vector
            else:
                self._dense[view.name][row] = vector
        content.lacking.remove(view)
        if not content.lacking:
            self._present[content.rows, self._encoders.modalities.index(content.modality)] = True

    def refuse(self, content: _Content, error: MediaError) -> None:
        """Its modality is missing: nothing of it stays, not even what was cached."""
        for view in self._encoders.of(content.modality):
            for row in content.rows:
                if view.sparse:
                    self._sparse[view.name][row] = None
                else:
                    self._dense[view.name][row] = 0.0
        for row in content.rows:
            path = (
                None if content.modality in ("text", "context") else str(getattr(self._samples[row], content.modality))
            )
            self._broken.append((row, Broken(self._samples[row].id, content.modality, path, str(error))))

    def encoded(self) -> Encoded:
        sparse = {name: sparse_rows(rows) for name, rows in self._sparse.items()}
        features = Features(self._encoders.modalities, self._present, self._dense, sparse)
        order = self._encoders.modalities.index
        broken = sorted(self._broken, key=lambda entry: (entry[0], order(entry[1].modality)))
        return Encoded(features, self._encoders.views, tuple(entry for _, entry in broken))


_hashes: dict[tuple[str, int, int], bytes] = {}
"""Of files, by path, size and time of change in nanoseconds: reading them again within one process is spared. On disk
such an entry would be believed for years."""


def _key(source: str | Path) -> bytes:
    """16 bytes that stand for the content.

    Raises:
        OSError: the file cannot be read.
        MediaError: it is larger than `LARGEST_FILE`.
    """
    if isinstance(source, str):
        return hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    state = os.stat(source)
    if state.st_size > LARGEST_FILE:
        raise MediaError(f"the file has {state.st_size} bytes, accepted are {LARGEST_FILE}")
    seen = str(source), state.st_size, state.st_mtime_ns
    if seen not in _hashes:
        _hashes[seen] = hashlib.blake2b(source.read_bytes(), digest_size=16).digest()
    return _hashes[seen]


# --- encoding


def _made(
    encoders: Encoders, contents: Iterable[_Content], *, workers: int
) -> Iterator[tuple[_Content, dict[str, Vector] | MediaError]]:
    """Each content with the views it lacked, in the order they are done; few wait at a time, as pictures are large."""
    left = iter(contents)
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="encode")
    running: dict[Future[dict[str, Vector] | MediaError], _Content] = {}
    try:
        while True:
            for content in islice(left, 4 * workers - len(running)):
                running[pool.submit(_encode, encoders, content)] = content
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _encode(encoders: Encoders, content: _Content) -> dict[str, Vector] | MediaError:
    try:
        source = content.source
        value = source if isinstance(source, str) else read(content.modality, _bytes(source))
        return {view.name: encoders.encoder(view).encode(value) for view in content.lacking}
    except MediaError as error:
        return error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", code="broken") from None
