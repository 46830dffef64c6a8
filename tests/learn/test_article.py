"""The preset `article` is the founding network, layer by layer."""

import numpy as np
import torch
from torch.nn import functional

from duomo.learn.model import Model
from duomo.learn.task import parse_task
from duomo.models.encoders import vector_view
from duomo.models.features import Features

DIMS = {"features.a_text": 300, "features.b_image": 2048, "features.c_sound": 512}


def digits(rows: int) -> tuple[Features, list[str]]:
    random = np.random.default_rng(5)
    label = random.integers(0, 3, rows)
    dense = {
        name: (random.standard_normal((3, dim))[label] + random.standard_normal((rows, dim))).astype(np.float32)
        for name, dim in DIMS.items()
    }
    return Features(tuple(DIMS), np.ones((rows, 3), np.bool_), dense), [str(one) for one in label]


def test_the_preset_article_is_the_founding_network_weight_by_weight() -> None:
    task = parse_task("heads: {digit: class}\npreset: article\ntraining: {epochs: 2, folds: 2}\n")
    features, labels = digits(120)
    views = [vector_view(name.removeprefix("features."), dim) for name, dim in DIMS.items()]
    model = Model(task).fit_features(features, views, {"digit": labels}, [str(row) for row in range(120)])
    (network,) = (network for name, network in model.core.networks.named_children())
    weights = {name: value[0] for name, value in network.named_parameters()}
    assert {
        name: tuple(value.shape) for name, value in weights.items() if "solo" not in name and "norms" not in name
    } == {
        **{f"tokens.{k}": (1, 128) for k in range(3)},
        **{f"adapters.{k}.weight": (dim, 128) for k, dim in enumerate(DIMS.values())},
        **{f"adapters.{k}.bias": (1, 128) for k in range(3)},
        "operator.mix.weight": (384, 128),
        "operator.mix.bias": (1, 128),
        "heads.h6469676974.weight": (128, 3),
        "heads.h6469676974.bias": (1, 3),
    }
    parts = []
    for k, view in enumerate(views):
        z = model.core.standardise(view, torch.from_numpy(features.dense[view.name]))
        parts.append(functional.relu(z @ weights[f"adapters.{k}.weight"] + weights[f"adapters.{k}.bias"]))
    fused = functional.relu(torch.cat(parts, 1) @ weights["operator.mix.weight"] + weights["operator.mix.bias"])
    logits = fused @ weights["heads.h6469676974.weight"] + weights["heads.h6469676974.bias"]
    said = model.scores(features)["digit"].fused
    np.testing.assert_allclose(said, logits.log_softmax(1).detach().numpy(), atol=1e-4)
