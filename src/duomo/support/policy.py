"""What becomes of a turn: answer, ask back, or hand over, to which team, how urgently. One table; its first row that
fits decides.

The table is a file of the workspace (YAML, docs/howto/policy.md), kept with its history in the table `policies`. It is
pure: what it looks at are `Facts`, which are stored with every decision, so that a past turn can be decided again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

import yaml

from duomo.errors import Conflict
from duomo.learn import yaml_file
from duomo.learn.yaml_file import MISSING, NUMBER, Choice, Flag, Mistake, Mistakes, Names
from duomo.store.postgres import Row as Stored
from duomo.store.postgres import Tx
from duomo.support.condition import Compare, Condition, Is, OneOf
from duomo.support.intent import SMALL_TALK
from duomo.support.intent import Intent as Wish
from duomo.support.outcome import Reason
from duomo.support.policy_sections import CLASSES, RULES, THRESHOLDS, Drift, Gates, Learning, Rollout, Thresholds
from duomo.types import LANGUAGES, Language

Do = Literal["answer", "clarify", "hand_over"]
Priority = Literal["low", "normal", "high", "urgent"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
SENT = ("text", "voice", "picture", "document")
SAFE: tuple[Wish, ...] = ("emergency", "person")
"""Who wishes this gets a person, whatever else a policy says."""

SOURCE = "policy.yaml"
NOTHING = (None, None)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the policy looks at.

    Attributes:
        wish: what `intent_of` hears in the words; "question" once an option was chosen.
        sent: kinds of what came and could be read; empty: nothing of it could.
        failures: turns in a row without an answer.
        intent, confidence, intent_set, abstain, out_of_scope, urgency: of the model's heads; None without a model.
        conflict: how far the modalities disagree, [0, 1].
        heads: label of every head; a list of a multilabel head, a number of a number head.
        knowledge: probability that the best passage answers; None when nothing was found, or nothing searched.
        chosen: the customer picked an option of a clarifying question.
        answer_from, clarify_from: the calibration's thresholds for this language on `knowledge`.
        writes: a language model words the answer, from passages that it must cite.
    """

    wish: Wish
    language: Language
    sent: tuple[str, ...]
    failures: int = 0
    intent: str | None = None
    confidence: float | None = None
    intent_set: tuple[str, ...] = ()
    urgency: str | None = None
    out_of_scope: bool | None = None
    abstain: bool | None = None
    conflict: float | None = None
    heads: Mapping[str, str | float | list[str] | None] = field(default_factory=dict)
    knowledge: float | None = None
    chosen: bool = False
    answer_from: float = 0.5
    clarify_from: float = 0.2
    writes: bool = False

    @property
    def asks(self) -> Wish:
        """The wish; small talk that comes with a picture or a document is a question."""
        return "question" if self.wish in SMALL_TALK and {"picture", "document"} & set(self.sent) else self.wish

    def as_dict(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "sent": list(self.sent), "intent_set": list(self.intent_set), "heads": dict(self.heads)}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Facts:
        """Facts as they were stored; keys that a later version added are left out."""
        known = {f.name: stored[f.name] for f in fields(cls) if f.name in stored}
        return cls(**{**known, "sent": tuple(known["sent"]), "intent_set": tuple(known.get("intent_set", ()))})


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to be done with one turn.

    Attributes:
        row: number of the row that decided, from 1.
        do: what is done in the end: a row that says "answer" hands over where nothing answers.
        reason: why a person takes over; None when none does.
        answer_from, clarify_from: the thresholds that held.
    """

    row: int
    name: str
    do: Do
    team: str | None
    priority: Priority
    reason: Reason | None
    answer_from: float
    clarify_from: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# The table ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        number: from 1.
        line: where it stands in the file.
        when: column -> condition; all must fit.
        reason: what a hand-over by this row tells the customer; None: what the facts say.
        answer_from, clarify_from: thresholds of this row alone.
    """

    number: int
    name: str
    line: int
    when: Mapping[str, Condition]
    do: Do
    team: str | None = None
    priority: Priority = "normal"
    reason: Reason | None = None
    answer_from: float | None = None
    clarify_from: float | None = None

    def fits(self, facts: Facts) -> bool:
        return all(condition.fits(fact(facts, column)) for column, condition in self.when.items())

    def covers(self, other: Row) -> bool:
        """Whether this row fits wherever the other does, as far as that can be told from the conditions."""
        return all(
            column in other.when and other.when[column].implies(condition) for column, condition in self.when.items()
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "row": self.number,
            "name": self.name,
            "line": self.line,
            "when": {column: str(condition) for column, condition in self.when.items()},
            "do": self.do,
            "team": self.team,
            "priority": self.priority,
            "reason": self.reason,
            "answer_from": self.answer_from,
            "clarify_from": self.clarify_from,
        }


COLUMNS: Mapping[str, Literal["names", "number", "flag"]] = {
    "wish": "names",
    "intent": "names",
    "urgency": "names",
    "confidence": "number",
    "conflict": "number",
    "knowledge": "number",
    "out_of_scope": "flag",
    "abstain": "flag",
    "sent": "names",
    "language": "names",
    "failures": "number",
    "chosen": "flag",
}
"""What a row may look at, and head.NAME beside it."""

_KNOWN: Mapping[str, tuple[str, ...]] = {"wish": get_args(Wish), "sent": SENT, "language": LANGUAGES}
_REASONS: tuple[str, ...] = ("requested", "low_confidence", "repeated_failure", "emergency", "policy")
_THEN = ("name", "do", "team", "priority", "reason", "answer_from", "clarify_from")
HEAD = "head."
"""Before the name of a head that has no column of its own."""


def fact(facts: Facts, column: str) -> Any:
    """What a column holds; None where it is not known, which fits no condition."""
    if column.startswith(HEAD):
        return facts.heads.get(column.removeprefix(HEAD))
    if column == "wish":
        return facts.asks
    if column == "knowledge" and facts.knowledge is None and facts.asks in ("question", "emergency"):
        return 0.0  # searched, and nothing found
    return getattr(facts, column)


_KEYS = ("teams", "thresholds", "table", "articles", *RULES)


@dataclass(frozen=True, slots=True)
class Team:
    """
    Attributes:
        title: language -> what it is called.
        intents: a hand-over with one of them goes here where its row names no team.
    """

    title: Mapping[Language, str] = field(default_factory=dict)
    intents: tuple[str, ...] = ()


# The policy -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Attributes:
        version: of the workspace; 0: the shipped one, or one that is not saved.
        teams: by id.
        thresholds: by language, as far as the policy replaces the calibration's.
        articles: intent -> ids or topics of the articles that are expected to answer it.
        warnings: what is allowed and probably not meant.
        mentions: (line, what, name) of what stands in the file and only the workspace knows: an "article", a "head", or
            a label of the head that a column ("intent", "head.topic") looks at.
    """

    text: str
    table: tuple[Row, ...]
    version: int = 0
    teams: Mapping[str, Team] = field(default_factory=dict)
    thresholds: Mapping[Language, Thresholds] = field(default_factory=dict)
    articles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gates: Gates = field(default_factory=Gates)
    rollout: Rollout = field(default_factory=Rollout)
    drift: Drift = field(default_factory=Drift)
    learning: Learning = field(default_factory=Learning)
    warnings: tuple[Mistake, ...] = ()
    mentions: tuple[tuple[int, str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, *, source: str = SOURCE, version: int = 0) -> Policy:
        """
        Args:
            source: the file's name, for messages.
        Raises:
            Mistaken: not YAML, mistakes (all of them, each with its line), or a table that would leave somebody in
                danger, or who asked for a person, without one.
        """
        return _Reader(source).policy(text, version)

    @classmethod
    def shipped(cls) -> Policy:
        """What holds where a workspace has said nothing."""
        return _shipped()

    def row_of(self, facts: Facts) -> Row:
        """The row that decides."""
        return next(row for row in self.table if row.fits(facts))

    def with_thresholds(self, *, answer_from: float) -> Policy:
        """The same, answering from another confidence on in every language."""
        changed = {
            name: replace(self.thresholds.get(name, Thresholds()), answer_from=answer_from) for name in LANGUAGES
        }
        return replace(self, thresholds=changed)

    def decide(self, facts: Facts) -> Ruling:
        row = self.row_of(facts)
        own = self.thresholds.get(facts.language, Thresholds())
        answer_from = _first(row.answer_from, own.answer_from, facts.answer_from)
        clarify_from = min(_first(row.clarify_from, own.clarify_from, facts.clarify_from), answer_from)
        do = _resolve(row.do, facts, answer_from, clarify_from)
        reason = (row.reason or _reason(facts, by_rule=row.do == do)) if do == "hand_over" else None
        team = row.team or self._team_of(facts)
        return Ruling(row.number, row.name, do, team, row.priority, reason, answer_from, clarify_from)

    def _team_of(self, facts: Facts) -> str | None:
        """Whose intent it is, where the model is sure enough of it to say one."""
        if facts.intent is None or facts.out_of_scope or facts.abstain:
            return None
        return next((name for name, team in self.teams.items() if facts.intent in team.intents), None)

    def expected_articles(self, intent: str | None) -> tuple[str, ...]:
        """Ids or topics of the articles that are expected to answer an intent."""
        return self.articles.get(intent, ()) if intent else ()

    def as_dict(self) -> dict[str, Any]:
        """Everything it says, defaults included, in plain JSON types."""
        return {
            "version": self.version,
            "teams": {name: {**team.title, "intents": list(team.intents)} for name, team in self.teams.items()},
            "thresholds": {language: asdict(own) for language, own in self.thresholds.items()},
            "table": [row.as_dict() for row in self.table],
            "articles": {intent: list(ids) for intent, ids in self.articles.items()},
            **{name: asdict(getattr(self, name)) for name in RULES},
        }


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _resolve(do: Do, facts: Facts, answer_from: float, clarify_from: float) -> Do:
    """What a row's word comes to: an answer needs knowledge, and nobody is asked back twice in a row."""
    if do == "hand_over":
        return "hand_over"
    if facts.asks in SMALL_TALK:
        return "answer"
    if not facts.sent:  # nothing could be read: it is asked for again, once
        return "clarify" if facts.failures == 0 else "hand_over"
    if facts.knowledge is None:
        return "hand_over"
    asks = facts.failures == 0 and not facts.chosen
    if do == "clarify" and asks:
        return "clarify"
    if facts.chosen or facts.knowledge >= answer_from:
        return "answer"
    if not asks or facts.knowledge < clarify_from:
        return "hand_over"
    # what cannot prove its words shows none, so it may try where a quote might be the wrong one
    return "answer" if facts.writes and do == "answer" else "clarify"


def _reason(facts: Facts, *, by_rule: bool) -> Reason:
    """
    Args:
        by_rule: the row itself says that a person takes over.
    """
    if facts.wish == "person":
        return "requested"
    if facts.wish == "emergency":
        return "emergency"
    if by_rule and facts.wish == "question":
        return "policy"
    return "repeated_failure" if facts.failures or facts.wish == "unhelped" else "low_confidence"


SHIPPED = """\
# 首行匹配即生效 · The first row that fits decides.
table:
  - {name: 危险 danger, wish: emergency, do: hand_over, priority: urgent}
  - {name: 要人工 wants a person, wish: person, do: hand_over}
  - {name: 没帮上 not helped, wish: unhelped, do: hand_over}
  - {name: 其他 everything else, do: answer}
"""


@functools.cache
def _shipped() -> Policy:
    return Policy.parse(SHIPPED)


# Reading ----------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads one file; what is wrong is noted and reading goes on, so that all of it is told at once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.mistakes = Mistakes(source)
        self.warnings: list[Mistake] = []
        self.mentions: list[tuple[int, str, str]] = []

    def policy(self, text: str, version: int) -> Policy:
        root = yaml_file.compose(text, self.source, shortest=SHIPPED)
        found = yaml_file.entries(root, "the policy", self.mistakes)
        yaml_file.refuse_unknown(found, _KEYS, "the policy", self.mistakes)
        teams = self._teams(found["teams"][1]) if "teams" in found else {}
        table: tuple[Row, ...] = ()
        if "table" in found:
            table = self._table(found["table"][1], teams if "teams" in found else None)
        elif isinstance(root, yaml.MappingNode):
            self.mistakes.add(root, f"table is missing: what to do, row by row. The shortest is\n{SHIPPED}")
        thresholds = self._thresholds(found["thresholds"][1]) if "thresholds" in found else {}
        articles = self._articles(found["articles"][1]) if "articles" in found else {}
        sections = {name: self._section(name, cls, found.get(name, NOTHING)[1]) for name, cls in CLASSES.items()}
        self.mistakes.raise_if_any()
        return Policy(
            text, table, version, teams, thresholds, articles, **sections,
            warnings=tuple(self.warnings), mentions=tuple(self.mentions),
        )  # fmt: skip

    def _teams(self, node: yaml.Node) -> dict[str, Team]:
        if not isinstance(node, yaml.MappingNode):
            return {name: Team() for name in Names().read(node, "teams", self.mistakes)}
        teams: dict[str, Team] = {}
        of: dict[str, str] = {}
        for name, (_, value) in yaml_file.entries(node, "teams", self.mistakes).items():
            teams[name] = self._team(f"teams.{name}", value)
            for intent in teams[name].intents:
                if of.setdefault(intent, name) != name:
                    self.mistakes.add(value, f"teams.{name}: {intent} belongs to {of[intent]} already; keep one")
        return teams

    def _team(self, where: str, node: yaml.Node) -> Team:
        if yaml_file.null(node):
            return Team()
        if (title := yaml_file.plain(node)) is not None:
            return Team(dict.fromkeys(LANGUAGES, title))
        found = yaml_file.entries(node, where, self.mistakes)
        yaml_file.refuse_unknown(found, (*LANGUAGES, "intents"), where, self.mistakes)
        title_of = {language: self._text(found, language, where) for language in LANGUAGES}
        intents = Names().read(found["intents"][1], f"{where}.intents", self.mistakes) if "intents" in found else ()
        self._mention("intent", found["intents"][1] if intents else node, intents)
        return Team({language: text for language, text in title_of.items() if text}, intents)

    def _thresholds(self, node: yaml.Node) -> dict[Language, Thresholds]:
        found = yaml_file.entries(node, "thresholds", self.mistakes)
        if set(found) & set(LANGUAGES):
            yaml_file.refuse_unknown(found, LANGUAGES, "thresholds", self.mistakes)
            return {
                language: self._pair(found[language][1], f"thresholds.{language}")
                for language in LANGUAGES
                if language in found
            }
        return dict.fromkeys(LANGUAGES, self._pair(node, "thresholds"))

    def _pair(self, node: yaml.Node, where: str) -> Thresholds:
        found = yaml_file.entries(node, where, self.mistakes)
        yaml_file.refuse_unknown(found, THRESHOLDS, where, self.mistakes)
        own = Thresholds(**self._values(found, THRESHOLDS, f"{where}."))
        self._ordered(node, where, own.answer_from, own.clarify_from)
        return own

    def _ordered(self, node: yaml.Node, where: str, answer_from: float | None, clarify_from: float | None) -> None:
        if answer_from is not None and clarify_from is not None and clarify_from > answer_from:
            self.mistakes.add(
                node, f"{where}: clarify_from {clarify_from:g} lies above answer_from {answer_from:g}; swap them"
            )

    def _values(self, found: Mapping[str, Any], rules: Mapping[str, Any], where: str) -> dict[str, Any]:
        read = {n: rules[n].read(value, f"{where}{n}", self.mistakes) for n, (_, value) in found.items() if n in rules}
        return {name: value for name, value in read.items() if value is not MISSING}

    def _articles(self, node: yaml.Node) -> dict[str, tuple[str, ...]]:
        found = yaml_file.entries(node, "articles", self.mistakes)
        read = {name: Names().read(value, f"articles.{name}", self.mistakes) for name, (_, value) in found.items()}
        for name, (key, value) in found.items():
            self._mention("intent", key, (name,))
            self._mention("article", value, read[name])
        return read

    def _mention(self, what: str, node: yaml.Node, names: Sequence[str]) -> None:
        self.mentions += [(yaml_file.line_of(node), what, name) for name in names]

    def _section(self, name: str, cls: type, node: yaml.Node | None, rules: Any = None) -> Any:
        if node is None or yaml_file.null(node):
            return cls()
        rules = rules or RULES[name]
        found = yaml_file.entries(node, name, self.mistakes)
        yaml_file.refuse_unknown(found, rules, name, self.mistakes)
        leaves = {key: rule for key, rule in rules.items() if not isinstance(rule, Mapping)}
        read = self._values(found, leaves, f"{name}.")
        for key, inner in get_type_hints(cls).items():
            if is_dataclass(inner) and key in found:
                read[key] = self._section(f"{name}.{key}", inner, found[key][1], rules[key])  # type: ignore[arg-type]
        return cls(**read)

    # The table

    def _table(self, node: yaml.Node, teams: Mapping[str, Any] | None) -> tuple[Row, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            came = "empty" if isinstance(node, yaml.SequenceNode) else yaml_file.came(node)
            self.mistakes.add(node, f"table is {came}; allowed: a list of rows. The shortest is\n{SHIPPED}")
            return ()
        before = len(self.mistakes.told)
        rows = [self._row(number, item, teams) for number, item in enumerate(node.value, 1)]
        if len(self.mistakes.told) > before:
            return ()  # what a row that was not understood would do is not worth telling
        if rows[-1].when:
            self.mistakes.add(
                node.value[-1],
                f"the last row has conditions ({', '.join(rows[-1].when)}), so some turns fit no row; "
                "add a row of only `do: answer` or `do: hand_over`",
            )
        self._refuse_unsafe(rows)
        self._warn(rows, teams or {})
        return tuple(rows)

    def _row(self, number: int, node: yaml.Node, teams: Mapping[str, Any] | None) -> Row:
        where = f"row {number}"
        found = yaml_file.entries(node, where, self.mistakes)
        for name, (key, _) in found.items():
            if name not in COLUMNS and name not in _THEN and not (name.startswith(HEAD) and len(name) > len(HEAD)):
                near = yaml_file.nearest(name, (*COLUMNS, *_THEN))
                columns = f"{', '.join(COLUMNS)}, head.NAME; then {', '.join(_THEN)}"
                self.mistakes.add(key, f"{where} knows no column {yaml_file.short(name)!r}; allowed: {columns}.{near}")
        when = {
            name: condition
            for name, (_, value) in found.items()
            if (name in COLUMNS or name.startswith(HEAD))
            and (condition := self._condition(name, value, where)) is not None
        }
        rules = {"do": Choice(get_args(Do)), "priority": Choice(PRIORITIES), "reason": Choice(_REASONS), **THRESHOLDS}
        read = self._values(found, rules, f"{where}: ")
        if "do" not in found and isinstance(node, yaml.MappingNode):
            self.mistakes.add(node, f"{where} does not say what to do; add do: answer, clarify or hand_over")
        self._ordered(node, where, read.get("answer_from"), read.get("clarify_from"))
        name = self._text(found, "name", where) or "; ".join(f"{c}: {condition}" for c, condition in when.items())
        team = self._text(found, "team", where)
        if team and teams is not None and team not in teams:
            near = yaml_file.nearest(team, teams)
            self.mistakes.add(
                found["team"][1], f"{where}: there is no team {team!r}; teams: {', '.join(teams) or 'none'}.{near}"
            )
        elif team and teams is None:
            self.mistakes.add(found["team"][1], f"{where}: team {team!r} stands in no list; add `teams: [{team}]`")
        return Row(number, name or "else", yaml_file.line_of(node), when, team=team, **{"do": "hand_over", **read})

    def _text(self, found: Mapping[str, Any], key: str, where: str) -> str | None:
        if key not in found or yaml_file.null(found[key][1]):
            return None
        value = yaml_file.plain(found[key][1])
        if not value or not value.strip() or len(value) > 200:
            came = yaml_file.came(found[key][1])
            self.mistakes.add(found[key][1], f"{where}: {key} is {came}; allowed: a text of at most 200 characters")
            return None
        return value.strip()

    def _condition(self, column: str, node: yaml.Node, where: str) -> Condition | None:
        kind = COLUMNS.get(column)
        if kind is None:  # a head: what it is compared with tells what it holds
            self._mention("head", node, (column.removeprefix(HEAD),))
            text = yaml_file.plain(node) or ""
            kind = "number" if re.match(r"[<>=]", text.strip()) or re.fullmatch(NUMBER, text.strip()) else "names"
        if kind == "flag":
            read = Flag().read(node, f"{where}: {column}", self.mistakes)
            return None if read is MISSING else Is(read)
        return (
            self._compare(column, node, where) if kind == "number" else self._one_of(column, node, where)
        )  # fmt: skip

    def _compare(self, column: str, node: yaml.Node, where: str) -> Compare | None:
        text = (yaml_file.plain(node) or "").strip()
        bounds: list[tuple[str, float]] = []
        for piece in re.split(r"\s+and\s+", text):
            if not (match := re.fullmatch(rf"(<=|>=|<|>|=|==)?\s*({NUMBER})", piece)):
                self.mistakes.add(
                    node,
                    f"{where}: {column} is {yaml_file.came(node)}; allowed: a comparison with a number, such as "
                    '"< 0.4" or ">= 0.4 and < 0.6" (in quotation marks where it begins with >)',
                )
                return None
            operator = (match[1] or "=").replace("==", "=")
            bounds.append((operator, float(match[2])))
        condition = Compare(tuple(bounds))
        if condition.empty:
            self.mistakes.add(node, f"{where}: {column} is {text!r}, which no number is")
        return condition

    def _one_of(self, column: str, node: yaml.Node, where: str) -> OneOf | None:
        before = len(self.mistakes.told)
        said = Names().read(node, f"{where}: {column}", self.mistakes)
        inverted = {name.startswith("not ") for name in said}
        names = tuple(name.removeprefix("not ").strip() for name in said)
        if len(inverted) > 1:
            self.mistakes.add(
                node, f"{where}: {column} holds names and `not` names; write only names, or `not` before each"
            )
        for name in names:
            if column in _KNOWN and name not in _KNOWN[column]:
                known = _KNOWN[column]
                near = yaml_file.nearest(name, known)
                self.mistakes.add(
                    node, f"{where}: {column} is {yaml_file.short(name)!r}; allowed: {', '.join(known)}.{near}"
                )
        if column not in _KNOWN:
            self._mention(column, node, names)
        return OneOf(names, inverted == {True}) if len(self.mistakes.told) == before else None

    def _refuse_unsafe(self, rows: Sequence[Row]) -> None:
        """Whoever is in danger or asked for a person gets one, by the rows alone and whatever the other facts are."""
        unsafe: dict[int, tuple[Row, list[str]]] = {}
        for wish in SAFE:
            for row in rows:
                of_wish = row.when.get("wish")
                if of_wish is not None and not of_wish.fits(wish):
                    continue
                if row.do != "hand_over":
                    unsafe.setdefault(row.number, (row, []))[1].append(wish)
                    break
                if not row.when or set(row.when) == {"wish"}:
                    break
        for row, wishes in unsafe.values():
            message = (
                f"row {row.number} ({row.name}) would {row.do} where the wish is {' or '.join(wishes)}; such a "
                f"customer gets a person. Put a row `wish: [{', '.join(wishes)}]`, `do: hand_over` before it"
            )
            self.mistakes.told.append(Mistake(row.line, message))

    def _warn(self, rows: Sequence[Row], teams: Mapping[str, Team]) -> None:
        for i, row in enumerate(rows):
            earlier = next((one for one in rows[:i] if one.covers(row)), None)
            if earlier:
                message = (
                    f"row {row.number} ({row.name}) never decides: row {earlier.number} ({earlier.name}) fits first"
                )
                self.warnings.append(Mistake(row.line, message))
        named: dict[str, Row] = {}
        for row in rows:
            if row.name in named:
                self.warnings.append(
                    Mistake(row.line, f"rows {named[row.name].number} and {row.number} are both called {row.name}")
                )
            named.setdefault(row.name, row)
        idle = [name for name, team in teams.items() if not team.intents and not any(row.team == name for row in rows)]
        if idle:
            self.warnings.append(Mistake(1, f"no row hands over to {', '.join(idle)}"))


# Keeping ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Policy:
    return Policy.parse(text)


def policy_of(row: Stored | None) -> Policy:
    """A stored version; the shipped policy for none."""
    return replace(_parsed(row["text"]), version=row["version"]) if row else Policy.shipped()


async def load_policy(tx: Tx) -> Policy:
    """The one that holds in the transaction's workspace."""
    return policy_of(await tx.one("policy_now"))


async def save_policy(
    tx: Tx, text: str, note: str = "", agent_id: str | None = None, *, base_version: int | None = None
) -> Policy:
    """Make a text the policy that holds, as the next version; the same text again is the same version.

    Args:
        base_version: the version it was made from.
    Raises:
        Mistaken: there are mistakes in it.
        Conflict: somebody saved another version since `base_version`.
    """
    policy = Policy.parse(text)
    await tx.run("lock_policies")
    now = await load_policy(tx)
    if now.version and now.text == text:
        return now
    if base_version is not None and base_version != now.version:
        raise Conflict(
            f"the policy is at version {now.version}, yours was made from version {base_version}. "
            "Load it again and make your change there.",
            code="changed_meanwhile",
        )
    version = await tx.value("save_policy", version=now.version + 1, text=text, note=note, agent_id=agent_id)
    return replace(policy, version=version)
