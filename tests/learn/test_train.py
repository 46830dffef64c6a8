from dataclasses import replace

import numpy as np
import pytest
import torch

from duomo.learn.checkpoint import Stages
from duomo.learn.distributed import World
from duomo.learn.fusion import Shape
from duomo.learn.objectives import Objective
from duomo.learn.task import Training
from duomo.learn.train import AdamW, Data, _Loop, batch_rows, outputs_of, train, view_replica
from tests.learn.synthetic import QUICK, assert_same_weights, fitted, rows, task, weights

INTENT = Objective("intent", "class", 3)


def data(n: int = 80, *, signal: float = 2.0, folds: int = 2, seed: int = 0) -> Data:
    random = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    means = np.random.default_rng(7).normal(size=(2, 3, 4))
    z = [torch.from_numpy((signal * means[k, truth] + random.normal(size=(n, 4))).astype(np.float32)) for k in range(2)]
    present = torch.from_numpy(random.random((n, 2)) < 0.8)
    present[~present.any(1), 0] = True
    held = [np.arange(fold, n, folds) for fold in range(folds)]
    sees = torch.ones(folds + 1, n)
    for replica, fold in enumerate(held):
        sees[replica, fold] = 0
    return Data(z, present, {"intent": torch.from_numpy(truth)}, sees, [*held, np.empty(0, np.int64)])


SHAPE = Shape("intermediate", "concat", (4, 4), {"intent": 3}, 8, 0.2)


def loop(given: Data, options: Training, *, semi: bool = False) -> _Loop:
    return _Loop("net", SHAPE, given, [INTENT], options, world=World(), semi_supervised=semi, start=None)


def trained(given: Data, options: Training = QUICK, *, semi: bool = False, stages: Stages | None = None, **rest):
    return train(
        "net", SHAPE, given, [INTENT], options, world=World(), semi_supervised=semi,
        stages=stages or Stages(None, identity=""), **rest,
    )  # fmt: skip


def state(network) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def equal(one, other) -> bool:
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_takes_the_steps_of_torchs(decay):
    drawn = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape, generator=drawn)) for shape in ((3, 4), (5,), (2, 1, 2))]
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    optimizer = AdamW(ours, weight_decay=decay, rate=3e-3)
    reference = torch.optim.AdamW(theirs, lr=3e-3, weight_decay=decay, betas=(0.9, 0.999), eps=1e-8)

    for step in range(30):
        gradients = [torch.randn(p.shape, generator=drawn) * 10.0 ** (step % 5 - 2) for p in ours]
        if step == 15:
            optimizer.rate = reference.param_groups[0]["lr"] = 1e-3
        optimizer.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        reference.step()

    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_batches_are_smaller_for_small_sets():
    assert [batch_rows(n, Training(batch_size=256)) for n in (5, 300, 1000, 100_000)] == [16, 30, 100, 256]
    assert batch_rows(100_000, Training(batch_size=32)) == 32


def test_modality_dropout_takes_one_with_the_given_chance_and_never_the_last():
    given = data(40)
    one = loop(given, replace(QUICK, modality_dropout=0.3))
    present = torch.tensor([[1, 1]] * 4000 + [[1, 0]] * 500 + [[0, 1]] * 500 + [[0, 0]] * 10, dtype=torch.bool)

    left = one._dropped(present, np.random.default_rng(0))

    assert (left[4000:] == present[4000:]).all()
    assert left[:4000].any(1).all()
    assert float((left[:4000].sum(1) == 1).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(left[:4000, 0].float().mean()) == pytest.approx(0.85, abs=0.03)
    always = loop(given, replace(QUICK, modality_dropout=0.999))._dropped(
        torch.ones(500, 2, dtype=torch.bool), np.random.default_rng(0)
    )
    assert always.any(1).all()
    never = loop(given, replace(QUICK, modality_dropout=0.0))
    assert (never._dropped(present, np.random.default_rng(0)) == present).all()


def test_a_replica_learns_nothing_from_rows_it_does_not_see():
    given = data()
    truth = given.targets["intent"].clone()
    truth[::2] = (truth[::2] + 1) % 3  # the labels of the first fold
    other = replace(given, targets={"intent": truth}, folds=[given.folds[0][:0]] * 3)
    same = replace(given, folds=[given.folds[0][:0]] * 3)

    a, b = trained(same).network, trained(other).network

    for name, value in a.state_dict().items():
        np.testing.assert_array_equal(value[0], b.state_dict()[name][0], err_msg=name)
    assert not equal(a, b)


def test_training_stops_when_held_out_rows_gain_no_more_and_gives_back_the_best():
    given = data(signal=0.0)
    options = replace(QUICK, epochs=60, patience=3, learning_rate=3e-2)

    found = trained(given, options)

    losses = [entry["validation_loss"] for entry in found.history]
    assert len(losses) == found.epoch + 3 < 60
    assert [entry["epoch"] for entry in found.history] == list(range(1, len(losses) + 1))
    again = loop(given, options)
    for _ in range(found.epoch):
        again.epoch()
    assert equal(again.network, found.network)


def test_without_held_out_rows_the_last_epoch_ships():
    given = replace(data(), folds=[np.empty(0, np.int64)] * 3)

    assert trained(given, replace(QUICK, epochs=4, patience=2)).epoch == 4


@pytest.mark.parametrize("semi", [False, True])
@pytest.mark.parametrize("balance", ["none", "g_blend", "ogm_ge", "mmpareto"])
def test_every_balance_is_reproducible_learns_and_goes_on_after_any_epoch(tmp_path, balance, semi):
    given = data(120, signal=2.5)
    if semi:
        hidden = np.arange(90, 120)
        targets = given.targets["intent"].clone()
        targets[90:] = -1
        sees = given.sees.clone()
        sees[:, 90:] = 0
        folds = [fold[fold < 90] for fold in given.folds]
        given = replace(given, targets={"intent": targets}, sees=sees, folds=folds, unlabelled=hidden)
    options = replace(QUICK, epochs=6, balance=balance, learning_rate=1e-2)

    whole = trained(given, options, semi=semi)

    assert equal(whole.network, trained(given, options, semi=semi).network)
    assert not equal(whole.network, trained(given, replace(options, seed=1), semi=semi).network)
    stages = Stages(tmp_path, identity="x")
    partial = loop(given, options, semi=semi)
    for _ in range(3):
        partial.epoch()
    stages.save("net.partial", *partial.state())
    told: list[int] = []
    resumed = trained(given, options, semi=semi, stages=stages, progress=lambda entry: told.append(entry["epoch"]))
    assert told[0] == 4
    assert equal(whole.network, resumed.network)
    assert equal(whole.network, trained(given, options, semi=semi, stages=stages).network)
    assert len(list(tmp_path.iterdir())) == 1  # the finished stage alone
    outputs = outputs_of(view_replica(whole.network, 2), given.z, given.present)["intent"]
    assert (outputs.argmax(1) == np.arange(120) % 3).mean() > 0.6


def test_balances_differ_from_each_other():
    given = data()
    found = [trained(given, replace(QUICK, balance=name)).network for name in ("none", "g_blend", "ogm_ge", "mmpareto")]

    assert not any(equal(a, b) for i, a in enumerate(found) for b in found[:i])


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    given = rows(90)

    first = fitted(given, task(mode="self-supervised", epochs=2, folds=2))

    assert_same_weights(first, fitted(given, task(mode="self-supervised", epochs=2, folds=2)))
    other = weights(fitted(given, task(mode="self-supervised", epochs=2, folds=2, seed=1)))
    assert any(name not in other or not np.array_equal(value, other[name]) for name, value in weights(first).items())
