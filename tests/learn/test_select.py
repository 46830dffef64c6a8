from itertools import product

import numpy as np
import pytest

from duomo.learn.objectives import Objective
from duomo.learn.select import (
    Comparison,
    blend,
    choose,
    grouped_error,
    late,
    late_weights,
    leak_alarm,
    mean_loss,
    natural,
)


def test_a_modality_that_knows_the_number_outweighs_one_that_guesses():
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    knows, guesses = truth + random.normal(size=200) * 0.1, random.normal(size=200)
    eta = np.stack([guesses, knows], axis=1)[..., None]
    eta[:80, 1] = np.nan  # a part of the rows has only the guess
    price = Objective("price", "number", 1)

    weights = late_weights(price, eta, truth.astype(np.float32), np.zeros(1))

    said = late(price, eta[80:], weights, np.zeros(1))[:, 0]
    assert np.corrcoef(said, truth[80:])[0, 1] > 0.99
    assert weights[1] == 1
    assert 0 < weights[0] < 0.1


# --- late fusion


INTENT, TAGS, PRICE = (
    Objective("intent", "class", 3),
    Objective("tags", "multilabel", 2),
    Objective("price", "number", 1),
)


@pytest.mark.parametrize("objective", [INTENT, TAGS, PRICE], ids=lambda objective: objective.type)
def test_late_fusion_is_its_formula_for_every_subset(objective):
    random = np.random.default_rng(0)
    eta = natural(objective, random.normal(size=(8, 3, objective.outputs)))
    here = np.array(list(product([False, True], repeat=3)))
    eta[~here] = np.nan
    prior = natural(objective, random.normal(size=objective.outputs))
    weights = np.array([0.5, 1.3, 0.2])

    found = late(objective, eta, weights, prior)

    np.testing.assert_allclose(found[0], prior)
    for row in range(1, 8):
        present = np.flatnonzero(here[row])
        if objective.type == "number":
            expected = np.average(eta[row, present], weights=weights[present], axis=0)
        else:
            expected = -(weights[present].sum() - 1) * prior
            for k in present:
                expected = expected + weights[k] * eta[row, k]
            if objective.type == "class":
                expected = np.log(np.exp(expected) / np.exp(expected).sum())
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_late_weights_make_the_labels_likelier_than_any_other_weights_tried():
    eta, truth = voices(n=300)
    prior = np.log(np.full(3, 1 / 3))
    weights = late_weights(INTENT, eta, truth, prior)

    def loss(w) -> float:
        return mean_loss(INTENT, late(INTENT, eta, np.asarray(w), prior), truth)

    grid = [loss(w) for w in product(np.linspace(0.05, 2.5, 12), repeat=2)]
    assert loss(weights) <= min(grid) + 1e-3
    assert weights[0] > 3 * weights[1]
    assert loss(weights) < mean_loss(INTENT, eta[:, 0], truth)


def test_rows_without_a_label_do_not_sway_late_weights():
    eta, truth = voices(n=200)
    extra = np.concatenate([eta, eta[::-1]])
    prior = np.log(np.full(3, 1 / 3))

    found = late_weights(INTENT, extra, np.concatenate([truth, np.full(200, -1)]), prior)

    np.testing.assert_allclose(found, late_weights(INTENT, eta, truth, prior), rtol=1e-6)


def voices(n: int, *, strong: float = 2.0, weak: float = 0.4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """OOF η of a modality that knows much and one that knows little."""
    random = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    logits = random.normal(size=(n, 2, 3))
    logits[np.arange(n), 0, truth] += strong
    logits[np.arange(n), 1, truth] += weak
    return natural(INTENT, logits), truth


# --- choice


def test_a_harmful_member_leaves_the_word_to_the_best_single_modality():
    eta, truth = voices(n=60, weak=0.0)
    wrong = natural(INTENT, np.random.default_rng(1).normal(size=(60, 3)) * 4)
    members = {"late": wrong, "only/text": eta[:, 0], "only/image": eta[:, 1]}

    found = choose(INTENT, members, ["only/text", "only/image"], truth, np.arange(60), allowed=list(members), seed=0)

    assert found.weights == {"only/text": 1.0}
    assert not found.harmless
    assert found.gain <= found.error
    assert found.reason().startswith("only/text alone: fusion's gain")


def test_a_member_that_adds_something_is_blended_in():
    random = np.random.default_rng(0)
    truth = np.arange(300) % 3
    a, b = (natural(INTENT, 1.5 * np.eye(3)[truth] + random.normal(size=(300, 3))) for _ in range(2))

    found = choose(
        INTENT, {"only/a": a, "only/b": b}, ["only/a", "only/b"], truth, np.arange(300),
        allowed=["only/a", "only/b"], seed=0,
    )  # fmt: skip

    assert found.harmless
    assert set(found.weights) == {"only/a", "only/b"}
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.gain == pytest.approx(
        min(found.losses.values())
        - mean_loss(INTENT, sum(w * {"only/a": a, "only/b": b}[n] for n, w in found.weights.items()), truth)
    )


def test_a_blend_is_never_worse_than_its_best_member():
    for seed in range(5):
        eta, truth = voices(n=90, seed=seed)
        members = {"linear": eta[:, 0], "mlp": eta[:, 1]}
        weights = blend(INTENT, members, truth)

        whole = sum(w * members[name] for name, w in weights.items())
        assert sum(weights.values()) == pytest.approx(1)
        assert mean_loss(INTENT, whole, truth) <= min(mean_loss(INTENT, m, truth) for m in members.values()) + 1e-12


def test_the_error_of_a_gain_counts_groups_not_rows():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 30)

    mean, by_group = grouped_error(values, np.repeat(np.arange(20), 30), seed=0)
    _, by_row = grouped_error(values, np.arange(600), seed=0)

    assert mean == pytest.approx(values.mean())
    assert by_group == pytest.approx(values[::30].std() / np.sqrt(20), rel=0.15)
    assert by_group > 4 * by_row
    assert grouped_error(values, np.zeros(600), seed=0)[1] == np.inf
    assert grouped_error(np.full(3, np.nan), np.arange(3), seed=0) == (0.0, np.inf)


@pytest.mark.parametrize(
    ("oof", "untouched", "alarmed"),
    [(0.95, 0.5, True), (0.95, 0.94, False), (0.5, 0.95, False), (0.9, 0.87, False)],
)
def test_the_leak_alarm_needs_a_gap_that_chance_does_not_explain(oof, untouched, alarmed):
    a, b = (np.arange(n) < share * n for share, n in ((oof, 400), (untouched, 100)))

    assert (leak_alarm("image", a.astype(float), b.astype(float)) is not None) == alarmed
    assert leak_alarm("image", a[:20].astype(float), b.astype(float)) is None  # too few rows to say


def test_the_comparison_is_a_table_to_print():
    table = Comparison(
        "intent",
        [
            {"pattern": "text", "member": "late", "loss": 0.25},
            {"pattern": "text+image", "member": "chosen", "loss": 1.0},
        ],
    )

    assert table.to_text().splitlines() == [
        "intent:",
        "  pattern     member  loss",
        "  text        late    0.2500",
        "  text+image  chosen  1.0000",
    ]
    assert Comparison("x").to_text() == "x: no rows to compare on"
