"""The description of a task: which heads to predict, from which modalities, fused and trained how (`task.yaml`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from duomo.errors import ConfigError
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

MOST_BYTES = 1 << 20
MOST_DEPTH = 16
MOST_MISTAKES = 20

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
    root = _compose(text, source)
    mistakes = _Mistakes(source)
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


def _compose(text: str, source: str) -> yaml.Node:
    """The tree of the file's nodes, which know their lines."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{source}: more than {MOST_BYTES >> 20} MiB; a task is a page of YAML")
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip(" ").startswith("\t") and line.strip():
            raise ConfigError(f"{source}:{number}: a tab at the start of the line; YAML is indented with spaces")
    try:
        _refuse_bombs(text, source)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigError(f"{at}: not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{source}:{line_number}: a character that YAML does not allow (#x{error.character:04x})"
        ) from None
    except (ValueError, OverflowError):  # PyYAML's own, at "\U99999999"
        raise ConfigError(f"{source}: not YAML: a character code that does not exist") from None
    if root is None:
        raise ConfigError(f"{source} is empty; the shortest task is\nheads:\n  intent: class")
    return root


def _refuse_bombs(text: str, source: str) -> None:
    """Aliases would let a small file stand for a huge one, and depth would exhaust the stack; a task needs neither."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{source}:{line}: *{event.anchor} is an alias; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH:
            raise ConfigError(f"{source}:{line}: nested {depth} deep; a task has at most 4 levels")


class _Mistakes:
    """Collects every mistake of one file, to be told at once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.told: list[tuple[int, str]] = []

    def add(self, node: yaml.Node, message: str) -> None:
        self.told.append((node.start_mark.line + 1, message))

    def raise_if_any(self) -> None:
        if not self.told:
            return
        lines = [f"{self.source}:{line}: {message}" for line, message in sorted(self.told, key=lambda told: told[0])]
        if len(lines) == 1:
            raise ConfigError(lines[0])
        more = [f"… and {len(lines) - MOST_MISTAKES} more"] if len(lines) > MOST_MISTAKES else []
        raise ConfigError("\n".join([f"{len(lines)} mistakes in {self.source}:", *lines[:MOST_MISTAKES], *more]))


def _came(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if _null(node) else repr(_short(node.value))


def _short(value: str) -> str:
    return value if len(value) <= 60 else value[:57] + "..."


def _null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _plain(node: yaml.Node) -> str | None:
    """A scalar's text, but for nothing and for tags of other programs."""
    known = isinstance(node, yaml.ScalarNode) and node.tag.startswith("tag:yaml.org,2002:") and not _null(node)
    return str(node.value) if known else None


def _nearest(name: str, allowed: Iterable[str]) -> str:
    close = get_close_matches(name.lower(), {one.lower(): one for one in allowed}, n=1, cutoff=0.6)
    original = {one.lower(): one for one in allowed}
    return f" Did you mean {original[close[0]]}?" if close else ""


class _Missing:
    """Stands where a value was wrong or absent, so that the default is taken."""


_MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class _Choice:
    of: tuple[str, ...]
    optional: bool = False

    def read(self, node: yaml.Node, where: str, mistakes: _Mistakes) -> Any:
        if self.optional and _null(node):
            return None
        value = _plain(node)
        if value in self.of:
            return value
        near = _nearest(value, self.of) if value else ""
        mistakes.add(node, f"{where} is {_came(node)}; allowed: {', '.join(self.of)}.{near}")
        return _MISSING


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class _Number:
    low: float
    high: float
    whole: bool = False
    above: bool = False  # low itself is not allowed
    below: bool = False  # high itself is not allowed

    def read(self, node: yaml.Node, where: str, mistakes: _Mistakes) -> Any:
        value = self._value(node)
        if value is not None:
            return value
        kind = "a whole number" if self.whole else "a number"
        bounds = (
            f"{'above' if self.above else 'from'} {self.low:.12g} {'to below' if self.below else 'to'} {self.high:.12g}"
        )
        mistakes.add(node, f"{where} is {_came(node)}; allowed: {kind} {bounds}")
        return _MISSING

    def _value(self, node: yaml.Node) -> float | None:
        # YAML 1.1 takes 1e-3 for text: numbers are told from their own form
        text = _plain(node) if getattr(node, "style", None) is None else None
        if text is None or len(text) > 40 or not _NUMBER.fullmatch(text):
            return None
        number = float(text)
        inside = (number > self.low or (not self.above and number == self.low)) and (
            number < self.high or (not self.below and number == self.high)
        )
        if not inside or (self.whole and not number.is_integer()):
            return None
        return int(number) if self.whole else number


@dataclass(frozen=True, slots=True)
class _Flag:
    def read(self, node: yaml.Node, where: str, mistakes: _Mistakes) -> Any:
        if node.tag == "tag:yaml.org,2002:bool" and isinstance(node, yaml.ScalarNode):
            return node.value.lower() in ("true", "yes", "on")
        mistakes.add(node, f"{where} is {_came(node)}; allowed: true, false")
        return _MISSING


@dataclass(frozen=True, slots=True)
class _Text:
    optional: bool = False

    def read(self, node: yaml.Node, where: str, mistakes: _Mistakes) -> Any:
        if self.optional and _null(node):
            return None
        value = _plain(node)
        if value and value.strip():
            return value
        mistakes.add(node, f"{where} is {_came(node)}; allowed: a text{' or null' if self.optional else ''}")
        return _MISSING


@dataclass(frozen=True, slots=True)
class _Labels:
    """A list of names. `yes`, `no` and 1 are labels like any other: their text as written."""

    def read(self, node: yaml.Node, where: str, mistakes: _Mistakes) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            mistakes.add(node, f"{where} is {_came(node)}; allowed: a list of names, such as [refund, delivery]")
            return _MISSING
        labels: dict[str, None] = {}
        for item in node.value:
            label = _plain(item)
            if not label or not label.strip():
                mistakes.add(item, f"{where} holds {_came(item)}; allowed: names")
            elif label in labels:
                mistakes.add(item, f"{where} holds {_short(label)!r} twice")
            else:
                labels[label] = None
        return tuple(labels)


_Rule = _Choice | _Number | _Flag | _Text | _Labels

_TRAINING: Mapping[str, _Rule] = {
    "mode": _Choice(get_args(Mode)),
    "unlabelled": _Text(optional=True),
    "validation": _Text(optional=True),
    "balance": _Choice(get_args(Balance)),
    "modality_dropout": _Number(0, 1, below=True),
    "label_smoothing": _Number(0, 1, below=True),
    "hidden": _Number(1, 16384, whole=True),
    "epochs": _Number(1, 100_000, whole=True),
    "patience": _Number(1, 100_000, whole=True),
    "batch_size": _Number(1, 1_000_000, whole=True),
    "learning_rate": _Number(0, 10, above=True),
    "weight_decay": _Number(0, 100),
    "dropout": _Number(0, 1, below=True),
    "folds": _Number(2, 100, whole=True),
    "schedule": _Choice(get_args(Schedule)),
    "seed": _Number(0, 2**32 - 1, whole=True),
}
_TASK: Mapping[str, _Rule] = {
    "fusion": _Choice(get_args(Fusion)),
    "operator": _Choice(get_args(Operator)),
    "preset": _Choice(tuple(PRESETS), optional=True),
    "group": _Text(),
    "context": _Number(0, 1000, whole=True),
}
_TASK_KEYS = ("heads", "modalities", *_TASK, "training")
_MODALITY: Mapping[str, _Rule] = {
    "encoder": _Text(),
    "finetune": _Choice(get_args(Finetune)),
    "stop_words": _Flag(),
}
_HEAD: Mapping[str, _Rule] = {
    "type": _Choice(get_args(HeadType)),
    "labels": _Labels(),
    "out_of_scope": _Text(optional=True),
    "class_weights": _Choice(("none", "balanced")),
    "weight": _Number(0, 1000, above=True),
    "loss": _Choice(("mse", "huber")),
}
_OF_HEAD: Mapping[str, tuple[str, ...]] = {
    "class": ("labels", "out_of_scope", "class_weights", "weight"),
    "multilabel": ("labels", "class_weights", "weight"),
    "number": ("loss", "weight"),
}
"""What a head of each type may say beside its type."""


def _entries(node: yaml.Node, where: str, mistakes: _Mistakes) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key -> (its node, its value's node)."""
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = _plain(key)
        if not name or not name.strip():
            mistakes.add(key, f"{where} has {_came(key)} as a key; allowed: names")
        elif name in found:
            first = found[name][0].start_mark.line + 1
            mistakes.add(key, f"{_within(where, name)} stands here and in line {first}; keep one")
        else:
            found[name] = key, value
    return found


def _within(where: str, name: str) -> str:
    return _short(name) if where == "the task" else f"{where}.{_short(name)}"


def _values(
    entries: Mapping[str, tuple[yaml.Node, yaml.Node]], rules: Mapping[str, _Rule], where: str, mistakes: _Mistakes
) -> dict[str, Any]:
    read = {
        name: rules[name].read(value, _within(where, name), mistakes)
        for name, (_, value) in entries.items()
        if name in rules
    }
    return {name: value for name, value in read.items() if value is not _MISSING}


def _refuse_unknown(
    entries: Mapping[str, tuple[yaml.Node, yaml.Node]], allowed: Iterable[str], where: str, mistakes: _Mistakes
) -> None:
    allowed = tuple(allowed)
    for name, (key, _) in entries.items():
        if name in allowed:
            continue
        hint = _nearest(name, allowed)
        if where == "the task" and name in _TRAINING:
            hint = f" {name} belongs under training."
        mistakes.add(key, f"{where} knows no {_short(name)!r}; allowed: {', '.join(allowed)}.{hint}")


def _task(root: yaml.Node, mistakes: _Mistakes) -> Task:
    if not isinstance(root, yaml.MappingNode):
        mistakes.add(root, f"the file is {_came(root)}; allowed: a mapping, at least\nheads:\n  intent: class")
        return Task(())
    entries = _entries(root, "the task", mistakes)
    _refuse_unknown(entries, _TASK_KEYS, "the task", mistakes)
    values = _values(entries, _TASK, "the task", mistakes)
    preset = PRESETS.get(values.get("preset") or "", {})
    if "heads" in entries:
        heads = _heads(entries["heads"][1], mistakes)
    else:
        heads = ()
        mistakes.add(root, "heads is missing: what is to be predicted. The shortest is\nheads:\n  intent: class")
    modalities = _modalities(entries["modalities"][1], mistakes) if "modalities" in entries else {}
    said = _training(entries["training"][1], mistakes) if "training" in entries else {}
    if values.get("operator") == "tensor" and len(modalities) > 3:
        mistakes.add(entries["operator"][1], f"operator tensor takes at most 3 modalities, here are {len(modalities)}")
    return Task(
        heads,
        modalities,
        **{**preset.get("task", {}), **values},
        training=Training(**{**preset.get("training", {}), **said}),
    )


def _training(node: yaml.Node, mistakes: _Mistakes) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        mistakes.add(node, f"training is {_came(node)}; allowed: a mapping of {', '.join(_TRAINING)}")
        return {}
    entries = _entries(node, "training", mistakes)
    _refuse_unknown(entries, _TRAINING, "training", mistakes)
    return _values(entries, _TRAINING, "training", mistakes)


def _heads(node: yaml.Node, mistakes: _Mistakes) -> tuple[Head, ...]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        came = "empty" if isinstance(node, yaml.MappingNode) else _came(node)
        mistakes.add(node, f"heads is {came}; allowed: a name and its type a line, such as `intent: class`")
        return ()
    entries = _entries(node, "heads", mistakes)
    return tuple(_head(name, value, mistakes) for name, (_, value) in entries.items())


def _head(name: str, node: yaml.Node, mistakes: _Mistakes) -> Head:
    where = f"heads.{_short(name)}"
    if len(name) > 100 or not name.isprintable():
        mistakes.add(node, f"{where}: the name of a head has at most 100 printable characters")
    if not isinstance(node, yaml.MappingNode):
        return Head(name, **_short_form(node, where, mistakes))
    entries = _entries(node, where, mistakes)
    _refuse_unknown(entries, _HEAD, where, mistakes)
    values = _values(entries, _HEAD, where, mistakes)
    kind = values.get("type", "class")
    for key in values:
        if key != "type" and key not in _OF_HEAD[kind] and values[key] not in (None, ()):
            owners = [owner for owner, keys in _OF_HEAD.items() if key in keys]
            mistakes.add(entries[key][0], f"{where}.{key} is for heads of type {' or '.join(owners)}; this is {kind}")
    labels = values.get("labels", ())
    if len(set(labels) - {values.get("out_of_scope")}) == 1 and kind == "class":
        mistakes.add(entries["labels"][1], f"{where}.labels holds one label; a class head tells at least 2 apart")
    return Head(name, **values)


def _short_form(node: yaml.Node, where: str, mistakes: _Mistakes) -> dict[str, Any]:
    kind = _Choice(get_args(HeadType)).read(node, where, mistakes)
    return {} if kind is _MISSING else {"type": kind}


def _modalities(node: yaml.Node, mistakes: _Mistakes) -> dict[str, ModalityOptions]:
    if isinstance(node, yaml.SequenceNode):
        names = _Labels().read(node, "modalities", mistakes)
        for name in names:
            _check_modality(name, node, mistakes)
        return {name: ModalityOptions() for name in names}
    if not isinstance(node, yaml.MappingNode):
        if not _null(node):
            mistakes.add(node, f"modalities is {_came(node)}; allowed: a mapping or a list of {_SOME_MODALITIES}")
        return {}
    found = {}
    for name, (key, value) in _entries(node, "modalities", mistakes).items():
        _check_modality(name, key, mistakes)
        found[name] = _options(name, value, mistakes)
    return found


_SOME_MODALITIES = ", ".join((*MODALITIES, "features.NAME"))


def _check_modality(name: str, node: yaml.Node, mistakes: _Mistakes) -> None:
    if name not in MODALITIES and not (name.startswith("features.") and len(name) > len("features.")):
        near = _nearest(name, MODALITIES) or f" A vector of your own is features.{_short(name)}."
        mistakes.add(node, f"modalities knows no {_short(name)!r}; allowed: {_SOME_MODALITIES}.{near}")


def _options(name: str, node: yaml.Node, mistakes: _Mistakes) -> ModalityOptions:
    where = f"modalities.{_short(name)}"
    if _null(node):
        return ModalityOptions()
    if not isinstance(node, yaml.MappingNode):
        encoder = _Text().read(node, where, mistakes)
        return ModalityOptions() if encoder is _MISSING else ModalityOptions(encoder)
    entries = _entries(node, where, mistakes)
    _refuse_unknown(entries, _MODALITY, where, mistakes)
    values = _values(entries, _MODALITY, where, mistakes)
    if values.get("stop_words") and name != "text":
        mistakes.add(entries["stop_words"][0], f"{where}.stop_words is for text alone")
    if name.startswith("features."):
        for key in ("encoder", "finetune"):
            if values.get(key, "default") not in ("default", "none"):
                mistakes.add(entries[key][0], f"{where}.{key}: {name} is a vector already and has no encoder")
    return ModalityOptions(**values)
