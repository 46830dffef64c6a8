"""A whole network, small, with random weights: every kind of member, view and head."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from duomo.learn.core import Core, Fusion, Plan
from duomo.learn.fusion import Shape
from duomo.models.features import View
from duomo.models.manifest import Manifest
from duomo.models.understanding import HeadInfo

MODALITIES = ("text", "image", "audio")
VIEWS = (
    View("text.e5", "text", 40, "e5", "1"),
    View("text.ngrams", "text", 4096, "hashed-ngrams", "1", sparse=True),
    View("image.net", "image", 60, "net", "1"),
    View("audio.ear", "audio", 30, "ear", "1"),
)
HEADS = {
    "my intent.v1": HeadInfo("my intent.v1", "class", ("a", "b", "c"), (0.5, 0.3, 0.2), "none", 0.5),
    "标签": HeadInfo("标签", "multilabel", ("x", "y"), (0.3, 0.6)),
    "price": HeadInfo("price", "number", (), (20.0, 5.0)),
}
VOCABULARY = 300


OPERATORS = ("gated", "concat", "sum", "low_rank", "tensor", "cross_attention", "bottleneck")


def small_core(operators: tuple[str, ...] = OPERATORS, *, seed: int = 0) -> Core:
    dims = (40, 60, 30)
    outputs = {"my intent.v1": 4, "标签": 2, "price": 1}
    late = {"late": 0.5, "early": 0.2, **dict.fromkeys(operators, 0.3 / len(operators))}
    within = {
        "text": {"linear": 0.4, "ngrams": 0.6},
        "image": {"linear": 0.5, "mlp/image": 0.5},
        "audio": {"linear": 1.0},
    }
    fusion = Fusion(
        "class", 3, True, False, tuple(np.log([0.4, 0.2, 0.1, 0.3]).tolist()), within, (1.0, 0.5, 0.7), {7: late}
    )
    fusions = {
        "my intent.v1": fusion,
        "标签": replace(fusion, type="multilabel", labels=2, out_of_scope=False, prior=(-0.8, 0.4)),
        "price": replace(
            fusion, type="number", labels=1, out_of_scope=False, prior=(0.0,), patterns={1: {"only/text": 1.0}},
            within={**within, "image": {"linear": 1.0}}, mean=20.0, deviation=5.0,
        ),
    }  # fmt: skip
    networks = {
        "early": Shape("early", "concat", dims, outputs, 32, 0.1),
        **{o: Shape("intermediate", o, dims, outputs, 32, 0.1) for o in operators},  # type: ignore[arg-type]
        "mlp/image": Shape("early", "concat", (60,), outputs, 32, 0.1),
    }
    core = Core(Plan(MODALITIES, VIEWS, {"text.ngrams": VOCABULARY}, networks, fusions))
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in core.parameters():
            value.copy_(
                torch.randn(value.shape, generator=drawn) / max(1, value.shape[-2] if value.dim() > 1 else 1) ** 0.5
            )
        for table in core.ngrams.values():
            table.table[0] = 0  # type: ignore[index]  # padding
            table.table[1:] *= 10  # type: ignore[index]
        for table in core.dense.values():
            table.weight.mul_(8)  # type: ignore[operator]
        for view in VIEWS:
            if not view.sparse:
                core.get_buffer_(f"mean:{view.name}".replace(".", "/")).normal_(generator=drawn)
                core.get_buffer_(f"scale:{view.name}".replace(".", "/")).uniform_(0.5, 2, generator=drawn)
    core.vocabularies = {"text.ngrams": np.sort(np.random.default_rng(seed).permutation(4096)[:VOCABULARY])}
    return core


@dataclass
class SmallModel:
    """As `learn.model.Model` offers itself to exporters."""

    core: Core

    def manifest(self) -> Manifest:
        return Manifest("1.0", {"heads": {name: head.type for name, head in HEADS.items()}}, MODALITIES, VIEWS, HEADS)
