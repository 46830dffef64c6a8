"""The description of a task: which heads to predict, from which modalities, fused and trained how (`task.yaml`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from duomo.errors import ConfigError
from duomo.learn.yaml_file import (
    MISSING,
    MOST_BYTES,
    Choice,
    Flag,
    Mistakes,
    Number,
    came,
    compose,
    entries,
    nearest,
    null,
    plain,
    short,
)
from duomo.models.features import MODALITIES

HeadType = Literal["class", "multilabel", "number"]
Fusion = Literal["auto", "early", "intermediate", "late", "unimodal"]
Operator = Literal["concat", "sum", "gated", "low_rank", "tensor", "cross_attention", "bottleneck"]
Mode = Literal["supervised", "semi-supervised", "self-supervised"]
Balance = Literal["none", "g_blend", "ogm_ge", "mmpareto"]
Schedule = Literal["cosine", "constant"]
Finetune = Literal["none", "lora", "full"]


@dataclass(frozen=True, slots=True)
class Head:
    """One thing to predict."""

    name: str
    type: HeadType = "class"
    labels: tuple[str, ...] = ()  # empty: those of the training samples, sorted
    out_of_scope: str | None = None  # the label that says that none of the others fits
    class_weights: Literal["none", "balanced"] = "none"
    weight: float = 1.0  # of this head's loss beside the others'
    loss: Literal["mse", "huber"] = "mse"  # of a number head


@dataclass(frozen=True, slots=True)
class ModalityOptions:
    """How one modality becomes features."""

    encoder: str = "default"  # or a Hugging Face checkpoint: a local folder or a hub name
    finetune: Finetune = "none"
    stop_words: bool = False  # text: leave function words out of the n-grams


@dataclass(frozen=True, slots=True)
class Training:
    mode: Mode = "supervised"
    unlabelled: str | None = None  # samples file, relative to task.yaml
    validation: str | None = None  # samples file; without it a tenth of the groups is kept apart
    balance: Balance = "none"
    modality_dropout: float = 0.3  # [0, 1), chance that a sample loses a modality; never all
    label_smoothing: float = 0.0  # [0, 1)
    hidden: int = 128  # width of every modality's adapter
    epochs: int = 25  # at most; early stopping ends sooner
    patience: int = 5  # epochs without a better validation loss
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    folds: int = 5
    schedule: Schedule = "cosine"  # of the learning rate: down to a tenth at the last epoch, or constant
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    heads: tuple[Head, ...]
    modalities: Mapping[str, ModalityOptions] = field(default_factory=dict)  # empty: whatever the samples hold
    fusion: Fusion = "auto"
    operator: Operator = "gated"  # of intermediate fusion
    preset: Literal["article"] | None = None
    group: str = "group"  # the samples' field that must not cross a split
    context: int = 0  # earlier turns of the conversation to read
    training: Training = Training()


# --- reading task.yaml

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "article": {
        "task": {"fusion": "intermediate", "operator": "concat"},
        "training": {
            "hidden": 128,
            "dropout": 0.0,
            "weight_decay": 0.0,
            "modality_dropout": 0.0,
            "learning_rate": 1e-3,
            "schedule": "constant",
        },
    }
}
"""What a preset sets where the file says nothing. article: the founding network, every modality to 128, concatenated
and mapped to 128 (with text, picture and sound 300/2048/512 -> 128 each, 384 -> 128), ReLU between, Adam with step
1e-3 throughout. Its layers are plain (`fusion.Shape`): no layer normalisation, every feature read."""


def load_task(path: Path | str) -> Task:
    """Read and check a `task.yaml`.

    Raises:
        ConfigError: no such file, not text, or mistakes in it: all of them, each with its line.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the task {path}: {error.strerror or error}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: more than {MOST_BYTES >> 20} MiB; a task is a page of YAML. Is this the samples?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    return parse_task(text, source=str(path))


def parse_task(text: str, *, source: str = "task.yaml") -> Task:
    """Read and check the text of a task.

    Args:
        source: the file's name, for messages.
    Raises:
        ConfigError: not YAML, or mistakes: all of them, each as `source:line: what came; what is allowed`.
    """
    root = compose(text, source, shortest="heads:\n  intent: class")
    mistakes = Mistakes(source)
    task = _task(root, mistakes)
    mistakes.raise_if_any()
    return task


def as_dict(task: Task) -> dict[str, Any]:
    """Everything the task says, defaults included, in plain JSON types and in the form of the file."""
    return {
        **({"preset": task.preset} if task.preset else {}),
        "heads": {head.name: _head_dict(head) for head in task.heads},
        "modalities": {name: asdict(options) for name, options in task.modalities.items()},
        "fusion": task.fusion,
        "operator": task.operator,
        "group": task.group,
        "context": task.context,
        "training": asdict(task.training),
    }


def to_yaml(task: Task) -> str:
    """The task as YAML; `parse_task` gives the same task back."""
    return yaml.safe_dump(as_dict(task), sort_keys=False, allow_unicode=True, width=120)


def _head_dict(head: Head) -> dict[str, Any]:
    said = {**asdict(head), "labels": list(head.labels)}
    return {key: said[key] for key in ("type", *_OF_HEAD[head.type])}


@dataclass(frozen=True, slots=True)
class _Text:
    optional: bool = False

    def read(self, node: yaml.Node, where: str, mistakes: Mistakes) -> Any:
        if self.optional and null(node):
            return None
        value = plain(node)
        if value and value.strip():
            return value
        mistakes.add(node, f"{where} is {came(node)}; allowed: a text{' or null' if self.optional else ''}")
        return MISSING


@dataclass(frozen=True, slots=True)
class _Labels:
    """A list of names. `yes`, `no` and 1 are labels like any other: their text as written."""

    def read(self, node: yaml.Node, where: str, mistakes: Mistakes) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            mistakes.add(node, f"{where} is {came(node)}; allowed: a list of names, such as [refund, delivery]")
            return MISSING
        labels: dict[str, None] = {}
        for item in node.value:
            label = plain(item)
            if not label or not label.strip():
                mistakes.add(item, f"{where} holds {came(item)}; allowed: names")
            elif label in labels:
                mistakes.add(item, f"{where} holds {short(label)!r} twice")
            else:
                labels[label] = None
        return tuple(labels)


_Rule = Choice | Number | Flag | _Text | _Labels

_TRAINING: Mapping[str, _Rule] = {
    "mode": Choice(get_args(Mode)),
    "unlabelled": _Text(optional=True),
    "validation": _Text(optional=True),
    "balance": Choice(get_args(Balance)),
    "modality_dropout": Number(0, 1, below=True),
    "label_smoothing": Number(0, 1, below=True),
    "hidden": Number(1, 16384, whole=True),
    "epochs": Number(1, 100_000, whole=True),
    "patience": Number(1, 100_000, whole=True),
    "batch_size": Number(1, 1_000_000, whole=True),
    "learning_rate": Number(0, 10, above=True),
    "weight_decay": Number(0, 100),
    "dropout": Number(0, 1, below=True),
    "folds": Number(2, 100, whole=True),
    "schedule": Choice(get_args(Schedule)),
    "seed": Number(0, 2**32 - 1, whole=True),
}
_TASK: Mapping[str, _Rule] = {
    "fusion": Choice(get_args(Fusion)),
    "operator": Choice(get_args(Operator)),
    "preset": Choice(tuple(PRESETS), optional=True),
    "group": _Text(),
    "context": Number(0, 1000, whole=True),
}
_TASK_KEYS = ("heads", "modalities", *_TASK, "training")
_MODALITY: Mapping[str, _Rule] = {
    "encoder": _Text(),
    "finetune": Choice(get_args(Finetune)),
    "stop_words": Flag(),
}
_HEAD: Mapping[str, _Rule] = {
    "type": Choice(get_args(HeadType)),
    "labels": _Labels(),
    "out_of_scope": _Text(optional=True),
    "class_weights": Choice(("none", "balanced")),
    "weight": Number(0, 1000, above=True),
    "loss": Choice(("mse", "huber")),
}
_OF_HEAD: Mapping[str, tuple[str, ...]] = {
    "class": ("labels", "out_of_scope", "class_weights", "weight"),
    "multilabel": ("labels", "class_weights", "weight"),
    "number": ("loss", "weight"),
}
"""What a head of each type may say beside its type."""


def _within(where: str, name: str) -> str:
    return short(name) if where == "the task" else f"{where}.{short(name)}"


def _values(
    entries: Mapping[str, tuple[yaml.Node, yaml.Node]], rules: Mapping[str, _Rule], where: str, mistakes: Mistakes
) -> dict[str, Any]:
    read = {
        name: rules[name].read(value, _within(where, name), mistakes)
        for name, (_, value) in entries.items()
        if name in rules
    }
    return {name: value for name, value in read.items() if value is not MISSING}


def _refuse_unknown(
    entries: Mapping[str, tuple[yaml.Node, yaml.Node]], allowed: Iterable[str], where: str, mistakes: Mistakes
) -> None:
    allowed = tuple(allowed)
    for name, (key, _) in entries.items():
        if name in allowed:
            continue
        hint = nearest(name, allowed)
        if where == "the task" and name in _TRAINING:
            hint = f" {name} belongs under training."
        mistakes.add(key, f"{where} knows no {short(name)!r}; allowed: {', '.join(allowed)}.{hint}")


def _task(root: yaml.Node, mistakes: Mistakes) -> Task:
    if not isinstance(root, yaml.MappingNode):
        mistakes.add(root, f"the file is {came(root)}; allowed: a mapping, at least\nheads:\n  intent: class")
        return Task(())
    found = entries(root, "the task", mistakes)
    _refuse_unknown(found, _TASK_KEYS, "the task", mistakes)
    values = _values(found, _TASK, "the task", mistakes)
    preset = PRESETS.get(values.get("preset") or "", {})
    if "heads" in found:
        heads = _heads(found["heads"][1], mistakes)
    else:
        heads = ()
        mistakes.add(root, "heads is missing: what is to be predicted. The shortest is\nheads:\n  intent: class")
    modalities = _modalities(found["modalities"][1], mistakes) if "modalities" in found else {}
    said = _training(found["training"][1], mistakes) if "training" in found else {}
    if values.get("operator") == "tensor" and len(modalities) > 3:
        mistakes.add(found["operator"][1], f"operator tensor takes at most 3 modalities, here are {len(modalities)}")
    return Task(
        heads,
        modalities,
        **{**preset.get("task", {}), **values},
        training=Training(**{**preset.get("training", {}), **said}),
    )


def _training(node: yaml.Node, mistakes: Mistakes) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        mistakes.add(node, f"training is {came(node)}; allowed: a mapping of {', '.join(_TRAINING)}")
        return {}
    found = entries(node, "training", mistakes)
    _refuse_unknown(found, _TRAINING, "training", mistakes)
    return _values(found, _TRAINING, "training", mistakes)


def _heads(node: yaml.Node, mistakes: Mistakes) -> tuple[Head, ...]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        got = "empty" if isinstance(node, yaml.MappingNode) else came(node)
        mistakes.add(node, f"heads is {got}; allowed: a name and its type a line, such as `intent: class`")
        return ()
    found = entries(node, "heads", mistakes)
    return tuple(_head(name, value, mistakes) for name, (_, value) in found.items())


def _head(name: str, node: yaml.Node, mistakes: Mistakes) -> Head:
    where = f"heads.{short(name)}"
    if len(name) > 100 or not name.isprintable():
        mistakes.add(node, f"{where}: the name of a head has at most 100 printable characters")
    if not isinstance(node, yaml.MappingNode):
        return Head(name, **_short_form(node, where, mistakes))
    found = entries(node, where, mistakes)
    _refuse_unknown(found, _HEAD, where, mistakes)
    values = _values(found, _HEAD, where, mistakes)
    kind = values.get("type", "class")
    for key in values:
        if key != "type" and key not in _OF_HEAD[kind] and values[key] not in (None, ()):
            owners = [owner for owner, keys in _OF_HEAD.items() if key in keys]
            mistakes.add(found[key][0], f"{where}.{key} is for heads of type {' or '.join(owners)}; this is {kind}")
    labels = values.get("labels", ())
    if len(set(labels) - {values.get("out_of_scope")}) == 1 and kind == "class":
        mistakes.add(found["labels"][1], f"{where}.labels holds one label; a class head tells at least 2 apart")
    return Head(name, **values)


def _short_form(node: yaml.Node, where: str, mistakes: Mistakes) -> dict[str, Any]:
    kind = Choice(get_args(HeadType)).read(node, where, mistakes)
    return {} if kind is MISSING else {"type": kind}


def _modalities(node: yaml.Node, mistakes: Mistakes) -> dict[str, ModalityOptions]:
    if isinstance(node, yaml.SequenceNode):
        names = _Labels().read(node, "modalities", mistakes)
        for name in names:
            _check_modality(name, node, mistakes)
        return {name: ModalityOptions() for name in names}
    if not isinstance(node, yaml.MappingNode):
        if not null(node):
            mistakes.add(node, f"modalities is {came(node)}; allowed: a mapping or a list of {_SOME_MODALITIES}")
        return {}
    found = {}
    for name, (key, value) in entries(node, "modalities", mistakes).items():
        _check_modality(name, key, mistakes)
        found[name] = _options(name, value, mistakes)
    return found


_SOME_MODALITIES = ", ".join((*MODALITIES, "features.NAME"))


def _check_modality(name: str, node: yaml.Node, mistakes: Mistakes) -> None:
    if name not in MODALITIES and not (name.startswith("features.") and len(name) > len("features.")):
        near = nearest(name, MODALITIES) or f" A vector of your own is features.{short(name)}."
        mistakes.add(node, f"modalities knows no {short(name)!r}; allowed: {_SOME_MODALITIES}.{near}")


def _options(name: str, node: yaml.Node, mistakes: Mistakes) -> ModalityOptions:
    where = f"modalities.{short(name)}"
    if null(node):
        return ModalityOptions()
    if not isinstance(node, yaml.MappingNode):
        encoder = _Text().read(node, where, mistakes)
        return ModalityOptions() if encoder is MISSING else ModalityOptions(encoder)
    found = entries(node, where, mistakes)
    _refuse_unknown(found, _MODALITY, where, mistakes)
    values = _values(found, _MODALITY, where, mistakes)
    if values.get("stop_words") and name != "text":
        mistakes.add(found["stop_words"][0], f"{where}.stop_words is for text alone")
    if name.startswith("features."):
        for key in ("encoder", "finetune"):
            if values.get(key, "default") not in ("default", "none"):
                mistakes.add(found[key][0], f"{where}.{key}: {name} is a vector already and has no encoder")
    return ModalityOptions(**values)
