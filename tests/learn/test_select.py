import numpy as np

from duomo.learn.objectives import Objective
from duomo.learn.select import late, late_weights


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
