"""Whether a candidate may take the active model's place: nothing that matters got worse.

`decide` reads what `learn/candidate.py` measured and what the policy allows. It does no I/O and knows no model, so the
same figures always lead to the same verdict, and every sentence of it names the figures it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from duomo.support.policy_sections import Gates

State = Literal["promoted", "refused", "nothing_new"]
Kind = Literal[
    "evidence",
    "labels",
    "accuracy",
    "slice",
    "wrong_answers",
    "out_of_scope",
    "calibration",
    "base",
    "guessing",
    "gain",
]

FEW = 200  # labelled rows
DOUBT = 0.2  # p of the paired difference from which a loss on few rows may well be chance
HIGHER = ("accuracy", "subset_accuracy")
IN_SCOPE = "in_scope_accuracy"
SCOPE = ("out_of_scope_recall", "out_of_scope_precision", IN_SCOPE)


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that was looked at.

    Attributes:
        gate: a gain is no gate but a reason to promote, and stands beside them so that a reader finds its figures.
        why: in English, for the command line and for programs; the console says it from the figures, in both languages.
        figures: what it rests on: head, kind and name of a slice, n, first, second, value, low, high, p. Of a gain also
            `gain`: fresh, labels, answers, accuracy.
    """

    gate: Kind
    passed: bool
    why: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    why: str
    gates: tuple[Gate, ...]


def decide(result: Mapping[str, Any], rule: Gates) -> Verdict:
    """
    Args:
        result: of result.json: labels, comparison, base.
    """
    gates = tuple(look(result, rule))
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        return Verdict("refused", " ".join(gate.why for gate in failed), gates)
    gains = tuple(_gains(result))
    if not gains:
        return Verdict("nothing_new", "the candidate is no better than the active model and knows nothing new.", gates)
    return Verdict("promoted", " ".join(gain.why for gain in gains), (*gates, *gains))


def look(result: Mapping[str, Any], rule: Gates) -> Iterator[Gate]:
    """Every gate, whether passed or not."""
    heads = result["comparison"]["heads"]
    n = sum(one["n"] for one in heads.values())
    apart = sum(one["held_out"] for one in heads.values())
    told = f"{n} labelled rows compare them, {apart} of them held out."
    told = told if n else "no labelled row is left to measure the candidate on."
    yield Gate("evidence", n > 0, told, {"n": n, "held_out": apart})
    for head, labels in result["labels"].items():
        lost = ", ".join(labels["lost"])
        why = f"{head} no longer knows {lost}." if lost else f"{head} knows every label it knew."
        yield Gate("labels", not lost, why, {"head": head, "lost": list(labels["lost"]), "new": list(labels["new"])})
    for head, one in heads.items():
        yield from (
            _beside(head, one, rule) if result["comparison"]["against"] and "slices" in one else _alone(head, one)
        )
    yield from _base(result, rule)


def _beside(head: str, one: Mapping[str, Any], rule: Gates) -> Iterator[Gate]:
    figures = one["figures"]
    for name in HIGHER:
        if name in figures:
            yield _whole(head, name, figures[name], one["n"], rule)
    for part in one["slices"]:
        if part["n"] >= rule.min_slice:
            yield _slice(head, part, rule)
    if one.get("wrong_answers"):
        yield _more(head, "wrong_answers", "wrong answers", one["wrong_answers"], one["n"], rule)
    for name in SCOPE:
        rows = one["n"] if name == IN_SCOPE else one.get("out_of_scope_rows", one["n"])
        if name in figures and rows >= rule.min_slice:
            yield _less(head, "out_of_scope", name.replace("_", " "), figures[name], one["n"], rule)
    if "ece" in figures and one["n"] >= FEW:  # of fewer rows it says more of chance than of the model
        yield _more(head, "calibration", "calibration error", figures["ece"], one["n"], rule)


def _whole(head: str, name: str, found: Mapping[str, Any], n: int, rule: Gates) -> Gate:
    """All rows: may not lose more than the policy allows, and never surely. Of few rows a loss that may well be chance
    is left to the shadow and the canary: half of all equally good models would be refused for it."""
    chance = n < FEW and found["p"] >= DOUBT
    passed = (found["value"] >= rule.min_accuracy_gain or chance) and not found["high"] < 0
    why = f"{name.replace('_', ' ')} of {head}: {_difference(found)} on {n} rows."
    return Gate("accuracy", passed, why, {"head": head, "name": name, "n": n, **found})


def _slice(head: str, part: Mapping[str, Any], rule: Gates) -> Gate:
    worse = part["value"] if part["figure"] == "mae" else -part["value"]
    passed = not (worse > rule.worse_slice and part["p"] < rule.significance)
    why = f"{head} where {part['kind']} is {part['name']}: {_difference(part)} on {part['n']} rows."
    return Gate("slice", passed, why, {"head": head, **part})


def _less(head: str, gate: Kind, name: str, found: Mapping[str, Any], n: int, rule: Gates) -> Gate:
    passed = not (found["value"] < -rule.worse_slice and found["p"] < rule.significance)
    return Gate(gate, passed, f"{name} of {head}: {_difference(found)}.", {"head": head, "name": name, "n": n, **found})


def _more(head: str, gate: Kind, name: str, found: Mapping[str, Any], n: int, rule: Gates) -> Gate:
    passed = not (found["value"] > rule.worse_slice and found["p"] < rule.significance)
    return Gate(gate, passed, f"{name} of {head}: {_difference(found)}.", {"head": head, "n": n, **found})


def _alone(head: str, one: Mapping[str, Any]) -> Iterator[Gate]:
    """Of a head that nothing answers yet: it must beat saying ever the same."""
    accuracy = one["figures"].get("accuracy")
    if accuracy is None or accuracy["low"] is None:
        return
    passed = accuracy["low"] > one["most_frequent"]
    why = (
        f"{head} is right in {accuracy['value']:.1%} of {one['n']} rows ({accuracy['low']:.1%} to "
        f"{accuracy['high']:.1%}); saying ever the same would be in {one['most_frequent']:.1%}."
    )
    yield Gate(
        "guessing", passed, why, {"head": head, "n": one["n"], "most_frequent": one["most_frequent"], **accuracy}
    )


def _base(result: Mapping[str, Any], rule: Gates) -> Iterator[Gate]:
    """What it began with is not to be forgotten for what came last."""
    for head, one in result["base"]["heads"].items():
        if result["base"]["rows"] >= rule.min_slice and one["measure"] == "accuracy":
            passed = one["second"] >= one["first"] - rule.worse_slice
            why = f"{head} on the samples it began with: {one['first']:.1%} before, {one['second']:.1%} now."
            yield Gate("base", passed, why, {"head": head, "n": result["base"]["rows"], **one})


def _gains(result: Mapping[str, Any]) -> Iterator[Gate]:
    if fresh := result.get("fresh", 0):
        yield _gain("fresh", f"it learned from {fresh} labelled turns more.", n=fresh)
    for head, labels in result["labels"].items():
        if labels["new"]:
            yield _gain("labels", f"{head} learned {', '.join(labels['new'])}.", head=head, new=list(labels["new"]))
    for head, one in result["comparison"]["heads"].items():
        if not result["comparison"]["against"] or "slices" not in one:
            yield _gain("answers", f"{head} has an answer where there was none.", head=head)
            continue
        for name in HIGHER:
            if name in one["figures"] and one["figures"][name]["value"] > 0:
                found = one["figures"][name]
                why = f"{name.replace('_', ' ')} of {head}: {_difference(found)} on {one['n']} rows."
                yield _gain("accuracy", why, head=head, name=name, n=one["n"], **found)


def _gain(gain: str, why: str, **figures: Any) -> Gate:
    return Gate("gain", True, why, {"gain": gain, **figures})


def _difference(found: Mapping[str, Any]) -> str:
    plain, signed = (".2f", "+.2f") if found.get("figure") == "mae" else (".1%", "+.1%")
    return (
        f"{found['first']:{plain}} before, {found['second']:{plain}} now "
        f"({found['value']:{signed}}, {found['low']:{signed}} to {found['high']:{signed}})"
    )
