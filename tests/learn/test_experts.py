import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from duomo.learn import experts
from duomo.learn.checkpoint import Stages
from duomo.learn.distributed import World
from duomo.learn.objectives import Objective

INTENT, TAGS, PRICE = (
    Objective("intent", "class", 3),
    Objective("tags", "multilabel", 2),
    Objective("price", "number", 1),
)


def drawn(n: int = 120, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = np.arange(n) % 3
    x = 1.5 * random.normal(size=(3, dim))[truth] + random.normal(size=(n, dim))
    return (x / np.sqrt(dim)).astype(np.float32), truth


def fit(x, objective, targets, *, folds: int = 2, stages: Stages | None = None, sees=None) -> experts.Fitted:
    n = x.shape[0]
    held = [np.arange(fold, n, folds) for fold in range(folds)]
    seen = np.ones((folds + 1, n), np.float32)
    for replica, rows in enumerate(held):
        seen[replica, rows] = 0
    return experts.fit(
        "name", x, objective, [targets] * (folds + 1), seen if sees is None else sees,
        [*held, np.empty(0, np.int64)], seed=0, stages=stages or Stages(None, identity=""), world=World(),
    )  # fmt: skip


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("objective", [INTENT, TAGS, PRICE], ids=lambda objective: objective.type)
def test_experts_learn_from_dense_and_sparse_rows(objective, sparse):
    x, truth = drawn()
    targets = {
        "class": truth,
        "multilabel": np.stack([truth == 0, truth != 1], axis=1).astype(np.float32),
        "number": (truth - 1).astype(np.float32),
    }[objective.type]

    found = fit(csr_matrix(x) if sparse else x, objective, targets)

    out = found.outputs(x, 2)
    assert out.shape == (120, objective.outputs)
    if objective.type == "class":
        assert (out.argmax(1) == truth).mean() > 0.85
    elif objective.type == "multilabel":
        assert ((out > 0) == (targets > 0.5)).mean() > 0.8
    else:
        assert np.corrcoef(out[:, 0], targets)[0, 1] > 0.6


def test_a_replica_does_not_learn_from_rows_held_out_of_it():
    x, truth = drawn()
    other = truth.copy()
    other[::2] = (other[::2] + 1) % 3

    a, b = fit(x, INTENT, truth), fit(x, INTENT, other)

    direction = [w.weights[0] / np.linalg.norm(w.weights[0]) for w in (a, b)]  # the common temperature may differ
    if a.strength == b.strength:
        np.testing.assert_allclose(direction[0], direction[1], rtol=1e-4, atol=1e-6)
    assert np.abs(a.weights[2] - b.weights[2]).max() > 0.1


def test_the_logistic_expert_is_scikit_learns_up_to_one_temperature():
    x, truth = drawn()
    found = fit(x, INTENT, truth)
    model = LogisticRegression(C=found.strength, max_iter=experts.ITERATIONS).fit(x, truth)

    ratio = found.weights[2] / model.coef_.T

    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
    np.testing.assert_allclose(found.bias[2] / ratio[0, 0], model.intercept_, rtol=1e-2, atol=1e-4)


def test_the_temperature_makes_held_out_rows_likeliest():
    x, truth = drawn()
    found = fit(x, INTENT, truth)
    held = np.concatenate([found.outputs(x[fold::2], fold) for fold in (0, 1)])
    labels = np.concatenate([truth[fold::2] for fold in (0, 1)])

    best = experts.loss_of(INTENT, held, labels)

    assert best <= min(experts.loss_of(INTENT, held * factor, labels) for factor in (0.5, 0.8, 0.95, 1.05, 1.25, 2))


def test_two_classes_are_one_direction_and_its_opposite():
    x, truth = drawn()
    two = np.minimum(truth, 1)

    found = fit(x, Objective("intent", "class", 2), two)

    np.testing.assert_allclose(found.weights[2][:, 0], -found.weights[2][:, 1])
    model = LogisticRegression(C=found.strength, max_iter=experts.ITERATIONS).fit(x, two)
    log_odds = found.outputs(x, 2) @ [-1, 1]
    np.testing.assert_allclose(np.corrcoef(log_odds, model.decision_function(x))[0, 1], 1, atol=1e-4)


def test_labels_that_a_replica_never_saw_are_nearly_impossible():
    x, truth = drawn()
    truth = np.where(truth == 2, -1, truth)

    out = fit(x, INTENT, truth).outputs(x, 2)

    chances = np.exp(out - out.max(1, keepdims=True))
    assert (chances[:, 2] / chances.sum(1)).max() < 0.01
    nothing = fit(x, INTENT, np.full(120, -1)).outputs(x, 2)
    assert (nothing == 0).all()
    one = fit(x, INTENT, np.zeros(120, np.int64)).outputs(x, 2)
    assert (one.argmax(1) == 0).all()


def test_labels_that_all_or_no_rows_carry_are_answered_so():
    x, _ = drawn()
    tags = np.stack([np.ones(120), np.zeros(120)], axis=1).astype(np.float32)

    out = fit(x, TAGS, tags).outputs(x, 2)

    assert (out[:, 0] > 5).all()
    assert (out[:, 1] < -5).all()


def test_weights_of_rows_are_heard():
    x, truth = drawn()
    sees = np.ones((3, 120), np.float32)
    sees[2, truth == 2] = 1e-3

    heard = fit(x, INTENT, truth, sees=sees).outputs(x, 2)
    plain = fit(x, INTENT, truth).outputs(x, 2)

    assert (heard.argmax(1) == 2).mean() < 0.5 * (plain.argmax(1) == 2).mean()


def test_a_finished_expert_is_read_back(tmp_path):
    x, truth = drawn()
    stages = Stages(tmp_path, identity="one")
    first = fit(x, INTENT, truth, stages=stages)

    again = fit(x * 0, INTENT, truth, stages=stages)  # the identity says that it is the same

    np.testing.assert_array_equal(first.weights, again.weights)
    np.testing.assert_array_equal(first.bias, again.bias)
    assert first.strength == again.strength


def test_losses_are_negative_log_likelihoods_and_squared_errors():
    logits = np.log([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(experts.losses(INTENT, logits, np.array([0, -1])), [-np.log(0.7), np.nan])
    tags = experts.losses(TAGS, np.array([[0.0, np.log(3)]]), np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(tags, [-(np.log(0.5) + np.log(0.25)) / 2])
    np.testing.assert_allclose(experts.losses(PRICE, np.array([[2.0], [1]]), np.array([0.5, np.nan])), [2.25, np.nan])
    assert experts.loss_of(INTENT, logits, np.array([-1, -1])) == 0
