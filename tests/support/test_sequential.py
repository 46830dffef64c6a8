"""Tests that hold although somebody looks after every event."""

from __future__ import annotations

import random

import numpy as np
import pytest

from duomo.support.sequential import evidence, highest_rate, paired, tail


def test_evidence_is_the_mean_likelihood_ratio_over_all_higher_rates() -> None:
    rates = np.linspace(0.1, 1, 200_001)[1:-1]
    for bad, of in ((0, 10), (3, 10), (34, 100)):
        ratios = (rates / 0.1) ** bad * ((1 - rates) / 0.9) ** (of - bad)
        assert evidence(bad, of, null=0.1) == pytest.approx(float(ratios.mean()), rel=1e-3)
    assert evidence(0, 0, null=0.3) == pytest.approx(1)


def test_whoever_looks_after_every_event_is_wrong_as_seldom_as_alpha_says() -> None:
    """300 canaries without a difference, each looked at 400 times; with one look each a share of alpha would do."""
    alpha, wrong = 0.1, 0
    for seed in range(300):
        draw, bad = random.Random(seed), 0
        for of in range(1, 401):
            bad += draw.random() < 0.1
            if evidence(bad, of, null=0.1) >= 1 / alpha:
                wrong += 1
                break
    assert wrong <= 0.1 * 300


def test_the_highest_rate_is_that_of_clopper_and_pearson() -> None:
    assert highest_rate(0, 10, significance=0.05) == pytest.approx(1 - 0.05**0.1, abs=1e-9)
    assert highest_rate(3, 10, significance=0.05) == pytest.approx(0.6066242, abs=1e-6)  # scipy: beta.ppf
    assert highest_rate(10, 10, significance=0.05) == pytest.approx(1)


def test_exact_p_values() -> None:
    assert tail(2, 2, null=0.1) == pytest.approx(0.01)
    assert tail(0, 5, null=0.1) == 1
    assert paired(8, 0) == pytest.approx(0.5**8)
    assert paired(0, 8) == 1
    assert paired(5, 5) == pytest.approx(0.623046875)
