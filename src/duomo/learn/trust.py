"""How far to believe a model: temperature, prediction sets and abstention for every availability pattern.

All of it is fitted on out-of-fold scores: what the model said of rows whose group it had not seen. So the groups are
already accounted for, and rows count alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, floor, log2
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from duomo.errors import InputError
from duomo.learn.metrics import bin_of
from duomo.models.features import Mask
from duomo.models.heads import (
    Doubles,
    HeadInfo,
    PatternTrust,
    SetMethod,
    Trust,
    confidence,
    nonconformity,
    probabilities,
)

POOL_SPREAD = 1.0  # standard deviation of log temperature around 0 that is expected of a model
PATTERN_SPREAD = 0.3  # the same of a pattern around the model's own
FEWEST = 20  # rows below which a pattern uses the thresholds of all patterns together
NEVER = 1.01  # above any confidence: a person decides every row
DOUBT = 0.1  # chance that the kept rows' error is above the allowed one after all
Criterion = Literal["youden", "f1"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Out-of-fold scores of one head for rows seen with one availability pattern.

    Attributes:
        logits: (n, C) as `Scores.fused`.
        truth: class: (n,) index of the label, negative where not labelled; multilabel: (n, C) bool; number: (n,),
            NaN where not labelled.
        groups: (n,) number of each row's group, for `cross_checked`; None: every row its own.
    """

    logits: NDArray[Any]
    truth: NDArray[Any]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: NDArray[Any]) -> Evidence:
        groups = None if self.groups is None else self.groups[rows]
        return Evidence(self.logits[rows], self.truth[rows], groups)

    def labelled(self) -> Evidence:
        if self.truth.dtype == np.bool_:
            return self
        known = np.isfinite(self.truth) if np.issubdtype(self.truth.dtype, np.floating) else self.truth >= 0
        return self.take(np.flatnonzero(known))


@dataclass(frozen=True, slots=True)
class Checked:
    """What the fitted trust is worth on rows it was not fitted on."""

    n: int
    ece_before: float
    ece_after: float
    coverage: float  # share of rows whose set holds the truth
    set_size: float  # labels in a set; number: the interval's width
    abstained: float  # share of rows
    error_kept: float  # share of wrong rows among those not abstained on; 0 when none is left


def fit(
    head: HeadInfo,
    evidence: Mapping[str, Evidence],
    *,
    coverage: float = 0.9,
    method: SetMethod = "lac",
    allowed_error: float = 0.1,
) -> Trust:
    """
    Args:
        evidence: by availability pattern ("text+image"); the same rows may stand under several, seen with less.
        coverage: share of rows whose prediction set (a number's interval) shall hold the truth, in (0, 1).
        allowed_error: share of wrong rows among those answered without a person, in (0, 1).

    Sources: temperature, Guo et al. 2017, arXiv:1706.04599; split conformal sets with a threshold for each group of
    rows (Mondrian), Vovk et al. 2003, with the finite-sample rank (n + 1) coverage; abstention with a guaranteed
    error, Geifman & El-Yaniv 2017, arXiv:1705.08500.
    """
    for name, share in (("coverage", coverage), ("allowed_error", allowed_error)):
        if not 0 < share < 1:
            raise InputError(f"{name} is {share}, wanted a share between 0 and 1, such as 0.9.")
    known = {pattern: rows.labelled() for pattern, rows in evidence.items()}
    known = {pattern: rows for pattern, rows in known.items() if len(rows)}
    trust = Trust(method=method, coverage=coverage)
    if not known:
        return trust
    warm = 1.0 if head.type == "number" else temperature(head, list(known.values()), around=1.0, spread=POOL_SPREAD)
    trust = replace(trust, default=PatternTrust(temperature=warm, n=sum(map(len, known.values()))))
    patterns = {}
    for pattern, rows in known.items():
        own = warm if head.type == "number" else temperature(head, [rows], around=warm, spread=PATTERN_SPREAD)
        patterns[pattern] = PatternTrust(temperature=own, n=len(rows))
    trust = replace(trust, patterns=patterns)
    head = replace(head, trust=trust)
    parts = {pattern: _judged(head, pattern, rows) for pattern, rows in known.items()}
    pooled = _thresholds(head, trust.default, list(parts.values()), None, allowed_error)
    return replace(
        trust,
        default=pooled,
        patterns={
            pattern: _thresholds(head, own, [parts[pattern]], pooled, allowed_error)
            for pattern, own in patterns.items()
        },
    )


def temperature(head: HeadInfo, evidence: list[Evidence], *, around: float, spread: float) -> float:
    """The temperature that makes the truth likeliest, drawn towards `around` where there are few rows.

    Minimises the negative log-likelihood of all rows plus (log T - log around)^2 / (2 spread^2).
    """
    logits = np.concatenate([rows.logits for rows in evidence]).astype(np.float64)
    truth = np.concatenate([rows.truth for rows in evidence])

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        if head.type == "class":
            likely = scaled[np.arange(len(truth)), truth] - np.logaddexp.reduce(scaled, axis=1)
        else:
            likely = -np.logaddexp(0, np.where(truth, -scaled, scaled))
        return float(-likely.sum() + (log_temperature - np.log(around)) ** 2 / (2 * spread**2))

    bounds = (float(np.log(around)) - 4, float(np.log(around)) + 4)
    return float(np.exp(optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x))


@dataclass(frozen=True, slots=True)
class _Judged:
    strange: Doubles  # (n,) nonconformity of the truth
    sure: Doubles  # (n,) confidence of the prediction
    right: Mask  # (n,) whether it is true


def _judged(head: HeadInfo, pattern: str, rows: Evidence) -> _Judged:
    chances = probabilities(rows.logits, [pattern] * len(rows), head)
    if head.type == "number":
        distance = np.abs(chances[:, 0] - rows.truth)
        return _Judged(distance, np.ones(len(rows)), np.ones(len(rows), dtype=np.bool_))
    if head.type == "multilabel":
        strange = np.where(rows.truth, nonconformity(chances), 0.0).max(axis=1, initial=0.0)
        return _Judged(strange, confidence(chances, head), ((chances >= 0.5) == rows.truth).all(axis=1))
    every = np.arange(len(rows))
    strange = nonconformity(chances, head.trust.method)[every, rows.truth]
    return _Judged(strange, confidence(chances, head), chances.argmax(axis=1) == rows.truth)


def _thresholds(
    head: HeadInfo, found: PatternTrust, parts: list[_Judged], pooled: PatternTrust | None, allowed_error: float
) -> PatternTrust:
    if pooled is not None and found.n < FEWEST:
        return replace(found, conformal=pooled.conformal, abstain_below=pooled.abstain_below)
    strange, sure, right = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("strange", "sure", "right")
    )
    limit = conformal_threshold(strange, coverage=head.trust.coverage)
    if limit is None and pooled is not None:
        limit = pooled.conformal
    below = 0.0 if head.type == "number" else abstention_threshold(sure, right, allowed_error=allowed_error)
    return replace(found, conformal=limit, abstain_below=below)


def conformal_threshold(strange: Doubles, *, coverage: float) -> float | None:
    """The ceil((n + 1) coverage)-th smallest nonconformity; None when n is too small to promise it."""
    rank = ceil((len(strange) + 1) * coverage - 1e-9)
    return float(np.partition(strange, rank - 1)[rank - 1]) if rank <= len(strange) else None


def abstention_threshold(sure: Doubles, right: Mask, *, allowed_error: float) -> float:
    """The lowest confidence from which on answers may be given without a person.

    Keeps as many rows as possible so that their error stays below `allowed_error` in 1 - DOUBT of all draws of the
    rows. With too few rows to prove that, the error is estimated as (errors + 1) / (kept + 2) instead.

    Returns:
        0 when all may be answered, NEVER when none.
    """
    order = np.argsort(-sure, kind="stable")
    falling, errors = sure[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(np.diff(falling) < 0, True))  # equally sure rows are kept or left together
    kept, wrong = ends + 1, errors[ends]
    steps = max(1, ceil(log2(len(kept) + 1)))
    proven = stats.beta.ppf(1 - DOUBT / steps, wrong + 1, kept - wrong)  # Clopper-Pearson
    for bound in (np.where(wrong == kept, 1.0, proven), (wrong + 1) / (kept + 2)):
        allowed = np.flatnonzero(bound <= allowed_error)
        if len(allowed):
            last = allowed[-1]
            return 0.0 if last == len(kept) - 1 else float((falling[ends[last]] + falling[ends[last] + 1]) / 2)
    return NEVER


def out_of_scope_threshold(
    scores_in: Doubles,
    scores_out: Doubles | None = None,
    *,
    false_alarms: float = 0.05,
    criterion: Criterion = "youden",
) -> float:
    """The logit from which on a row is out of scope, from validation rows.

    Args:
        scores_in: (n,) logits of rows that one of the labels fits.
        scores_out: (m,) of rows that none fits; None when there are no such examples.
        false_alarms: largest share of rows in scope that may be called out of scope.
        criterion: what to maximise within that share. youden: recall of out-of-scope rows minus false alarms, which
            does not depend on how many of them the validation rows happen to have; f1: of out of scope as the
            positive class. Without examples the threshold is the one that uses up the share.
    """
    if not len(scores_in):
        raise InputError("no validation row is in scope; a threshold needs some. Keep apart more rows.")
    inside = np.sort(np.asarray(scores_in, dtype=np.float64))
    tolerated = max(0, floor(false_alarms * (len(inside) + 1) + 1e-9) - 1)  # the row to come counts as one
    below = inside[len(inside) - 1 - tolerated] if tolerated < len(inside) else -np.inf
    if scores_out is None or not len(scores_out):
        return float(np.nextafter(below, np.inf))
    outside = np.sort(np.asarray(scores_out, dtype=np.float64))
    values = np.unique(np.concatenate([inside, outside]))
    candidates = np.append((values[:-1] + values[1:]) / 2, np.nextafter(values[-1], np.inf))
    candidates = candidates[candidates > below]
    alarms = len(inside) - np.searchsorted(inside, candidates)
    caught = len(outside) - np.searchsorted(outside, candidates)
    if criterion == "youden":
        worth = caught / len(outside) - alarms / len(inside)
    else:
        worth = 2 * caught / (alarms + caught + len(outside))
    return float(candidates[int(worth.argmax())])


def cross_checked(
    head: HeadInfo,
    evidence: Mapping[str, Evidence],
    *,
    coverage: float = 0.9,
    method: SetMethod = "lac",
    allowed_error: float = 0.1,
    seed: int = 0,
) -> dict[str, Checked]:
    """By pattern: fit on half of the groups, judge the other half, and the other way round."""
    random = np.random.default_rng(seed)
    groups = {p: np.arange(len(rows)) if rows.groups is None else rows.groups for p, rows in evidence.items()}
    most = max((int(numbers.max(initial=-1)) + 1 for numbers in groups.values()), default=0)
    half = random.permutation(most) % 2
    results: dict[str, list[Checked]] = {pattern: [] for pattern in evidence}
    for side in (0, 1):
        there = {p: rows.take(np.flatnonzero(half[groups[p]] != side)) for p, rows in evidence.items()}
        trust = fit(head, there, coverage=coverage, method=method, allowed_error=allowed_error)
        for pattern, rows in evidence.items():
            here = rows.take(np.flatnonzero(half[groups[pattern]] == side)).labelled()
            if len(here):
                results[pattern].append(check(replace(head, trust=trust), pattern, here))
    return {pattern: _average(parts) for pattern, parts in results.items() if parts}


def check(head: HeadInfo, pattern: str, rows: Evidence) -> Checked:
    """What `head.trust` is worth on these labelled rows."""
    judged, raw = _judged(head, pattern, rows), _judged(replace(head, trust=Trust()), pattern, rows)
    own = head.trust.of(pattern)
    limit = np.inf if own.conformal is None else own.conformal
    if head.type == "number":
        size, before, after = 2 * limit, 0.0, 0.0
    else:
        chances = probabilities(rows.logits, [pattern] * len(rows), head)
        method = head.trust.method if head.type == "class" else "lac"
        size = float((nonconformity(chances, method) <= limit + 1e-12).sum(axis=1).mean())
        before, after = ece(raw.sure, raw.right), ece(judged.sure, judged.right)
    kept = judged.sure >= own.abstain_below
    return Checked(
        n=len(rows),
        ece_before=before,
        ece_after=after,
        coverage=float((judged.strange <= limit + 1e-12).mean()),
        set_size=size,
        abstained=float(1 - kept.mean()),
        error_kept=float(1 - judged.right[kept].mean()) if kept.any() else 0.0,
    )


def ece(sure: Doubles, right: Mask) -> float:
    """Expected calibration error over bins of equal mass, as in `metrics`."""
    gaps = np.bincount(bin_of(sure), weights=sure - right)
    return float(np.abs(gaps).sum() / len(sure))


def _average(parts: list[Checked]) -> Checked:
    weights = [part.n for part in parts]
    names = ("ece_before", "ece_after", "coverage", "set_size", "abstained", "error_kept")
    means = {name: float(np.average([getattr(part, name) for part in parts], weights=weights)) for name in names}
    return Checked(n=sum(weights), **means)
