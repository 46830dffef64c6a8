"""Wrong labels, duplicates and samples worth labelling are found where they were planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from duomo.errors import InputError
from duomo.learn.curate import (
    BudgetPoint,
    LabelError,
    Pair,
    budget_curve,
    confident_joint,
    disagreement,
    duplicates,
    entropy,
    label_errors,
    select_to_label,
)


def blobs(n: int, classes: int, *, dim: int = 8, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim)) * 3
    labels = rng.integers(classes, size=n)
    return (centres[labels] + rng.normal(size=(n, dim)) * spread).astype(np.float32), labels


def test_planted_label_errors_are_found_with_the_right_suggestion():
    points, truth = blobs(1200, 6)
    rng = np.random.default_rng(1)
    flipped = rng.random(len(truth)) < 0.1
    given = np.where(flipped, (truth + rng.integers(1, 6, len(truth))) % 6, truth)
    probabilities = np.zeros((len(truth), 6))
    for train, test in KFold(4, shuffle=True, random_state=0).split(points):
        probabilities[test] = LogisticRegression().fit(points[train], given[train]).predict_proba(points[test])
    found = label_errors(probabilities, given, [f"s{at}" for at in range(len(truth))])
    rows = [error.index for error in found]
    assert flipped[rows].mean() >= 0.9  # precision
    assert flipped[rows].sum() / flipped.sum() >= 0.9  # recall
    assert np.mean([error.suggested == truth[error.index] for error in found if flipped[error.index]]) >= 0.95
    assert [error.confidence for error in found] == sorted(error.confidence for error in found)
    assert confident_joint(probabilities, given).diagonal().sum() == pytest.approx(0.9, abs=0.03)


def test_a_label_error_says_what_was_given_and_what_is_likelier():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9], [0.95, 0.05], [0.5, 0.5]])
    found = label_errors(probabilities, np.array([0, 0, 1, 1, 1, -1]), list("abcdef"))
    assert found == [LabelError("e", 4, 1, 0, 0.05, pytest.approx(0.9))]  # type: ignore[arg-type]
    assert found[0].as_dict(["refund", "track"]) == {
        "id": "e", "index": 4, "given": "track", "suggested": "refund", "confidence": 0.05, "margin": pytest.approx(0.9)
    }  # fmt: skip


def test_right_labels_are_not_suspected():
    sure = np.eye(3)[[0, 1, 2, 0]] * 0.9 + 0.1 / 3
    assert label_errors(sure, np.array([0, 1, 2, 0]), list("abcd")) == []
    assert label_errors(np.zeros((0, 3)), np.zeros(0), []) == []
    assert label_errors(sure, np.full(4, -1), list("abcd")) == []


def test_probabilities_that_do_not_fit_the_labels_are_refused():
    with pytest.raises(InputError, match="label 3 of 2 classes"):
        label_errors(np.full((1, 2), 0.5), np.array([3]), ["a"])
    with pytest.raises(InputError, match="1 probabilities, 2 labels and 1 ids"):
        label_errors(np.full((1, 2), 0.5), np.array([0, 1]), ["a"])
    with pytest.raises(InputError, match=r"values in \[0, 1\]"):
        label_errors(np.full((1, 2), 7.0), np.array([0]), ["a"])


@pytest.mark.parametrize("block", [1, 2, 100])
def test_duplicates_are_pairs_by_cosine_whatever_the_block(block: int):
    rows = np.array([[1, 0], [0, 1], [2, 0], [0, 0], [1, 0.1], [0, 0]], np.float32)
    found = duplicates(rows, 0.99, block=block)
    assert [(pair.first, pair.second) for pair in found] == [(0, 2), (0, 4), (2, 4)]
    assert found[0] == Pair(0, 2, 1.0)
    assert found[1].cosine == pytest.approx(1 / np.sqrt(1.01), abs=1e-6)
    assert duplicates(rows, 0.99, block=block, most=1) == [Pair(0, 2, 1.0)]


def test_entropy_and_disagreement_are_shares_of_the_most_there_can_be():
    np.testing.assert_allclose(
        entropy(np.array([[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])), [0, 1, np.log(2) / np.log(3)]
    )
    nan = [np.nan] * 2
    rows = np.array(
        [
            [[1, 0], [1, 0], [1, 0]],  # agree
            [[1, 0], [0, 1], nan],  # contradict each other
            [[1, 0], nan, nan],  # alone
            [nan, nan, nan],
            [[0.9, 0.1], [0.4, 0.6], nan],
        ]
    )
    mixed = np.array([0.65, 0.35])
    expected = entropy(mixed[None])[0] - entropy(rows[4, :2]).mean()  # Jensen-Shannon divergence, by its definition
    np.testing.assert_allclose(disagreement(rows), [0, 1, 0, 0, expected], atol=1e-9)
    three = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [np.nan] * 3]])
    np.testing.assert_allclose(disagreement(three), [1, 1], atol=1e-9)  # as much as three, and as two, can reach


def test_of_equally_unsure_samples_those_whose_modalities_disagree_come_first():
    probabilities = np.full((6, 2), 0.5)
    unimodal = np.full((6, 2, 2), 0.5)
    unimodal[4] = [[0.95, 0.05], [0.05, 0.95]]
    embeddings = np.eye(6, dtype=np.float32)
    chosen = select_to_label(probabilities, unimodal, embeddings, 2)
    assert chosen[0].index == 4
    assert chosen[0].disagreement > 0.5
    assert select_to_label(probabilities, None, embeddings, 1)[0].index == 0


def test_the_budget_is_not_spent_on_one_question_asked_many_times():
    probabilities = np.array([[0.5, 0.5]] * 8 + [[0.6, 0.4]] * 2)
    embeddings = np.array([[1, 0, 0]] * 8 + [[0, 1, 0], [0, 0, 1]], np.float32)
    assert sorted(choice.index for choice in select_to_label(probabilities, None, embeddings, 3)) == [0, 8, 9]


@pytest.mark.parametrize(("budget", "count"), [(-1, 0), (0, 0), (3, 3), (99, 5)])
def test_a_budget_takes_at_most_what_is_there_each_once(budget: int, count: int):
    chosen = select_to_label(np.full((5, 2), 0.5), None, np.ones((5, 3), np.float32), budget)
    assert len({choice.index for choice in chosen}) == len(chosen) == count


def test_the_budget_curve_compares_choosing_with_chance():
    points, truth = blobs(700, 8, spread=1.5)
    rare = truth < 4
    kept = np.flatnonzero(rare | (np.arange(len(truth)) % 12 == 0))  # four common classes, four rare ones
    points, truth = points[kept], truth[kept]
    order = np.random.default_rng(0).permutation(len(truth))
    test, pool = order[: len(order) // 3], order[len(order) // 3 :]
    fitted: list[int] = []

    def predict(train: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, None]:
        fitted.append(len(set(train.tolist())))
        probabilities = np.zeros((len(rows), 8))
        model = LogisticRegression().fit(points[train], truth[train])
        probabilities[:, model.classes_] = model.predict_proba(points[rows])
        return probabilities, None

    curve = budget_curve(predict, truth, points, pool=pool, test=test, budgets=[10, 30, 60], seeds=(0, 1, 2, 3))
    assert [point.labels for point in curve] == [10, 30, 60]
    assert sorted(set(fitted)) == [10, 30, 60]  # no sample is labelled twice
    assert curve[0].chosen == curve[0].random
    assert curve[-1].chosen > curve[-1].random
    again = budget_curve(predict, truth, points, pool=pool, test=test, budgets=[10, 30, 60], seeds=(0, 1, 2, 3))
    assert again == curve
    assert isinstance(curve[0], BudgetPoint)


def test_budgets_and_rows_that_cannot_be_measured_are_refused():
    rows = np.arange(4)
    for budgets in ([], [0], [2, 1], [5], [2, 2]):
        with pytest.raises(InputError, match="ascending numbers from 1 to the pool's 4"):
            budget_curve(None, rows, np.ones((8, 2)), pool=rows, test=rows + 4, budgets=budgets)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="stand in the pool as well"):
        budget_curve(None, rows, np.ones((8, 2)), pool=rows, test=rows + 3, budgets=[1])  # type: ignore[arg-type]
