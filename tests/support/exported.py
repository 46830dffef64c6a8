"""An exported model small enough to be made in a test: one vector in, three intents out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from duomo.learn.core import Core, Fusion, Plan
from duomo.learn.export import export_onnx
from duomo.models.features import View
from duomo.models.manifest import Manifest
from duomo.models.understanding import HeadInfo

VIEW = View("features.x", "features.x", 8, "given", "1")


@dataclass
class TinyModel:
    """As `learn.model.Model` offers itself to exporters."""

    core: Core
    view: View

    def manifest(self) -> Manifest:
        intent = HeadInfo("intent", "class", ("a", "b", "c"), (0.5, 0.3, 0.2), "other", 0.5)
        metrics = {"intent": {"measure": "accuracy", "out_of_fold": 0.9, "rows": 300, "alarms": []}}
        return Manifest("1.0", {}, (self.view.modality,), (self.view,), {"intent": intent}, metrics)


def export(folder: Path, *, seed: int = 0, view: View = VIEW) -> Path:
    fusion = Fusion(
        "class", 3, True, False, tuple(np.log([0.4, 0.2, 0.1, 0.3]).tolist()), {view.modality: {"linear": 1.0}}, (1.0,),
        {1: {"late": 1.0}},
    )  # fmt: skip
    core = Core(Plan((view.modality,), (view,), {}, {}, {"intent": fusion}))
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in core.parameters():
            value.copy_(torch.randn(value.shape, generator=drawn))
    return export_onnx(TinyModel(core, view), folder).folder  # type: ignore[arg-type]
