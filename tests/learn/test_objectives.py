"""Losses and balances against torch's own, or against the paper's formula worked out in another way."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from duomo.learn.fusion import Noise
from duomo.learn.objectives import (
    Blend,
    Objective,
    Thresholds,
    alignment,
    masked_modality,
    modulation,
    pareto,
    strong_view,
    supervised,
)

R, B, C = 2, 6, 4
NAN = float("nan")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CLASSES = torch.tensor([0, 3, -1, 1, 1, 2])


# --- losses of heads


def test_cross_entropy_is_torchs_and_rows_without_a_label_cost_nothing():
    outputs = drawn(R, B, C)

    found = Objective("intent", "class", C).rows(outputs, CLASSES)

    for r in range(R):
        torch.testing.assert_close(
            found[r], functional.cross_entropy(outputs[r], CLASSES, ignore_index=-1, reduction="none")
        )


def test_class_weights_and_label_smoothing_are_torchs():
    outputs, weights = drawn(R, B, C), (0.5, 1.0, 2.0, 0.7)
    objective = Objective("intent", "class", C, label_smoothing=0.2)

    smoothed = functional.cross_entropy(outputs[0], CLASSES, ignore_index=-1, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(objective.rows(outputs, CLASSES)[0], smoothed)

    weighted = Objective("intent", "class", C, class_weights=weights)
    loss = supervised(
        {"intent": outputs}, {"intent": CLASSES}, torch.ones(R, B), [weighted],
        totals={"intent": weighted.counted(CLASSES).sum()[None]},
    )  # fmt: skip
    expected = functional.cross_entropy(outputs[1], CLASSES, weight=torch.tensor(weights), ignore_index=-1)
    torch.testing.assert_close(loss[1], expected)  # the weighted mean


def test_each_replica_may_have_targets_of_its_own():
    outputs = drawn(R, B, C)
    both = torch.stack([CLASSES, CLASSES.flip(0)])
    objective = Objective("intent", "class", C, class_weights=(1.0, 2.0, 3.0, 4.0))

    found = objective.rows(outputs, both)

    torch.testing.assert_close(found[0], objective.rows(outputs, CLASSES)[0])
    torch.testing.assert_close(found[1], objective.rows(outputs, CLASSES.flip(0))[1])


def test_binary_cross_entropy_of_several_labels_is_torchs():
    outputs = drawn(R, 3, 2)
    targets = torch.tensor([[1.0, 0.0], [NAN, NAN], [1.0, 1.0]])

    found = Objective("tags", "multilabel", 2).rows(outputs, targets)
    weighted = Objective("tags", "multilabel", 2, class_weights=(3.0, 0.5)).rows(outputs, targets)

    known = [0, 2]
    expected = functional.binary_cross_entropy_with_logits(outputs[1][known], targets[known], reduction="none").mean(1)
    torch.testing.assert_close(found[1][known], expected)
    assert found[:, 1].tolist() == [0, 0]
    heavier = functional.binary_cross_entropy_with_logits(
        outputs[1][known], targets[known], reduction="none", pos_weight=torch.tensor([3.0, 0.5])
    )
    torch.testing.assert_close(weighted[1][known], heavier.mean(1))


@pytest.mark.parametrize("huber", [False, True])
def test_losses_of_numbers_are_torchs(huber):
    outputs, targets = drawn(R, 4, 1) * 3, torch.tensor([0.5, NAN, -2.0, 3.0])

    found = Objective("price", "number", 1, huber=huber).rows(outputs, targets)

    reference = functional.huber_loss if huber else functional.mse_loss
    known = [0, 2, 3]
    torch.testing.assert_close(found[0][known], reference(outputs[0, known, 0], targets[known], reduction="none"))
    assert found[:, 1].tolist() == [0, 0]


def test_a_whole_loss_adds_weighted_heads_over_the_rows_each_replica_sees():
    outputs = {"intent": drawn(R, B, C), "price": drawn(R, B, 1, seed=1)}
    targets = {"intent": CLASSES, "price": torch.tensor([1.0, NAN, 0.0, 2.0, NAN, 1.0])}
    sees = torch.tensor([[1.0, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0.5, 1]])
    heads = [Objective("intent", "class", C), Objective("price", "number", 1, weight=0.3)]
    totals = {o.name: (o.counted(targets[o.name]) * sees).sum(1) for o in heads}

    found = supervised(outputs, targets, sees, heads, totals=totals)

    for r in range(R):
        each = functional.cross_entropy(outputs["intent"][r], CLASSES.clamp(min=0), reduction="none")
        w = sees[r] * (CLASSES >= 0)
        intent = (each * w).sum() / w.sum()
        known = ~targets["price"].isnan()
        w = sees[r][known]
        price = ((outputs["price"][r, known, 0] - targets["price"][known]) ** 2 * w).sum() / w.sum()
        torch.testing.assert_close(found[r], intent + 0.3 * price)


def test_a_batch_without_any_label_costs_nothing():
    objective = Objective("intent", "class", C)
    none = torch.full((B,), -1)

    loss = supervised({"intent": drawn(R, B, C)}, {"intent": none}, torch.ones(R, B), [objective],
                      totals={"intent": torch.zeros(R)})  # fmt: skip

    assert loss.tolist() == [0, 0]


# --- balance


def test_g_blend_moves_half_way_to_generalisation_over_overfitting_squared():
    blend = Blend(2)
    assert blend.weights.tolist() == [0.5, 0.5]

    blend.update(torch.tensor([1.0, 1.0]), torch.tensor([1.2, 1.1]))
    assert blend.weights.tolist() == [0.5, 0.5]  # nothing to compare with
    blend.update(torch.tensor([0.6, 0.9]), torch.tensor([1.0, 0.9]))

    gained = np.array([1.2 - 1.0, 1.1 - 0.9])
    overfitted = np.array([(1.0 - 0.6) - (1.2 - 1.0), abs((0.9 - 0.9) - (1.1 - 1.0))])
    share = gained / overfitted**2
    np.testing.assert_allclose(blend.weights, 0.25 + 0.5 * share / share.sum(), rtol=1e-5)


def test_g_blend_keeps_a_modality_that_got_worse_at_almost_nothing():
    blend = Blend(2)
    blend.update(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]))
    for _ in range(20):
        before = blend.before
        blend.update(before[0] - torch.tensor([0.1, 0.1]), before[1] + torch.tensor([-0.05, 0.05]))

    assert blend.weights[1] < 0.01
    assert float(blend.weights.sum()) == pytest.approx(1)


def test_ogm_ge_slows_the_modality_that_is_ahead():
    factors = modulation(torch.tensor([[0.9, 0.3], [0.5, 0.5]]))

    torch.testing.assert_close(
        factors, torch.tensor([[1 - math.tanh(0.5 * (3.0 - 1)), 1.0], [1.0, 1.0]]), rtol=1e-5, atol=1e-6
    )
    three = modulation(torch.tensor([[0.9, 0.3, 0.6]]))
    assert float(three[0, 0]) == pytest.approx(1 - math.tanh(0.5 * (0.9 / 0.45 - 1)))
    assert three[0, 1] == 1


def test_mmpareto_adds_gradients_that_agree():
    fused, solo = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])

    torch.testing.assert_close(pareto(fused, solo), fused + solo)


@pytest.mark.parametrize("seed", range(5))
def test_mmpareto_takes_the_shortest_combination_of_gradients_that_conflict(seed):
    fused = drawn(1, 7, seed=seed)
    solo = -fused * (0.3 + seed / 3) + 0.5 * drawn(1, 7, seed=seed + 50)
    if float((fused * solo).sum()) >= 0:
        solo = -solo

    found = pareto(fused, solo)[0]

    shares = torch.linspace(0, 1, 100_001)[:, None]
    combinations = shares * fused + (1 - shares) * solo
    shortest = combinations[combinations.norm(dim=1).argmin()]
    expected = shortest / shortest.norm() * (fused + solo).norm()
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)
    assert min(float(found @ fused[0]), float(found @ solo[0])) >= -1e-4  # serves both


# --- learning without labels


def test_freematch_thresholds_are_moving_means_scaled_by_class():
    thresholds = Thresholds(1, 2)
    assert thresholds.of(torch.tensor([[0, 1]])).tolist() == [[0.5, 0.5]]

    thresholds.update(torch.tensor([0.9]), torch.tensor([[0.8, 0.2]]))

    sure = 0.95 * 0.5 + 0.05 * 0.9
    classes = [0.95 * 0.5 + 0.05 * 0.8, 0.95 * 0.5 + 0.05 * 0.2]
    torch.testing.assert_close(
        thresholds.of(torch.tensor([[0, 1]])), torch.tensor([[sure, sure * classes[1] / classes[0]]])
    )


def test_the_strong_view_drops_one_of_several_modalities_and_never_the_last():
    present = torch.tensor([[1, 1, 1]] * 50 + [[0, 1, 1]] * 50 + [[0, 0, 1]] * 50 + [[0, 0, 0]], dtype=torch.bool)
    z = [torch.zeros(151, 3)] * 3

    harder, fewer = strong_view(z, present, noise=Noise(0, rows=151, mine=slice(None)))

    assert fewer.sum(1).tolist() == [2] * 50 + [1] * 50 + [1] * 50 + [0]
    assert not (fewer & ~present).any()
    assert 0.2 < float(harder[0].std()) < 0.4
    assert fewer[:50].float().mean(0).tolist() == pytest.approx([2 / 3] * 3, abs=0.25)


PRESENT = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_infonce_is_symmetric_cross_entropy_of_cosines_over_rows_that_have_both():
    hidden = drawn(5, 3, 8)

    found = alignment(hidden, PRESENT)

    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = [row for row in range(5) if PRESENT[row, a] and PRESENT[row, b]]
        forth = back = 0.0
        for i in both:
            forth -= math.log(
                math.exp(cosine(hidden[i, a], hidden[i, b]) / 0.1)
                / sum(math.exp(cosine(hidden[i, a], hidden[j, b]) / 0.1) for j in both)
            )
            back -= math.log(
                math.exp(cosine(hidden[i, a], hidden[i, b]) / 0.1)
                / sum(math.exp(cosine(hidden[j, a], hidden[i, b]) / 0.1) for j in both)
            )
        pairs.append((forth + back) / (2 * len(both)))
    assert float(found) == pytest.approx(sum(pairs) / 3, rel=1e-4)


def test_masked_modality_is_one_minus_the_cosine_to_the_others():
    hidden = drawn(5, 3, 8)
    unit = functional.normalize(hidden, dim=-1)

    found = masked_modality(hidden, PRESENT)

    parts = []
    for k in range(3):
        rows = [row for row in range(5) if PRESENT[row, k]]  # every row here has two at least
        each = [
            1 - cosine(sum(unit[row, o] for o in range(3) if o != k and PRESENT[row, o]), unit[row, k]) for row in rows
        ]
        parts.append(sum(each) / len(each))
    assert float(found) == pytest.approx(sum(parts) / 3, rel=1e-4)


@pytest.mark.parametrize("loss", [alignment, masked_modality])
def test_rows_with_a_single_modality_have_nothing_to_align(loss):
    alone = torch.eye(3, dtype=torch.bool)

    assert float(loss(drawn(3, 3, 8), alone)) == 0
