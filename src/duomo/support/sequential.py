"""Tests that hold although somebody looks after every event: what a watch that runs every minute needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def evidence(bad: int, of: int, *, null: float) -> float:
    """Evidence that events are bad more often than `null` says.

    An e-value: were the rate `null` or lower, it would ever exceed 1/alpha with a probability of at most alpha, however
    often one looks and whenever one stops (Ville 1939). It is the mean likelihood ratio against `null` over all rates
    above it, each as likely.

    Args:
        null: in (0, 1).
    Returns:
        0 or more; 1 says nothing.

    Source: the mixture of Robbins 1970, Annals of Mathematical Statistics 41(5); for counts of errors of a canary
    Lindon & Malek 2022, Anytime-Valid Inference for Multinomial Count Data, arXiv:2011.03567.
    """
    good = of - bad
    mean = math.lgamma(bad + 1) + math.lgamma(good + 1) - math.lgamma(of + 2) + _log_cdf(bad, of + 1, null)
    log = mean - math.log1p(-null) - bad * math.log(null) - good * math.log1p(-null)
    return math.exp(min(log, 700.0))


def highest_rate(bad: int, of: int, *, significance: float) -> float:
    """The one-sided upper limit of Clopper & Pearson 1934: the rate at which so few would be this unlikely."""
    low, high = bad / of if of else 1.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_cdf(bad, of, middle) > math.log(significance) else (low, middle)
    return high


def tail(bad: int, of: int, *, null: float) -> float:
    """P(at least `bad` of `of`) at the rate `null`: the exact one-sided p-value of one look."""
    return 1.0 if bad == 0 else math.exp(_log_cdf(of - bad, of, 1 - null))


def paired(worse: int, better: int) -> float:
    """One-sided exact p-value of McNemar's test: pairs of which one side only was wrong."""
    return 1.0 if worse == 0 else math.exp(min(0.0, _log_cdf(better, worse + better, 0.5)))


def _log_cdf(k: int, n: int, rate: float) -> float:
    """log P(X <= k) of a binomial X."""
    if k >= n or rate <= 0:
        return 0.0
    if rate >= 1:
        return -math.inf
    logs: NDArray[np.float64] = np.array(
        [
            math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
            + i * math.log(rate) + (n - i) * math.log1p(-rate)
            for i in range(k + 1)
        ]
    )  # fmt: skip
    top = float(logs.max())
    return min(0.0, top + math.log(float(np.exp(logs - top).sum())))
