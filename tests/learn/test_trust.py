"""Fitted on scores whose miscalibration is known, judged on fresh ones."""

import numpy as np
import pytest

from duomo.errors import InputError
from duomo.learn.trust import (
    NEVER,
    Evidence,
    abstention_threshold,
    check,
    conformal_threshold,
    cross_checked,
    ece,
    fit,
    out_of_scope_threshold,
)
from duomo.models.heads import HeadInfo

INTENT = HeadInfo("intent", "class", tuple("abcde"), (0.2,) * 5)
TAGS = HeadInfo("tags", "multilabel", tuple("abc"), (0.3,) * 3)
PRICE = HeadInfo("price", "number", (), (0.0, 1.0))


def overconfident(n: int, *, by: float, seed: int, sharpness: float = 2.0) -> Evidence:
    """Truth drawn from softmax(logits / by): the right temperature is `by`."""
    random = np.random.default_rng(seed)
    honest = random.standard_normal((n, 5)) * sharpness
    truth = (honest + random.gumbel(size=honest.shape)).argmax(axis=1)
    return Evidence(honest * by, truth)


def fitted(head: HeadInfo, evidence, **options) -> HeadInfo:
    return HeadInfo(head.name, head.type, head.labels, head.prior, trust=fit(head, evidence, **options))


def test_each_patterns_temperature_is_found_and_fresh_rows_are_calibrated():
    truth = {"text+image": 3.0, "text": 0.5, "image": 1.0}
    head = fitted(INTENT, {p: overconfident(4000, by=t, seed=k) for k, (p, t) in enumerate(truth.items())})
    for k, (pattern, by) in enumerate(truth.items()):
        assert head.trust.of(pattern).temperature == pytest.approx(by, rel=0.06)
        fresh = check(head, pattern, overconfident(20000, by=by, seed=10 + k))
        assert fresh.ece_after <= 0.03
        assert by == 1.0 or fresh.ece_before > 0.08


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_hold_the_truth_as_often_as_promised_in_every_pattern(method):
    sharp = {"text+image": 3.0, "text": 1.0}
    evidence = {p: overconfident(4000, by=2.0, seed=k, sharpness=s) for k, (p, s) in enumerate(sharp.items())}
    head = fitted(INTENT, evidence, method=method)
    for pattern, sharpness in sharp.items():
        fresh = check(head, pattern, overconfident(20000, by=2.0, seed=9, sharpness=sharpness))
        assert fresh.coverage == pytest.approx(0.9, abs=0.02)
        assert 1.0 < fresh.set_size < 4.5


def test_label_sets_hold_all_true_labels_and_intervals_the_value_as_often_as_promised():
    def tags(seed):
        random = np.random.default_rng(seed)
        logits = random.standard_normal((5000, 3)) * 2
        return Evidence(logits * 1.7, random.random((5000, 3)) < 1 / (1 + np.exp(-logits)))

    def price(seed):
        random = np.random.default_rng(seed)
        value = random.standard_normal((5000, 1))
        return Evidence(value, value[:, 0] + random.standard_t(4, 5000))

    for head, draw in ((TAGS, tags), (PRICE, price)):
        fresh = check(fitted(head, {"text": draw(0)}), "text", draw(1))
        assert fresh.coverage == pytest.approx(0.9, abs=0.02)
        assert fresh.ece_after <= 0.03
    assert fitted(TAGS, {"text": tags(0)}).trust.of("text").temperature == pytest.approx(1.7, rel=0.05)


def test_few_rows_keep_near_the_temperature_of_all_and_use_their_thresholds():
    evidence = {"text": overconfident(5000, by=2.0, seed=0), "audio": overconfident(3, by=4.0, seed=1)}
    trust = fit(INTENT, evidence)
    assert trust.of("audio").temperature == pytest.approx(2.0, rel=0.35)
    assert trust.of("audio").conformal == trust.default.conformal
    assert trust.of("never seen") == trust.default
    fifteen = fit(INTENT, {**evidence, "audio": overconfident(15, by=2.0, seed=1)})
    assert fifteen.of("audio").conformal == fifteen.default.conformal  # possible with 15 rows of its own, but noisy


def test_two_perfectly_separated_rows_do_not_make_the_model_certain():
    trust = fit(INTENT, {"text": Evidence(np.array([[5.0, 0, 0, 0, 0], [0, 5.0, 0, 0, 0]]), np.array([0, 1]))})
    assert 0.5 < trust.of("text").temperature < 1.0
    assert trust.of("text").conformal is None


def test_unlabelled_rows_count_for_nothing():
    rows = overconfident(500, by=2.0, seed=0)
    more = Evidence(np.vstack([rows.logits, np.full((50, 5), 9.0)]), np.append(rows.truth, np.full(50, -1)))
    assert fit(INTENT, {"text": more}) == fit(INTENT, {"text": rows})
    assert fit(INTENT, {"text": more.take(np.arange(500, 550))}).patterns == {}


def test_the_conformal_threshold_counts_the_row_to_come():
    strange = np.arange(1, 20) / 20  # 19 rows: the 18th of 20 places
    assert conformal_threshold(strange, coverage=0.9) == 18 / 20
    assert conformal_threshold(strange[:8], coverage=0.9) is None
    assert conformal_threshold(strange[:9], coverage=0.9) == 9 / 20


def test_rows_answered_without_a_person_are_wrong_no_more_often_than_allowed():
    broken = 0
    for seed in range(60):
        head = fitted(INTENT, {"text": overconfident(600, by=2.0, seed=seed, sharpness=5)}, allowed_error=0.1)
        fresh = check(head, "text", overconfident(5000, by=2.0, seed=1000 + seed, sharpness=5))
        broken += fresh.error_kept > 0.1
        assert 0.1 < fresh.abstained < 0.9
    assert broken <= 6  # a tenth of the draws


def test_a_model_that_is_right_always_abstains_never_and_one_that_guesses_always():
    sure = np.linspace(0.2, 1, 400)
    assert abstention_threshold(sure, np.ones(400, dtype=bool), allowed_error=0.1) == 0
    assert abstention_threshold(sure, np.arange(400) % 2 == 0, allowed_error=0.1) == NEVER


def test_equally_sure_rows_are_kept_or_left_together():
    sure = np.repeat([0.9, 0.6], 100)
    right = np.repeat([True, False], 100)
    assert abstention_threshold(sure, right, allowed_error=0.1) == pytest.approx(0.75)


def test_with_few_rows_the_error_is_estimated_instead_of_proven():
    assert abstention_threshold(np.linspace(0.5, 1, 12), np.ones(12, dtype=bool), allowed_error=0.1) == 0
    assert abstention_threshold(np.linspace(0.5, 1, 5), np.ones(5, dtype=bool), allowed_error=0.1) == NEVER


def test_out_of_scope_is_told_apart_where_recall_exceeds_false_alarms_most():
    inside, outside = np.array([0.0, 1, 2, 3] * 25), np.array([2.0, 3, 4, 5] * 5)
    assert out_of_scope_threshold(inside, outside, false_alarms=0.51) == pytest.approx(1.5)  # recall 1, alarms .5
    assert out_of_scope_threshold(inside, outside, false_alarms=0.3) == pytest.approx(2.5)  # recall .75, alarms .25
    assert out_of_scope_threshold(inside, outside, false_alarms=0.1) == pytest.approx(3.5)  # recall .5, none
    assert out_of_scope_threshold(inside, outside, false_alarms=0.5, criterion="f1") == pytest.approx(3.5)


def test_without_out_of_scope_examples_the_share_of_false_alarms_is_kept_on_fresh_rows():
    random = np.random.default_rng(0)
    alarms = [
        (random.standard_normal(2000) >= out_of_scope_threshold(random.standard_normal(199), false_alarms=0.05)).mean()
        for _ in range(100)
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.006)


def test_without_rows_in_scope_there_is_no_threshold():
    with pytest.raises(InputError, match="no validation row is in scope"):
        out_of_scope_threshold(np.empty(0))


def test_cross_checked_figures_agree_with_fresh_rows():
    rows = overconfident(6000, by=2.5, seed=0)
    grouped = Evidence(rows.logits, rows.truth, np.arange(6000) // 3)
    crossed = cross_checked(INTENT, {"text": grouped})["text"]
    fresh = check(fitted(INTENT, {"text": rows}), "text", overconfident(20000, by=2.5, seed=1))
    assert crossed.n == 6000
    assert (crossed.coverage, crossed.ece_before) == (
        pytest.approx(fresh.coverage, abs=0.02),
        pytest.approx(fresh.ece_before, abs=0.02),
    )
    assert crossed.ece_after <= 0.03


def test_a_group_is_judged_only_by_what_other_groups_taught():
    value = np.zeros((200, 1))
    errors = np.repeat([1.0, 10.0], 100)
    crossed = cross_checked(PRICE, {"text": Evidence(value, errors, np.repeat([0, 1], 100))})["text"]
    assert (crossed.coverage, crossed.set_size) == (0.5, 11.0)


def test_calibration_error_is_the_gap_between_confidence_and_being_right():
    assert ece(np.full(100, 0.8), np.arange(100) < 60) == pytest.approx(0.2)


def test_a_coverage_outside_zero_and_one_is_refused():
    with pytest.raises(InputError, match="coverage is 90, wanted a share"):
        fit(INTENT, {}, coverage=90)
