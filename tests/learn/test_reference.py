"""What is usual for a model, as drift is measured against it."""

import numpy as np
import pytest

from duomo.learn.reference import reference
from duomo.models.features import Features, View
from duomo.models.understanding import HeadOutput


def test_the_usual_place_is_the_mean_direction_of_the_rows_that_have_the_modality():
    features = Features(
        ("text", "image"),
        np.array([[True, False], [True, False], [True, True]]),
        {
            "text.net": np.array([[2, 0], [0, 3], [5, 5]], np.float32),
            "image.net": np.array([[9, 9], [9, 9], [0, 1]], np.float32),
        },
    )
    views = [View("text.net", "text", 2, "net", "1"), View("image.net", "image", 2, "net", "1")]
    none = np.zeros(3)
    output = HeadOutput(
        np.zeros((3, 2)), none, np.array([0.2, 0.6, 1.0]), np.zeros((3, 2), bool), None, none > 0,
        np.array([0.1, 0.5, 0.2]), none,
    )  # fmt: skip

    found = reference(features, views, {"intent": output})

    diagonal, off = 2**-0.5, 1 - 2**-0.5
    assert found["modalities"]["text"] == {
        "view": "text.net", "n": 3, "mean": [pytest.approx(diagonal, abs=1e-5)] * 2,
        "distance": pytest.approx(off * 2 / 3, abs=1e-5), "deviation": pytest.approx(np.std([off, off, 0]), abs=1e-5),
    }  # fmt: skip
    assert found["modalities"]["image"] == {
        "view": "image.net", "n": 1, "mean": [0.0, 1.0], "distance": 0.0, "deviation": 0.0,
    }  # fmt: skip
    assert found["heads"] == {
        "intent": {
            "n": 3, "confidence": 0.6, "deviation": pytest.approx(0.3266, abs=1e-4),
            "out_of_scope": pytest.approx(1 / 3, abs=1e-5),
        }
    }  # fmt: skip
