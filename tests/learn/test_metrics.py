"""Figures against scikit-learn's, under row weights; and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from duomo.learn import metrics
from duomo.learn.metrics import Decisions, Figure, class_formula, group_index, measure, multilabel_formula

N, CLASSES = 400, 6


def decisions(*, classes: int = CLASSES, n: int = N, seed: int = 0) -> Decisions:
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), true] += 1.2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Decisions(true, probabilities.argmax(axis=1), probabilities, classes)


def some_weights(n: int = N) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 5, size=(n, 3)).astype(np.float32)


def assert_equal(found: dict, expected: dict) -> None:
    assert {name: pytest.approx(found[name], abs=2e-6) for name in expected} == expected


def averages(true: object, predicted: object, weight: np.ndarray, kinds: tuple[str, ...]) -> dict[str, float]:
    scores = {}
    for kind in kinds:
        figures = reference.precision_recall_fscore_support(
            true, predicted, average=kind, sample_weight=weight, zero_division=0
        )
        scores |= {f"{name}_{kind}": figures[i] for i, name in enumerate(("precision", "recall", "f1"))}
    return scores


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_class_heads_figures_are_scikit_learns_under_any_weights(column):
    rows, weights = decisions(), some_weights()
    weight = weights[:, column]
    found = {name: figure[..., column] for name, figure in class_formula(rows)(weights).items()}
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        rows.true, rows.predicted, sample_weight=weight
    )
    assert_equal(
        {name: figure for name, figure in found.items() if figure.ndim == 0},
        averages(rows.true, rows.predicted, weight, ("micro", "macro", "weighted"))
        | {
            "accuracy": reference.accuracy_score(rows.true, rows.predicted, sample_weight=weight),
            "balanced_accuracy": reference.balanced_accuracy_score(rows.true, rows.predicted, sample_weight=weight),
            "log_loss": reference.log_loss(rows.true, rows.probabilities, sample_weight=weight),
            "brier": reference.brier_score_loss(rows.true, rows.probabilities, sample_weight=weight),
            "top_3_accuracy": reference.top_k_accuracy_score(rows.true, rows.probabilities, k=3, sample_weight=weight),
            "auroc": np.mean(
                [
                    reference.roc_auc_score(rows.true == c, rows.probabilities[:, c], sample_weight=weight)
                    for c in range(CLASSES)
                ]
            ),
        },
    )
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["f1"] == pytest.approx(f1)


def test_the_auroc_of_many_classes_is_scikit_learns_macro_one_against_the_rest():
    rows = decisions()
    figures = measure(class_formula(rows), groups=np.arange(N), resamples=0).figures
    assert figures["auroc"].value == pytest.approx(
        reference.roc_auc_score(rows.true, rows.probabilities, multi_class="ovr", average="macro")
    )


def test_two_labels_have_the_auroc_and_brier_score_of_the_second():
    rows = decisions(classes=2)
    figures = measure(class_formula(rows), groups=np.arange(N), resamples=0).figures
    assert figures["auroc"].value == pytest.approx(reference.roc_auc_score(rows.true, rows.probabilities[:, 1]))
    assert figures["brier"].value == pytest.approx(reference.brier_score_loss(rows.true, rows.probabilities[:, 1]))


def test_auroc_and_average_precision_count_ties_as_scikit_learn_does():
    random = np.random.default_rng(3)
    positive, scores, weights = random.random(N) < 0.3, random.integers(0, 9, N) / 9, some_weights()
    assert metrics.auroc(positive, scores, weights) == pytest.approx(
        [reference.roc_auc_score(positive, scores, sample_weight=weight) for weight in weights.T]
    )
    assert metrics.average_precision(positive, scores, weights) == pytest.approx(
        [reference.average_precision_score(positive, scores, sample_weight=weight) for weight in weights.T]
    )


def test_the_founding_texts_formula_is_precision():
    # 准确率 = TP / (TP + FP): of 3 rows called 1, 2 are.
    true, predicted = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    rows = Decisions(true, predicted, np.eye(2)[predicted], 2)
    measured = measure(class_formula(rows), groups=np.arange(5), resamples=0)
    assert measured.per_class["precision"][1].value == pytest.approx(2 / 3)
    assert measured.figures["accuracy"].value == pytest.approx(3 / 5)


def test_several_labels_have_scikit_learns_figures_under_any_weights():
    random = np.random.default_rng(4)
    true = random.random((N, 5)) < 0.3
    true[:, 4] = False  # a label that no row has
    scores = np.where(true, 0.4, 0.0) + random.random((N, 5)) * 0.8
    predicted = scores > 0.5
    predicted[:, 4] = False
    weights = some_weights()
    for column, weight in enumerate(weights.T):
        found = multilabel_formula(true, predicted, scores)(weights)
        exact = reference.accuracy_score(true, predicted, sample_weight=weight)
        assert_equal(
            {name: figure[column] for name, figure in found.items() if figure.ndim == 1},
            averages(true, predicted, weight, ("micro", "macro", "weighted", "samples"))
            | {
                "accuracy": exact,
                "subset_accuracy": exact,
                "hamming_loss": reference.hamming_loss(true, predicted, sample_weight=weight),
                "auroc": reference.roc_auc_score(true[:, :4], scores[:, :4], sample_weight=weight),
                "average_precision_macro": reference.average_precision_score(
                    true[:, :4], scores[:, :4], sample_weight=weight
                ),
            },
        )


def test_numbers_have_scikit_learns_and_scipys_figures_under_any_weights():
    random = np.random.default_rng(5)
    true = random.integers(0, 11, N).astype(float)
    predicted = true + random.normal(size=N).round(1) * 3
    weights = some_weights()
    for column, weight in enumerate(weights.T):
        found = metrics.number_formula(true, predicted)(weights)
        repeated = np.repeat(np.arange(N), weight.astype(int))
        assert_equal(
            {name: figure[column] for name, figure in found.items()},
            {
                "mae": reference.mean_absolute_error(true, predicted, sample_weight=weight),
                "rmse": reference.root_mean_squared_error(true, predicted, sample_weight=weight),
                "r2": reference.r2_score(true, predicted, sample_weight=weight),
                "pearson": stats.pearsonr(true[repeated], predicted[repeated]).statistic,
                "spearman": stats.spearmanr(true[repeated], predicted[repeated]).statistic,
            },
        )


def test_calibration_error_is_the_weighted_gap_of_fifteen_bins_of_equal_mass():
    confidence = np.linspace(0.5, 0.95, 15 * 4)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    true = np.zeros(60, dtype=np.int64)
    rows = Decisions(true, true, probabilities, 2)  # always right: the gap is 1 - confidence everywhere
    assert measure(class_formula(rows), groups=np.arange(60), resamples=0).figures["ece"].value == pytest.approx(
        1 - confidence.mean()
    )
    assert [bin["n"] for bin in metrics.reliability(rows)] == [4] * 15


def test_sets_abstention_and_the_risk_coverage_area_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
    true, abstain = np.array([0, 1, 0, 0]), np.array([False, False, False, True])
    sets = np.array([[1, 0], [1, 1], [1, 0], [0, 1]], dtype=bool)
    rows = Decisions(true, probabilities.argmax(axis=1), probabilities, 2, sets, abstain)
    figures = measure(class_formula(rows), groups=np.arange(4), resamples=0).figures
    # Errors among the 1, 2, 3, 4 most confident rows (.9, .8, .7, .6): 0, 1/2, 1/3, 2/4.
    expected = {
        "coverage": 3 / 4,
        "set_size": 5 / 4,
        "abstention_rate": 1 / 4,
        "accuracy_answered": 2 / 3,
        "aurc": (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4,
    }
    assert {name: pytest.approx(figures[name].value) for name in expected} == expected
    assert metrics.risk_coverage(rows.confidence, rows.predicted == rows.true) == [
        (0.25, 0.0),
        (0.5, 0.5),
        (0.75, 0.33333),
        (1.0, 0.5),
    ]


def test_rows_out_of_scope_have_figures_of_their_own():
    probabilities = np.array([[0.9, 0.1]] * 20 + [[0.5, 0.5]] * 4)
    true = np.array([0] * 20 + [2] * 4)
    predicted = np.array([0] * 18 + [2, 1] + [2, 2, 2, 0])
    score = np.array([*np.linspace(0, 0.19, 20), 0.5, 0.6, 0.7, 0.05])
    rows = Decisions(true, predicted, probabilities, 3, out_of_scope=score)
    figures = measure(class_formula(rows), groups=np.arange(24), resamples=50).figures
    expected = {
        "accuracy": 21 / 24,
        "in_scope_accuracy": 18 / 20,
        "out_of_scope_recall": 3 / 4,
        "out_of_scope_precision": 3 / 4,
        "out_of_scope_f1": 3 / 4,
        "out_of_scope_auroc": reference.roc_auc_score(true == 2, score),
        "out_of_scope_fpr95": 1 / 4,  # 19 of 20 rows in scope score at most .18, as does one row out of scope
    }
    assert {name: pytest.approx(figures[name].value) for name in expected} == expected


def test_a_whole_group_is_resampled_or_none_of_it():
    groups = group_index(["a", "b", "a", None, "b", None])
    assert groups.tolist() == [0, 1, 0, 2, 1, 3]
    (weights,) = metrics.resampled(groups, resamples=500, seed=0)
    assert (weights[[0, 1]] == weights[[2, 4]]).all()
    assert (weights[[0, 1, 3, 5]].sum(axis=0) == 4).all()


def test_a_group_named_like_a_row_number_stays_its_own():
    assert group_index(["1", None, "1"]).tolist() == [0, 1, 0]


def test_blocks_of_resamples_leave_the_counts_in_bounds(monkeypatch):
    monkeypatch.setattr(metrics, "CELLS", 100)
    blocks = list(metrics.resampled(np.arange(30), resamples=10, seed=0))
    assert [block.shape for block in blocks] == [(30, 3), (30, 3), (30, 3), (30, 1)]
    assert all((block.sum(axis=0) == 30).all() for block in blocks)


def test_the_interval_of_a_mean_is_the_normal_one_and_groups_widen_it():
    rows = decisions(n=3000, classes=4)
    formula = class_formula(rows)
    alone = measure(formula, groups=np.arange(3000)).figures["accuracy"]
    deviation = np.sqrt(alone.value * (1 - alone.value) / 3000)
    assert alone.low == pytest.approx(alone.value - 1.96 * deviation, abs=0.002)
    assert alone.high == pytest.approx(alone.value + 1.96 * deviation, abs=0.002)
    order = np.argsort(rows.predicted == rows.true, kind="stable")
    conversations = np.empty(3000, dtype=np.int64)
    conversations[order] = np.arange(3000) // 10  # the rows of a group are right or wrong together
    together = measure(formula, groups=conversations).figures["accuracy"]
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval():
    formula, groups = class_formula(decisions()), np.arange(N)
    assert measure(formula, groups=groups, seed=3) == measure(formula, groups=groups, seed=3)
    assert measure(formula, groups=groups, seed=3) != measure(formula, groups=groups, seed=4)


def test_every_figure_lies_in_its_own_interval():
    measured = measure(class_formula(decisions(n=150)), groups=np.arange(150))
    figures = [*measured.figures.values(), *(figure for row in measured.per_class.values() for figure in row)]
    assert [
        figure for figure in figures if figure.value is not None and not figure.low <= figure.value <= figure.high
    ] == []


def test_one_row_gives_figures_without_width():
    rows = Decisions(np.array([0]), np.array([0]), np.array([[0.7, 0.3]]), 2)
    measured = measure(class_formula(rows), groups=np.arange(1))
    assert measured.figures["accuracy"] == Figure(1.0, 1.0, 1.0)
    assert measured.figures["auroc"] == Figure(None, None, None, metrics.REASONS["auroc"])


def test_one_class_has_no_auroc_and_every_other_figure():
    rows = Decisions(np.zeros(8, dtype=np.int64), np.array([0] * 6 + [1] * 2), np.tile([0.6, 0.4], (8, 1)), 2)
    figures = measure(class_formula(rows), groups=np.arange(8)).figures
    undefined = {name for name, figure in figures.items() if figure.value is None}
    assert undefined == {"auroc", "coverage", "set_size"}
    assert figures["recall_macro"].value == pytest.approx(
        reference.recall_score([0] * 8, rows.predicted, average="macro", zero_division=0)
    )


def test_no_rows_have_no_figures():
    rows = Decisions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 2)), 2)
    assert measure(class_formula(rows), groups=np.zeros(0, dtype=np.int64)) == metrics.Measured(0, 0, {})


def test_labels_the_model_does_not_know_count_as_errors_and_have_no_probability():
    rows = Decisions(np.array([0, 1, 3]), np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), 4)
    figures = measure(class_formula(rows), groups=np.arange(3), resamples=20).figures
    assert figures["accuracy"].value == pytest.approx(2 / 3)
    assert figures["log_loss"].value == pytest.approx(-np.log([0.9, 0.8]).mean())


def test_equal_numbers_have_errors_and_no_correlation():
    figures = measure(metrics.number_formula(np.full(5, 2.0), np.full(5, 3.0)), groups=np.arange(5)).figures
    assert figures == {
        "mae": Figure(1.0, 1.0, 1.0),
        "rmse": Figure(1.0, 1.0, 1.0),
        **{name: Figure(None, None, None, "needs two different values") for name in ("r2", "pearson", "spearman")},
    }


def test_a_class_missing_from_a_resample_does_not_pull_the_macro_means_down():
    # One class of one row among 60: it is absent from a third of the resamples, yet always found.
    true = np.array([0] * 30 + [1] * 30 + [2])
    rows = Decisions(true, true, np.eye(3)[true], 3)
    assert measure(class_formula(rows), groups=np.arange(61)).figures["recall_macro"] == Figure(1.0, 1.0, 1.0)


def test_the_calibration_error_of_true_probabilities_is_what_chance_alone_shows():
    random = np.random.default_rng(0)
    found = []
    for _ in range(60):
        probabilities = random.dirichlet(np.ones(4), 300)
        true = (probabilities.cumsum(axis=1) > random.random((300, 1))).argmax(axis=1)
        rows = Decisions(true, probabilities.argmax(axis=1), probabilities, 4)
        figures = measure(class_formula(rows), groups=np.arange(300), resamples=0).figures
        found.append((figures["ece"].value, figures["ece_by_chance"].value))
    measured, expected = np.mean(found, axis=0)
    assert measured == pytest.approx(expected, rel=0.06)


def test_the_interval_of_a_calibration_error_goes_down_once_more_by_what_resampling_adds():
    samples = np.linspace(0.1, 0.2, 1001)  # of a figure of 0.12: resampling adds 0.03
    assert metrics.interval(0.12, samples) == pytest.approx((0.0725, 0.1675))
    assert metrics.interval(0.12, samples, leans=True) == pytest.approx((0.0425, 0.1675))
    rows = decisions()
    steady = class_formula(rows)
    values = np.concatenate([steady(w)["ece"] for w in metrics.resampled(np.arange(N), resamples=200, seed=0)])
    found = measure(steady, groups=np.arange(N), resamples=200).figures["ece"]
    assert (found.low, found.high) == metrics.interval(found.value, values, bounds=(0, 1), leans=True)
