"""What a model says rests on what a row has, and on nothing else."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from duomo.learn.core import Core, Plan, standardisation
from duomo.learn.task import Head
from duomo.models.features import Features
from tests.learn.small_core import MODALITIES, VIEWS, small_core
from tests.learn.synthetic import Rows, assert_same_weights, fitted, junk, rows, task, words

OPERATORS = ("concat", "sum", "gated", "low_rank", "tensor", "cross_attention", "bottleneck")
KINDS = [("auto", "gated"), ("early", "gated"), ("late", "gated"), ("unimodal", "gated")] + [
    ("intermediate", operator) for operator in OPERATORS
]


def drawn(n: int, *, seed: int = 0) -> Features:
    """For `small_core`: rows of every availability pattern."""
    random = np.random.default_rng(seed)
    present = np.array(list(product([False, True], repeat=3)))[np.arange(n) % 8]
    dense = {
        view.name: (random.normal(size=(n, view.dim)) * present[:, MODALITIES.index(view.modality)][:, None]).astype(
            "f"
        )
        for view in VIEWS
        if not view.sparse
    }
    said = [np.sort(random.choice(4096, 9, replace=False)).tolist() if here else [] for here in present[:, 0]]
    return Features(MODALITIES, present, dense, {"text.ngrams": words(said)})


def judging_by_energy(core: Core) -> Core:
    """The same weights with out-of-scope judged without examples."""
    plan = core.plan
    head = "my intent.v1"
    fusions = {**plan.fusions, head: replace(plan.fusions[head], out_of_scope=False, energy=True, labels=4)}
    other = Core(replace(plan, fusions=fusions))
    other.load_state_dict(core.state_dict())
    other.vocabularies = core.vocabularies
    return other


def assert_same(one, other) -> None:
    """Up to the last bit: matrix products round by where in memory their inputs lie."""
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def assert_same_scores(one, other) -> None:
    assert one.keys() == other.keys()
    for head, scores in one.items():
        assert_same(scores.fused, other[head].fused)
        assert_same(scores.unimodal, other[head].unimodal)
        if scores.out_of_scope is None:
            assert other[head].out_of_scope is None
        else:
            assert_same(scores.out_of_scope, other[head].out_of_scope)
            assert np.isfinite(scores.out_of_scope).all()
        assert np.isfinite(scores.fused).all()


# --- missing at inference


@pytest.mark.parametrize("value", [1e6, np.nan, np.inf, -3e38])
@pytest.mark.parametrize("energy", [False, True])
def test_what_stands_in_a_missing_modality_does_not_change_the_result(value, energy):
    core = judging_by_energy(small_core()) if energy else small_core()
    features = drawn(64)

    assert_same_scores(core.scores(features), core.scores(junk(features, value)))


def test_hiding_a_modality_is_the_same_as_never_having_had_it():
    core, features = small_core(), drawn(64)
    without = replace(features, present=features.present & [True, False, True])

    blank = replace(without, dense={**features.dense, "image.net": np.zeros_like(features.dense["image.net"])})
    assert_same_scores(core.scores(without), core.scores(blank))


@pytest.mark.parametrize(("fusion", "operator"), KINDS)
def test_no_trained_fusion_reads_what_is_missing_nor_another_row(fusion, operator):
    model = fitted(rows(90), task(fusion=fusion, operator=operator, epochs=2))
    fresh = rows(40, missing=0.5, seed=5).features

    whole = model.scores(fresh)["intent"]
    assert_same(whole.fused, model.scores(junk(fresh, np.nan))["intent"].fused)

    order = np.random.default_rng(0).permutation(40)
    shuffled = model.scores(fresh.take(order))["intent"]
    np.testing.assert_allclose(shuffled.fused, whole.fused[order], atol=2e-5)
    one_by_one = [model.scores(fresh.take([row]))["intent"].fused[0] for row in range(0, 40, 5)]
    np.testing.assert_allclose(one_by_one, whole.fused[::5], atol=2e-5)


# --- missing while training


@pytest.mark.parametrize("value", [1e6, np.nan, np.inf])
@pytest.mark.parametrize(("fusion", "operator"), [("auto", "gated"), ("intermediate", "cross_attention")])
def test_what_stands_in_a_missing_modality_does_not_change_a_training(value, fusion, operator):
    given = rows(90, missing=0.4)
    strange = replace(given, features=junk(given.features, value))
    wanted = task(fusion=fusion, operator=operator, epochs=2)

    assert_same_weights(fitted(given, wanted), fitted(strange, wanted))


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_operator_trains_on_what_is_missing(operator):
    given = rows(60, missing=0.4, ngrams=False)
    strange = replace(given, features=junk(given.features, np.nan))
    wanted = task(fusion="intermediate", operator=operator, epochs=1, folds=2)

    assert_same_weights(fitted(given, wanted), fitted(strange, wanted))


@pytest.mark.parametrize("mode", ["semi-supervised", "self-supervised"])
def test_learning_without_labels_does_not_read_what_is_missing_either(mode):
    given = rows(90, missing=0.4)
    given = given.label(intent=[label if row < 45 else None for row, label in enumerate(given.labels["intent"])])
    strange = replace(given, features=junk(given.features, np.nan))
    wanted = task(mode=mode, epochs=1, folds=2)

    assert_same_weights(fitted(given, wanted), fitted(strange, wanted))


# --- late fusion and the prior


def by_hand(kind: str, eta: np.ndarray, w: np.ndarray, prior: np.ndarray, here: np.ndarray) -> np.ndarray:
    """One row: log p(y|x) ∝ Σ w_k log p_k(y|z_k) − (Σ w_k − 1) log π(y), k over the present modalities."""
    if not here.any():
        return prior
    chosen = [k for k in range(len(w)) if here[k]]
    if kind == "number":
        return sum(w[k] * eta[k] for k in chosen) / sum(w[k] for k in chosen)
    total = -(sum(w[k] for k in chosen) - 1) * prior
    for k in chosen:
        total = total + w[k] * eta[k]
    return total - np.log(np.exp(total).sum()) if kind == "class" else total


def three_heads(given: Rows) -> Rows:
    truth = given.truth()
    return given.label(
        intent=list(truth),
        tags=[("x",) if label == "a" else ("x", "y") if label == "b" else () for label in truth],
        price=[10.0 + 5 * "abc".index(label) for label in truth],
    )


def test_late_fusion_is_the_formula_for_every_subset_and_the_prior_when_nothing_is_there():
    heads = (Head("intent"), Head("tags", "multilabel"), Head("price", "number"))
    model = fitted(three_heads(rows(120)), task(*heads, fusion="late"))
    whole = rows(8, missing=0.0, seed=3).features
    subsets = np.array(list(product([False, True], repeat=3)))

    scores = model.scores(replace(whole, present=subsets))

    everything = model.scores(whole)
    for head in heads:
        fusion = model.core.plan.fusions[head.name]
        alone = everything[head.name].unimodal.astype(np.float64)
        prior, w = np.array(fusion.prior), np.array(fusion.late)
        if head.type == "number":
            prior = prior * fusion.deviation + fusion.mean
        for row, here in enumerate(subsets):
            expected = alone[row][here][0] if here.sum() == 1 else by_hand(head.type, alone[row], w, prior, here)
            np.testing.assert_allclose(scores[head.name].fused[row], expected, rtol=1e-4, atol=1e-4)


def test_the_prior_is_how_often_each_label_occurs():
    given = rows(40).label(intent=["a"] * 24 + ["b"] * 12 + ["c"] * 4)
    model = fitted(given, task(fusion="late"))
    nothing = replace(given.features.take([0]), present=np.zeros((1, 3), dtype=bool))

    said = np.exp(model.scores(nothing)["intent"].fused[0])

    np.testing.assert_allclose(said, np.array([25, 13, 5]) / 43, rtol=1e-5)  # one row added to each


def test_a_modality_without_any_member_says_nothing():
    given = rows(60, ngrams=False)
    lonely = words([[row] for row in range(60)])  # no n-gram occurs twice
    features = replace(
        given.features,
        dense={name: given.features.dense[name] for name in ("image.net", "audio.net")},
        sparse={"text.ngrams": lonely},
    )
    views = (replace(given.views[0], name="text.ngrams", dim=64, sparse=True), *given.views[1:])
    model = fitted(replace(given, features=features, views=views), task(fusion="late"))

    whole, without, only = (
        model.scores(replace(features, present=np.tile(np.array(here, dtype=bool), (60, 1))))["intent"]
        for here in ([1, 1, 1], [0, 1, 1], [1, 0, 0])
    )

    np.testing.assert_array_equal(whole.fused, without.fused)
    np.testing.assert_allclose(np.exp(only.fused), np.tile(model.heads["intent"].prior, (60, 1)), atol=1e-6)
    assert np.isnan(whole.unimodal[:, 0]).all()


# --- parts


def test_what_ships_says_the_same_as_what_was_judged():
    given = rows(100)
    model = fitted(given, task(fusion="auto"), untouched=np.arange(80, 100))
    untouched = model.result.heads["intent"].untouched  # by the replica that ships, as there is a validation set

    said = model.scores(given.features.take(untouched.rows))["intent"]

    np.testing.assert_allclose(said.fused, model.result.heads["intent"].in_label_units(untouched.fused), atol=1e-4)
    np.testing.assert_allclose(said.unimodal, model.result.heads["intent"].in_label_units(untouched.single), atol=1e-4)


def test_a_plan_survives_json():
    plan = small_core().plan

    assert Plan.from_dict(plan.as_dict()) == plan


def test_standardising_leaves_out_missing_rows_and_constant_columns():
    x = np.array([[1, 7, 9], [3, 7, 1], [1e6, 1e6, 1e6]], np.float32)

    mean, scale = standardisation(x, np.array([True, True, False]))

    np.testing.assert_allclose(mean, [2, 7, 5])
    np.testing.assert_allclose(scale, [1, 0, 0.25])


def test_a_core_takes_no_rows_at_all():
    scores = judging_by_energy(small_core()).scores(drawn(8).take([]))

    assert scores["my intent.v1"].fused.shape == (0, 4)
    assert scores["标签"].unimodal.shape == (0, 3, 2)
