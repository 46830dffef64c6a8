"""YAML files written by people: read as nodes, which know their lines, so that every mistake is told with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import yaml

from duomo.errors import ConfigError

MOST_BYTES = 1 << 20
MOST_DEPTH = 16
MOST_TOLD = 20  # mistakes that a message names; `Mistaken.mistakes` holds all


@dataclass(frozen=True, slots=True)
class Mistake:
    line: int  # from 1
    message: str


class Mistaken(ConfigError):
    """A file with mistakes in it.

    Attributes:
        mistakes: all of them, by line.
    """

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line))
        lines = [f"{source}:{m.line}: {m.message}" for m in self.mistakes]
        more = [f"… and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
        head = [f"{len(lines)} mistakes in {source}:"] if len(lines) > 1 else []
        super().__init__("\n".join([*head, *lines[:MOST_TOLD], *more]))


class Mistakes:
    """Collects the mistakes of one file, to be told at once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.told: list[Mistake] = []

    def add(self, node: yaml.Node, message: str) -> None:
        self.told.append(Mistake(line_of(node), message))

    def raise_if_any(self) -> None:
        if self.told:
            raise Mistaken(self.source, self.told)


def compose(text: str, source: str, *, shortest: str) -> yaml.Node:
    """The tree of the file's nodes.

    Args:
        source: the file's name, for messages.
        shortest: the shortest file there is, told when the file is empty.
    Raises:
        Mistaken: not YAML, or YAML of a kind that nobody needs to write here.
    """
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise Mistaken(source, [Mistake(1, f"the file holds more than {MOST_BYTES >> 20} MiB")])
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip(" ").startswith("\t") and line.strip():
            raise Mistaken(source, [Mistake(number, "a tab at the start of the line; YAML is indented with spaces")])
    try:
        _refuse_bombs(text, source)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or error.context
        raise Mistaken(source, [Mistake(mark.line + 1 if mark else 1, f"not YAML: {said}")]) from None
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        message = f"a character that YAML does not allow (#x{error.character:04x})"
        raise Mistaken(source, [Mistake(line_number, message)]) from None
    except (ValueError, OverflowError):  # PyYAML's own, at "\U99999999"
        raise Mistaken(source, [Mistake(1, "not YAML: a character code that does not exist")]) from None
    if root is None:
        raise Mistaken(source, [Mistake(1, f"the file is empty; the shortest is\n{shortest}")])
    return root


def _refuse_bombs(text: str, source: str) -> None:
    """Aliases would let a small file stand for a huge one, and depth would exhaust the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise Mistaken(source, [Mistake(line, f"*{event.anchor} is an alias; write the value out")])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise Mistaken(source, [Mistake(line, f"nested {depth} deep; allowed are {MOST_DEPTH}")])


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def came(node: yaml.Node) -> str:
    """What a node is, as a message says it."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if null(node) else repr(short(node.value))


def short(value: str) -> str:
    return value if len(value) <= 60 else value[:57] + "..."


def null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def plain(node: yaml.Node) -> str | None:
    """A scalar's text as it is written (`off` is "off"), but for nothing and for tags of other programs."""
    known = isinstance(node, yaml.ScalarNode) and node.tag.startswith("tag:yaml.org,2002:") and not null(node)
    return str(node.value) if known else None


def nearest(name: str, allowed: Iterable[str]) -> str:
    original = {one.lower(): one for one in allowed}
    close = get_close_matches(name.lower(), original, n=1, cutoff=0.6)
    return f" Did you mean {original[close[0]]}?" if close else ""


def entries(node: yaml.Node, where: str, mistakes: Mistakes) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key -> (its node, its value's node) of a mapping; anything else is a mistake and has none."""
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    if not isinstance(node, yaml.MappingNode):
        mistakes.add(node, f"{where} is {came(node)}; allowed: a mapping")
        return found
    for key, value in node.value:
        name = plain(key)
        if not name or not name.strip():
            mistakes.add(key, f"{where} has {came(key)} as a key; allowed: names")
        elif name in found:
            mistakes.add(key, f"{short(name)} stands here and in line {line_of(found[name][0])}; keep one")
        else:
            found[name] = key, value
    return found


def refuse_unknown(
    found: Mapping[str, tuple[yaml.Node, yaml.Node]], allowed: Iterable[str], where: str, mistakes: Mistakes
) -> None:
    allowed = tuple(allowed)
    for name, (key, _) in found.items():
        if name not in allowed:
            near = nearest(name, allowed)
            mistakes.add(key, f"{where} knows no {short(name)!r}; allowed: {', '.join(allowed)}.{near}")


class Missing:
    """Stands where a value was wrong, so that the default is taken."""


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Choice:
    of: tuple[str, ...]
    optional: bool = False

    def read(self, node: yaml.Node, where: str, mistakes: Mistakes) -> Any:
        if self.optional and null(node):
            return None
        value = plain(node)
        if value in self.of:
            return value
        near = nearest(value, self.of) if value else ""
        mistakes.add(node, f"{where} is {came(node)}; allowed: {', '.join(self.of)}.{near}")
        return MISSING


NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True, slots=True)
class Number:
    low: float
    high: float
    whole: bool = False
    above: bool = False  # low itself is not allowed
    below: bool = False  # high itself is not allowed

    def read(self, node: yaml.Node, where: str, mistakes: Mistakes) -> Any:
        # YAML 1.1 takes 1e-3 for text: numbers are told from their own form
        text = plain(node) if getattr(node, "style", None) is None else None
        if text and len(text) <= 40 and re.fullmatch(NUMBER, text):
            number = float(text)
            inside = (number > self.low or (not self.above and number == self.low)) and (
                number < self.high or (not self.below and number == self.high)
            )
            if inside and (number.is_integer() or not self.whole):
                return int(number) if self.whole else number
        kind = "a whole number" if self.whole else "a number"
        low, high = f"{'above' if self.above else 'from'} {self.low:.12g}", "to below" if self.below else "to"
        mistakes.add(node, f"{where} is {came(node)}; allowed: {kind} {low} {high} {self.high:.12g}")
        return MISSING


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, node: yaml.Node, where: str, mistakes: Mistakes) -> Any:
        if node.tag == "tag:yaml.org,2002:bool" and isinstance(node, yaml.ScalarNode):
            return node.value.lower() in ("true", "yes", "on")
        mistakes.add(node, f"{where} is {came(node)}; allowed: true, false")
        return MISSING


@dataclass(frozen=True, slots=True)
class Names:
    """One name, or a list of them, each once."""

    def read(self, node: yaml.Node, where: str, mistakes: Mistakes) -> Any:
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        names: dict[str, None] = {}
        for item in items:
            name = (plain(item) or "").strip()
            if not name:
                mistakes.add(item, f"{where} holds {came(item)}; allowed: names")
            elif name in names:
                mistakes.add(item, f"{where} holds {short(name)!r} twice")
            names[name] = None
        if not items:
            mistakes.add(node, f"{where} is an empty list; allowed: names")
        return tuple(name for name in names if name)
