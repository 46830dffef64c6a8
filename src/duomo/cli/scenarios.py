"""Scenario files: what customers send, turn by turn, and what must come of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from duomo.errors import InputError
from duomo.learn import yaml_file
from duomo.learn.yaml_file import Choice, Mistakes, Names, Number
from duomo.types import LANGUAGES, Language

DECISIONS = ("answer", "clarify", "hand_over", "nothing")
"""What came of a turn; nothing: a person has the conversation, so the bot is silent."""
PRIORITIES = ("low", "normal", "high", "urgent")
SHORTEST = """\
scenarios:
  - name: opening-hours
    turns:
      - text: When are you open?
        expect: {decision: answer}"""

_FILES = ("picture", "audio", "document")
_TURN = ("text", *_FILES, "choose", "language", "expect")
_EXPECT = (
    *("decision", "intent", "urgency", "heads", "source", "said", "not_said", "heard", "read"),
    *("language", "team", "priority"),
)


@dataclass(frozen=True, slots=True)
class Words:
    """Words to be found: a piece of text, whatever its case and spaces, or an expression between slashes."""

    written: str
    pattern: re.Pattern[str]

    def stand_in(self, text: str) -> bool:
        return self.pattern.search(" ".join(text.split())) is not None


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a turn; what is empty does not matter."""

    line: int
    decision: tuple[str, ...] = ()  # one of them, as below
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: tuple[str, ...] = ()  # articles, by id or topic: one of them is cited
    said: tuple[Words, ...] = ()  # all of them
    not_said: tuple[Words, ...] = ()  # none of them
    heard: tuple[Words, ...] = ()  # in what was transcribed: all of them
    read: tuple[Words, ...] = ()  # in pictures and documents: all of them
    language: Language | None = None
    team: str | None = None
    priority: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    line: int
    text: str
    files: tuple[Path, ...]
    choose: int | None  # which of the options that the bot offered, from 1
    language: Language
    expect: Expected


@dataclass(frozen=True, slots=True)
class Scenario:
    file: Path
    line: int
    name: str
    language: Language
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a turn.

    Attributes:
        heads: labels by head, none where the model did not read the turn; None when no model is active.
    """

    decision: str
    text: str = ""
    language: str | None = None
    cited: Sequence[str] = ()
    heads: Mapping[str, str] | None = None
    team: str | None = None
    priority: str | None = None
    heard: str = ""
    read: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    line: int
    expected: str
    came: str


# Comparing --------------------------------------------------------------------------------------------------------


def differences(expected: Expected, came: Came) -> list[Difference]:
    """What came otherwise than expected.

    What a model would have to say is left out where there is none, and so is what an answer would have to hold where
    the bot was allowed to ask back or to hand over instead, and did.
    """
    found: list[Difference] = []
    answered = came.decision == "answer" or "answer" not in expected.decision or len(expected.decision) == 1

    def differs(what: str, wanted: Sequence[str], came: str) -> None:
        found.append(Difference(expected.line, f"{what} {' or '.join(wanted)}", came))

    if expected.decision and came.decision not in expected.decision:
        differs("decision", expected.decision, f"{came.decision}: {_short(came.text)}" if came.text else came.decision)
    if came.heads is not None:
        for head, labels in expected.heads.items():
            if came.heads.get(head) not in labels:
                differs(head, labels, came.heads.get(head, "not understood" if came.heads else "not read by the model"))
    if answered and expected.source and not any(_is_article(c, one) for c in came.cited for one in expected.source):
        differs("source", expected.source, ", ".join(came.cited) or "no source")
    for name, text in (("said", came.text), ("heard", came.heard), ("read", came.read)):
        for words in getattr(expected, name) if answered or name != "said" else ():
            if not words.stand_in(text):
                differs(name, [words.written], _short(text) or "nothing")
    for words in expected.not_said:
        if words.stand_in(came.text):
            differs("not said", [words.written], _short(came.text))
    for name in ("language", "team", "priority"):
        wanted = getattr(expected, name)
        if wanted is not None and getattr(came, name) != wanted:
            differs(name, [wanted], getattr(came, name) or "none")
    return found


def unchecked(expected: Expected, came: Came) -> int:
    """How many expectations no model was there for."""
    return len(expected.heads) if came.heads is None else 0


def _is_article(cited: str, wanted: str) -> bool:
    return cited == wanted or cited.rpartition("/")[2] == wanted


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:157]}..."


# Reading ----------------------------------------------------------------------------------------------------------


def load(paths: Sequence[Path]) -> list[Scenario]:
    """The scenarios of files, and of all `.yaml` files in folders.

    Raises:
        Mistaken: a file has mistakes; all of them are told with their lines.
        InputError: a file cannot be read, or two scenarios have one name.
    """
    files = [f for p in paths for f in (sorted([*p.rglob("*.yaml"), *p.rglob("*.yml")]) if p.is_dir() else [p])]
    if not files:
        raise InputError(f"no .yaml file in {', '.join(map(str, paths))}.")
    scenarios = [scenario for file in files for scenario in _Reader(file).scenarios()]
    known: dict[str, Scenario] = {}
    for scenario in scenarios:
        if (other := known.setdefault(scenario.name, scenario)) is not scenario:
            raise InputError(
                f"{scenario.file}:{scenario.line}: the name {scenario.name!r} is taken by {other.file}:{other.line}. "
                "Give each scenario a name of its own."
            )
    return scenarios


class _Reader:
    """Reads one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mistakes = Mistakes(str(file))

    def scenarios(self) -> list[Scenario]:
        try:
            text = self._file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self._file} cannot be read: {error}") from error
        root = yaml_file.compose(text, str(self._file), shortest=SHORTEST)
        found = self._entries(root, "the file", ("language", "scenarios"))
        language = self._language(found, "en", "the file")
        if isinstance(root, yaml.MappingNode) and "scenarios" not in found:
            self._mistakes.add(root, f"the file has no `scenarios`; the shortest is\n{SHORTEST}")
        made = [self._scenario(node, language) for node in self._list(found, "scenarios", "the file")]
        self._mistakes.raise_if_any()
        return made

    def _scenario(self, node: yaml.Node, language: Language) -> Scenario:
        found = self._entries(node, "a scenario", ("name", "language", "turns"))
        name = self._text(found, "name", "a scenario")
        if isinstance(node, yaml.MappingNode) and "name" not in found:
            self._mistakes.add(node, "a scenario has no `name`; give it one")
        where = f"scenario {name}" if name else "a scenario"
        if isinstance(node, yaml.MappingNode) and "turns" not in found:
            self._mistakes.add(node, f"{where} has no `turns`; write at least one")
        language = self._language(found, language, where)
        turns = [
            self._turn(turn, where, language, first=i == 0) for i, turn in enumerate(self._list(found, "turns", where))
        ]
        return Scenario(self._file, yaml_file.line_of(node), name, language, tuple(turns))

    def _turn(self, node: yaml.Node, where: str, language: Language, *, first: bool) -> Turn:
        where = f"a turn of {where}"
        found = self._entries(node, where, _TURN)
        text = self._text(found, "text", where)
        files = [file for kind in _FILES for file in self._paths(found, kind, where)]
        choose = self._read(found, "choose", Number(1, 9, whole=True), where)
        language = self._language(found, language, where)
        if isinstance(node, yaml.MappingNode) and not {"text", *_FILES, "choose"} & found.keys():
            self._mistakes.add(node, f"{where} sends nothing; write one of {', '.join(('text', *_FILES, 'choose'))}")
        if choose is not None and first:
            self._mistakes.add(found["choose"][0], f"{where} chooses an option before the bot has offered any")
        if choose is not None and (text or files):
            self._mistakes.add(
                found["choose"][0], f"{where} chooses an option and sends something else; do one of both"
            )
        expect = self._expected(found["expect"][1], where) if "expect" in found else Expected(yaml_file.line_of(node))
        return Turn(yaml_file.line_of(node), text, tuple(files), choose, language, expect)

    def _expected(self, node: yaml.Node, where: str) -> Expected:
        where = f"`expect` of {where}"
        found = self._entries(node, where, _EXPECT)
        short = [name for name in ("intent", "urgency") if name in found]
        heads: dict[str, tuple[str, ...]] = {name: self._names(found, name, where) for name in short}
        if "heads" in found:
            own = yaml_file.entries(found["heads"][1], f"`heads` in {where}", self._mistakes)
            heads |= {name: self._names(own, name, where) for name in own}
        decision = self._names(found, "decision", where)
        for name in decision:
            if name not in DECISIONS:
                near = yaml_file.nearest(name, DECISIONS)
                self._mistakes.add(
                    found["decision"][1], f"decision is {name!r}; allowed: {', '.join(DECISIONS)}.{near}"
                )
        words = {name: self._words(found, name, where) for name in ("said", "not_said", "heard", "read")}
        return Expected(
            line=yaml_file.line_of(node),
            decision=decision,
            heads=heads,
            source=self._names(found, "source", where),
            language=self._read(found, "language", Choice(LANGUAGES), where),
            team=self._text(found, "team", where) or None,
            priority=self._read(found, "priority", Choice(PRIORITIES), where),
            **words,
        )

    # -- values --------------------------------------------------------------------------------------------------------

    def _entries(self, node: yaml.Node, where: str, allowed: Sequence[str]) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        found = yaml_file.entries(node, where, self._mistakes)
        yaml_file.refuse_unknown(found, allowed, where, self._mistakes)
        return found

    def _list(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str, where: str) -> list[yaml.Node]:
        if name not in found:
            return []
        node = found[name][1]
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            came = "an empty list" if isinstance(node, yaml.SequenceNode) else yaml_file.came(node)
            self._mistakes.add(node, f"`{name}` of {where} is {came}; write a list")
            return []
        return list(node.value)

    def _text(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str, where: str) -> str:
        if name not in found:
            return ""
        text = yaml_file.plain(found[name][1])
        if not text or not text.strip():
            self._mistakes.add(found[name][1], f"`{name}` of {where} is {yaml_file.came(found[name][1])}; write text")
            return ""
        return text.strip()

    def _read(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str, kind: Any, where: str) -> Any:
        if name not in found:
            return None
        value = kind.read(found[name][1], f"`{name}` of {where}", self._mistakes)
        return None if value is yaml_file.MISSING else value

    def _language(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], default: Language, where: str) -> Language:
        return cast(Language, self._read(found, "language", Choice(LANGUAGES), where) or default)

    def _names(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str, where: str) -> tuple[str, ...]:
        return self._read(found, name, Names(), where) or ()

    def _paths(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], kind: str, where: str) -> list[Path]:
        paths = []
        for name in self._names(found, kind, where):
            path = self._file.parent / name
            if path.is_file():
                paths.append(path)
            else:
                self._mistakes.add(found[kind][1], f"there is no file {name} beside this one ({path})")
        return paths

    def _words(self, found: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str, where: str) -> tuple[Words, ...]:
        words = []
        for written in self._names(found, name, where):
            expression = re.fullmatch(r"/(.+)/(i?)", written, re.DOTALL)
            try:
                source = expression[1] if expression else re.escape(" ".join(written.split()))
                flags = re.IGNORECASE if not expression or expression[2] else re.NOFLAG
                words.append(Words(written, re.compile(source, flags)))
            except re.error as error:
                self._mistakes.add(found[name][1], f"`{name}`: {written} is not an expression: {error}")
        return tuple(words)
