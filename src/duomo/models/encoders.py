"""The default encoders: text, pictures, sound and video become the views that `Features` holds.

Training and serving use the same ones, which is why they live here, without torch.

    modality  view                 what it holds
    text      text.e5              meaning, Chinese and English        384
              text.minilm          meaning, English                    384
              text.ngrams          words and pieces of words           2**18, sparse
    image     image.efficientnet   what is on a photo, and colours     1408
              image.shape          outlines, and a small grey picture  2020
    audio     audio.whisper        what is said, and by whom           2560
              audio.spectrum       how it sounds                       582
    video     video.frames         what is seen, and how it changes    4224
              video.sound          both views of its sound             3142
    features.NAME                  the vector as it is given

Each text is normalised, each picture upright RGB, each sound mono 16 kHz, before any of them looks. How to add one:
a class with `view` and `encode`, and a line in `RECIPES`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np

from duomo.errors import ConfigError, InputError, MediaError
from duomo.media import audio as sounds
from duomo.media import image, text, video
from duomo.models import ngrams, shape, sound, weights
from duomo.models.embed import EfficientNet, ImageEmbedder, MiniLM, MultilingualE5, Pixels, TextEmbedder
from duomo.models.features import MODALITIES, Features, Floats, SparseRows, View
from duomo.models.speech import SpeechRecognizer, Waveform, Whisper
from duomo.types import Sample

LONGEST_S = 60.0
"""Of sound and video; what follows is not looked at."""

Encoded = Floats | ngrams.Sparse
"""A dense vector, or the columns and values of a sparse one."""

Value = str | Pixels | Waveform | video.Clip | Floats
"""Of text, image, audio, video, features.NAME: what encoders take."""


Model = TypeVar("Model")


class Encoder(Protocol):
    """Safe to use from several threads."""

    @property
    def view(self) -> View: ...

    def encode(self, value: Any) -> Encoded: ...


class Models:
    """The pretrained networks behind the views, each loaded when first asked for, and once.

    Raises:
        ModelUnavailable: weights missing or with another hash.
    """

    def __init__(
        self,
        *,
        parallel: int = 1,
        text: TextEmbedder | None = None,
        english: TextEmbedder | None = None,
        speech: SpeechRecognizer | None = None,
        pictures: ImageEmbedder | None = None,
    ) -> None:
        """
        Args:
            parallel: threads that will ask at one time.
            text, english, speech, pictures: those already in memory: E5, MiniLM, Whisper, EfficientNet, or what wraps
                them.
        """
        self._lock = threading.Lock()
        self._parallel = parallel
        given = {MultilingualE5: text, MiniLM: english, Whisper: speech, EfficientNet: pictures}
        self._loaded: dict[str, Any] = {kind.__name__: model for kind, model in given.items() if model is not None}

    def e5(self) -> MultilingualE5:
        return self._get(MultilingualE5)

    def minilm(self) -> MiniLM:
        return self._get(MiniLM)

    def efficientnet(self) -> EfficientNet:
        return self._get(EfficientNet)

    def whisper(self) -> Whisper:
        return self._get(Whisper, parallel=self._parallel)

    def _get(self, kind: Callable[..., Model], **options: int) -> Model:
        with self._lock:
            if kind.__name__ not in self._loaded:
                self._loaded[kind.__name__] = kind(threads=1, **options)
            found: Model = self._loaded[kind.__name__]
            return found


@dataclass(frozen=True, slots=True)
class Plain:
    """An encoder that is a view and a function."""

    view: View
    encode: Callable[[Any], Encoded]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one view. Its `View` is known without loading a model, so that cached features need none."""

    view: View
    load: Callable[[Models], Callable[[Any], Encoded]]


def _view(name: str, dim: int, encoder: str, edition: int, *used: str, sparse: bool = False) -> View:
    """
    Args:
        edition: raise it when the same weights and input give other numbers.
        used: names of the weights behind it.
    """
    version = "-".join([str(edition), *(weights.weight(weight).version for weight in used)])
    return View(name, name.partition(".")[0], dim, encoder, version, sparse)


def _e5(models: Models) -> Callable[[str], Encoded]:
    model = models.e5()
    return lambda value: model.encode([value], kind="query")[0]


def _minilm(models: Models) -> Callable[[str], Encoded]:
    model = models.minilm()
    return lambda value: model.encode([value], kind="query")[0]


def _efficientnet(models: Models) -> Callable[[Pixels], Encoded]:
    return models.efficientnet().encode


def _whisper(models: Models) -> Callable[[Waveform], Encoded]:
    model = models.whisper()
    return lambda waveform: pooled_states(model, waveform)


def _frames(models: Models) -> Callable[[video.Clip], Encoded]:
    model = models.efficientnet()

    def encode(clip: video.Clip) -> Floats:
        vectors = np.stack([model.encode(frame) for frame in clip.frames])  # (frames, 1408)
        change = np.abs(np.diff(vectors, axis=0)).mean(axis=0) if len(vectors) > 1 else np.zeros(vectors.shape[1])
        return np.concatenate([vectors.mean(axis=0), vectors.std(axis=0), change]).astype(np.float32)

    return encode


def _track(models: Models) -> Callable[[video.Clip], Encoded]:
    model = models.whisper()

    def encode(clip: video.Clip) -> Floats:
        if clip.waveform is None or not len(clip.waveform):
            return np.zeros(_WHISPER_DIM + sound.DIM, dtype=np.float32)
        return np.concatenate([pooled_states(model, clip.waveform), sound.spectrum(clip.waveform)])

    return encode


WINDOW_S = 20.0  # of the recogniser; longer sounds are heard in equal parts no longer than this
_STATES = 512
_PARTS = 3
_WHISPER_DIM = _STATES * (2 + _PARTS)


def pooled_states(model: Whisper, waveform: Waveform) -> Floats:
    """Mean and deviation of the encoder's states over the sound, and the means of its three thirds, in order.

    Returns:
        (2560,) float32.
    """
    heard = waveform[: int(LONGEST_S * sounds.SAMPLING_RATE)]
    windows = max(1, int(np.ceil(len(heard) / (WINDOW_S * sounds.SAMPLING_RATE))))
    states = np.concatenate([model.states(part) for part in np.array_split(heard, windows)])  # (frames, 512)
    bounds = np.linspace(0, len(states), _PARTS + 1)
    thirds = [
        states[int(start) : max(int(np.ceil(end)), int(start) + 1)].mean(axis=0) for start, end in pairwise(bounds)
    ]
    return np.concatenate([states.mean(axis=0), states.std(axis=0), *thirds]).astype(np.float32)


def _as_given(vector: Floats) -> Encoded:
    return vector


def _recipes() -> dict[str, Recipe]:
    text_ngrams = _view("text.ngrams", ngrams.BUCKETS, "hashed-ngrams", 1, sparse=True)
    stopped = _view("text.ngrams", ngrams.BUCKETS, "hashed-ngrams-without-stop-words", 1, sparse=True)
    net, ear = EfficientNet, "whisper-base-model"
    found = [
        Recipe(_view("text.e5", 384, MultilingualE5.name, 1, "e5-small-encoder", "e5-small-q4"), _e5),
        Recipe(_view("text.minilm", 384, MiniLM.name, 1, "minilm-encoder", "minilm-tokenizer"), _minilm),
        Recipe(text_ngrams, lambda _: ngrams.ngrams),
        Recipe(stopped, lambda _: lambda value: ngrams.ngrams(value, stop_words=True)),
        Recipe(_view("image.efficientnet", net.dim, net.name, 1, "efficientnet-lite0"), _efficientnet),
        Recipe(_view("image.shape", shape.DIM, "hog-grey", 1), lambda _: shape.shape),
        Recipe(_view("audio.whisper", _WHISPER_DIM, Whisper.name, 1, ear), _whisper),
        Recipe(_view("audio.spectrum", sound.DIM, "log-mel-prosody", 1), lambda _: sound.spectrum),
        Recipe(_view("video.frames", 3 * net.dim, net.name, 1, "efficientnet-lite0"), _frames),
        Recipe(_view("video.sound", _WHISPER_DIM + sound.DIM, "whisper-base-log-mel", 1, ear), _track),
    ]
    return {recipe.view.encoder + "/" + recipe.view.name: recipe for recipe in found}


RECIPES: dict[str, Recipe] = _recipes()
"""By "encoder/view"."""


def default_views(modality: str, *, stop_words: bool = False) -> tuple[View, ...]:
    """The views of text, image, audio or video.

    Args:
        stop_words: leave function words out of the n-grams of a text.
    """
    skipped = "hashed-ngrams" if stop_words else "hashed-ngrams-without-stop-words"
    views = [recipe.view for recipe in RECIPES.values()]
    return tuple(view for view in views if view.modality == modality and view.encoder != skipped)


def vector_view(name: str, dim: int) -> View:
    """The view of a plain vector; `name` without the prefix."""
    return View(f"features.{name}", f"features.{name}", dim, "given", "1")


TURN_DIM = MultilingualE5.dim  # of one turn in `context.e5`
BETWEEN_TURNS = "\x1e"  # no text holds it: normalising removes control characters


def context_view(turns: int) -> View:
    """The view of a conversation's earlier turns: `turns` vectors in a row, the latest last, zeros where it began."""
    return _view("context.e5", TURN_DIM * turns, MultilingualE5.name, 1, "e5-small-encoder", "e5-small-q4")


def context_of(sample: Sample, turns: int) -> str | None:
    """The last turns before the sample as one value; None where the conversation begins with it."""
    said = [said for turn in sample.history if (said := text.normalise(turn))]
    return BETWEEN_TURNS.join(said[-turns:]) or None


def _turns(models: Models, turns: int) -> Callable[[str], Encoded]:
    model = models.e5()

    def encode(value: str) -> Floats:
        vectors = model.encode(value.split(BETWEEN_TURNS), kind="query")
        rows = np.zeros((turns, TURN_DIM), dtype=np.float32)
        rows[turns - len(vectors) :] = vectors
        return rows.reshape(-1)

    return encode


def in_order(modalities: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order all features keep."""
    given = set(modalities)
    return (*(name for name in MODALITIES if name in given), *sorted(given - set(MODALITIES)))


def read(modality: str, data: bytes) -> Value:
    """A picture's, sound's or video's bytes as the value that encoders take.

    Decodes in this process, with limits: for the user's own files, and for those that `media.sanitise` wrote.

    Raises:
        MediaError: cannot be decoded.
    """
    if not data:
        raise MediaError("the file is empty (0 bytes)", code="empty")
    if modality == "image":
        return image.read(data)
    if modality == "audio":
        return sounds.read(data, max_seconds=LONGEST_S)
    return video.decode(data, max_seconds=LONGEST_S)


class Encoders:
    """The encoders of one model: exactly the views it was trained on, loaded when first used.

    Example:
        >>> encoders = Encoders.for_modalities(["text", "image"])
        >>> encoders.encode_one(Sample("1", text="the lamp is broken")).present
        array([[ True, False]])
    """

    def __init__(self, views: Sequence[View], *, models: Models | None = None, own: Iterable[Encoder] = ()) -> None:
        """
        Args:
            own: encoders for views that are no defaults, such as a Hugging Face checkpoint.
        """
        self.modalities = in_order(view.modality for view in views)
        self.views = tuple(view for modality in self.modalities for view in views if view.modality == modality)
        self.models = models or Models()
        self._loaded: dict[str, Encoder] = {encoder.view.name: encoder for encoder in own}
        self._lock = threading.Lock()

    @classmethod
    def for_modalities(cls, modalities: Sequence[str], *, models: Models | None = None) -> Encoders:
        """The default views of text, image, audio and video."""
        return cls([view for modality in in_order(modalities) for view in default_views(modality)], models=models)

    @classmethod
    def for_views(cls, views: Sequence[View], *, models: Models | None = None, own: Iterable[Encoder] = ()) -> Encoders:
        """The encoders a trained model expects.

        Raises:
            ConfigError: one of the views is made by another encoder or version here.
        """
        own = tuple(own)
        here = [recipe.view for recipe in RECIPES.values()] + [encoder.view for encoder in own]
        here += [context_view(view.dim // TURN_DIM) for view in views if view.modality == "context"]
        for view in views:
            if view not in here and view.encoder != "given":
                raise ConfigError(_unlike(view, [other for other in here if other.name == view.name]))
        return cls(views, models=models, own=own)

    def encoder(self, view: View) -> Encoder:
        """
        Raises:
            ModelUnavailable: its weights are missing.
        """
        with self._lock:
            if view.name not in self._loaded:
                recipe = RECIPES.get(f"{view.encoder}/{view.name}")
                if view.modality == "context":
                    self._loaded[view.name] = Plain(view, _turns(self.models, view.dim // TURN_DIM))
                else:
                    self._loaded[view.name] = Plain(view, _as_given if recipe is None else recipe.load(self.models))
            return self._loaded[view.name]

    def of(self, modality: str) -> tuple[View, ...]:
        return tuple(view for view in self.views if view.modality == modality)

    def encode(self, modality: str, value: Value) -> dict[str, Encoded]:
        """All views of one value: a text, pixels, a waveform, a clip, or a vector."""
        if modality == "text":
            value = text.normalise(str(value))
        return {view.name: self.encoder(view).encode(value) for view in self.of(modality)}

    def encode_one(self, sample: Sample) -> Features:
        """Features of one sample, without a cache. Parts the model does not know are left aside.

        Raises:
            InputError: none of the sample's parts is one that the model knows; a vector of another length.
            MediaError: a file cannot be read or decoded.
        """
        values = {
            modality: value for modality in self.modalities if (value := self.value(sample, modality)) is not None
        }
        if not values:
            known = ", ".join(self.modalities)
            raise InputError(f"sample {sample.id} has nothing this model reads. Give it one of: {known}.")
        return self.features([{modality: self.encode(modality, value) for modality, value in values.items()}])

    def value(self, sample: Sample, modality: str) -> Value | None:
        """What the sample holds of one modality, as `encode` takes it; None where it is missing."""
        if modality == "text":
            return text.normalise(sample.text or "") or None
        if modality == "context":
            return context_of(sample, self.of(modality)[0].dim // TURN_DIM)
        if modality.startswith("features."):
            vector = sample.features.get(modality.removeprefix("features."))
            return None if vector is None else checked_vector(sample, self.of(modality)[0], vector)
        path = {"image": sample.image, "audio": sample.audio, "video": sample.video}[modality]
        if path is None:
            return None
        try:
            return read(modality, path.read_bytes())
        except OSError as error:
            raise MediaError(f"{path} cannot be read: {error.strerror}", code="broken") from None

    def features(self, rows: Sequence[Mapping[str, Mapping[str, Encoded]]]) -> Features:
        """What `encode` gave for the modalities of each row, as features."""
        present = np.array([[modality in row for modality in self.modalities] for row in rows], dtype=np.bool_)
        dense: dict[str, Floats] = {}
        sparse: dict[str, SparseRows] = {}
        for view in self.views:
            found = [row.get(view.modality, {}).get(view.name) for row in rows]
            if view.sparse:
                sparse[view.name] = sparse_rows([entry if isinstance(entry, tuple) else None for entry in found])
            else:
                dense[view.name] = np.zeros((len(rows), view.dim), dtype=np.float32)
                for index, entry in enumerate(found):
                    if entry is not None:
                        dense[view.name][index] = entry
        return Features(self.modalities, present.reshape(len(rows), len(self.modalities)), dense, sparse)


def checked_vector(sample: Sample, view: View, vector: Sequence[float]) -> Floats:
    """
    Raises:
        InputError: of another length than the view, or with a value that is not a finite number.
    """
    if len(vector) != view.dim:
        raise InputError(
            f"sample {sample.id} has {len(vector)} numbers in {view.name}, expected {view.dim} as in the other samples"
        )
    values = np.asarray(vector, dtype=np.float32)
    if not np.isfinite(values).all():
        raise MediaError(f"{view.name} holds a value that is not a finite number; leave the vector out instead")
    return values


def sparse_rows(rows: Sequence[ngrams.Sparse | None]) -> SparseRows:
    """None is an empty row."""
    counts = [0 if row is None else len(row[0]) for row in rows]
    filled = [row for row in rows if row is not None]
    return SparseRows(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([np.empty(0, np.int64), *(columns for columns, _ in filled)]),
        np.concatenate([np.empty(0, np.float32), *(values for _, values in filled)]),
    )


def _unlike(view: View, here: Sequence[View]) -> str:
    wanted = f"the model was trained on {view.name} by {view.encoder}, version {view.version}"
    if not here:
        return f"{wanted}, which this installation cannot make. Load the model where its encoder is, or train it again."
    found = " or ".join(f"{other.encoder}, version {other.version}" for other in here)
    return f"{wanted}; here is {found}. Install the release it was trained with, or train it again."
