"""What a row of the policy asks of one fact, and whether one condition follows from another."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OneOf:
    """Fits where the fact is one of some names, or none of them."""

    names: tuple[str, ...]
    inverted: bool = False

    def fits(self, value: Any) -> bool:
        if value is None:
            return False
        held = {str(one) for one in value} if isinstance(value, (list, tuple)) else {str(value)}
        return held.isdisjoint(self.names) == self.inverted

    def implies(self, other: Condition) -> bool:
        if not isinstance(other, OneOf):
            return False
        mine, theirs = set(self.names), set(other.names)
        if self.inverted:
            return other.inverted and mine >= theirs
        return mine.isdisjoint(theirs) if other.inverted else mine <= theirs

    def __str__(self) -> str:
        return ("not " if self.inverted else "") + ", ".join(self.names)


@dataclass(frozen=True, slots=True)
class Is:
    """Fits where a yes-or-no fact is so."""

    value: bool

    def fits(self, value: Any) -> bool:
        return value is self.value

    def implies(self, other: Condition) -> bool:
        return self == other

    def __str__(self) -> str:
        return "yes" if self.value else "no"


_COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
}


@dataclass(frozen=True, slots=True)
class Compare:
    """Fits where a number compares so with each of some bounds."""

    bounds: tuple[tuple[str, float], ...]  # (operator, number)

    def fits(self, value: Any) -> bool:
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        return known and all(_COMPARE[operator](value, number) for operator, number in self.bounds)

    def implies(self, other: Condition) -> bool:
        return isinstance(other, Compare) and all(any(_within(a, b) for a in self.bounds) for b in other.bounds)

    @property
    def empty(self) -> bool:
        """No number fits."""
        numbers = sorted({number for _, number in self.bounds})
        between = [(a + b) / 2 for a, b in itertools.pairwise(numbers)]
        tried = [numbers[0] - 1, *numbers, *between, numbers[-1] + 1]
        return not any(self.fits(number) for number in tried)

    def __str__(self) -> str:
        return " and ".join(f"{operator} {number:g}" for operator, number in self.bounds)


def _within(a: tuple[str, float], b: tuple[str, float]) -> bool:
    """Whether every number that fits `a` fits `b`."""
    (mine, x), (theirs, y) = a, b
    if mine == "=":
        return bool(_COMPARE[theirs](x, y))
    if mine[0] != theirs[0]:
        return False
    beyond = x < y if mine[0] == "<" else x > y
    return beyond or (x == y and not (len(mine) > len(theirs)))


Condition = OneOf | Is | Compare
