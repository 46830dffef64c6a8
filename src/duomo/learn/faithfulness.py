"""Whether explanations are true of the model they explain.

Without what they call important its confidence must fall faster than without units picked at random, and with it alone
rise faster.

Source: deletion and insertion, Petsiuk et al. 2018, arXiv:1806.07421.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from duomo.errors import InputError
from duomo.learn.explain import Explainable, Taken
from duomo.models.heads import Doubles
from duomo.types import Sample


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Whether explanations are true of the model, over n samples.

    Attributes:
        steps: (s,) share of the units taken away (deletion) or given (insertion).
        deletion, insertion: (s,) mean confidence with the units in the order of their scores; `random_`: in random
            orders. Deletion should lie below random, insertion above.
        deletion_p, insertion_p: chance of such a gain in area, or a larger one, if the order told nothing (Wilcoxon's
            signed-rank test over samples, one-sided).
    """

    n: int
    steps: tuple[float, ...]
    deletion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_insertion: tuple[float, ...]
    deletion_p: float
    insertion_p: float

    def areas(self) -> dict[str, float]:
        """Under each curve, [0, 1]."""
        names = ("deletion", "random_deletion", "insertion", "random_insertion")
        return {name: _area(np.array(getattr(self, name))) for name in names}

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "areas": self.areas()}

    def to_text(self) -> str:
        areas = self.areas()
        return (
            f"{self.n} samples. Area under deletion {areas['deletion']:.3f}, at random {areas['random_deletion']:.3f} "
            f"(lower is better, p = {self.deletion_p:.2g}); under insertion {areas['insertion']:.3f}, at random "
            f"{areas['random_insertion']:.3f} (higher is better, p = {self.insertion_p:.2g})."
        )


def faithfulness(
    model: Explainable,
    samples: Sequence[Sample],
    *,
    head: str | None = None,
    steps: int = 8,
    orders: int = 3,
    seed: int = 0,
) -> Faithfulness:
    """Take units away (and give them back) in the order of their scores, and in random orders.

    Confidence is the probability of the label that is predicted for the whole sample; of a number 1 - its distance from
    the whole sample's value in standard deviations of the prior, at least 0.

    Args:
        steps: points of the curves after the first.
        orders: random ones a sample.
    Raises:
        InputError: no samples.
    """
    if not samples:
        raise InputError("no samples to test explanations on. Give some that the model has not learnt from.")
    random = np.random.default_rng(seed)
    curves = np.array([_curves(model, sample, head, steps, orders, random) for sample in samples])  # (n, 4, steps + 1)
    areas = np.apply_along_axis(_area, 2, curves)  # (n, 4)
    mean = curves.mean(axis=0)
    return Faithfulness(
        n=len(samples),
        steps=tuple(float(share) for share in np.linspace(0, 1, steps + 1)),
        deletion=_plain(mean[0]),
        random_deletion=_plain(mean[1]),
        insertion=_plain(mean[2]),
        random_insertion=_plain(mean[3]),
        deletion_p=_signed_rank(areas[:, 1] - areas[:, 0]),
        insertion_p=_signed_rank(areas[:, 2] - areas[:, 3]),
    )


def _curves(
    model: Explainable, sample: Sample, head: str | None, steps: int, orders: int, random: np.random.Generator
) -> Doubles:
    """(4, steps + 1) deletion, deletion at random, insertion, insertion at random."""
    taken = Taken(model, sample, head=head, label=None)
    understanding, info = model.understanding, taken.info
    whole = float(understanding.support(taken.features([{}]), info.name, taken.target)[0])
    pieces = [(name, unit, i) for name, units in taken.scored(whole).items() for i, unit in enumerate(units)]
    scores = np.array([abs(unit.score) if info.type == "number" else unit.score for _, unit, _ in pieces])
    ranked = [np.argsort(-scores, kind="stable"), *(random.permutation(len(pieces)) for _ in range(orders))]
    cuts = [round(len(pieces) * step / steps) for step in range(steps + 1)]

    def gone(rows: Iterable[int]) -> dict[str, frozenset[int]]:
        chosen = [pieces[row] for row in rows]
        return {name: frozenset(i for other, _, i in chosen if other == name) for name in taken.values}

    removals = [gone(order[:cut]) for order in ranked for cut in cuts]
    removals += [gone(order[cut:]) for order in ranked for cut in cuts]
    support = understanding.support(taken.features(removals), info.name, taken.target)
    if info.type == "number":
        sure = np.maximum(0, 1 - np.abs(support - whole) / max(info.prior[1], 1e-12))
    else:
        sure = 1 / (1 + np.exp(-support))
    table = sure.reshape(2, orders + 1, steps + 1)
    return np.stack([table[0, 0], table[0, 1:].mean(axis=0), table[1, 0], table[1, 1:].mean(axis=0)])


def _area(curve: Doubles) -> float:
    """Trapezoids over equal steps, from 0 to 1."""
    return float((curve[:-1] + curve[1:]).mean() / 2)


def _plain(curve: Doubles) -> tuple[float, ...]:
    return tuple(float(value) for value in curve)


def _signed_rank(gains: Doubles) -> float:
    if not np.any(np.abs(gains) > 1e-12):
        return 1.0
    return float(stats.wilcoxon(gains, alternative="greater").pvalue)
