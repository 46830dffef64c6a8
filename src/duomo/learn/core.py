"""The finished model as one torch module: every member, the fusion of what they say, and the choice by pattern.

`Core.forward` is what `duomo export` turns into a graph, so it takes the graph's inputs: each dense view as it comes
from its encoder, each sparse view as positions and values, and which modalities are present.

Shapes: B rows, K modalities, O outputs of a head (its C labels, and one more where out-of-scope was trained).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from duomo.learn.fusion import FusionNetwork, Shape
from duomo.learn.task import HeadType
from duomo.models.features import Features, Floats, View
from duomo.models.understanding import Scores, graph_inputs

BATCH = 2048


@dataclass(frozen=True)
class Fusion:
    """How one head combines its members.

    Attributes:
        prior: (O,) natural parameters of the label frequencies; of a number, its mean in standard deviations: 0.
        within: by modality, weight of each of its members, sum 1.
        late: (K,) weight of each modality in late fusion.
        patterns: by availability pattern (bit k: modality k is present) weights of late, networks and modalities;
            patterns that are not listed are fused late.
        mean, deviation: of a number, in the label's unit.
    """

    type: HeadType
    labels: int
    out_of_scope: bool  # whether a head with examples has the extra output
    energy: bool  # whether out-of-scope is judged without examples
    prior: tuple[float, ...]
    within: Mapping[str, Mapping[str, float]]
    late: tuple[float, ...]
    patterns: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    mean: float = 0.0
    deviation: float = 1.0


class Dense(nn.Module):
    """A linear expert on the dense views of one modality: x / √D · W + b."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, outputs), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        return torch.as_tensor(z @ self.weight / float(z.shape[-1]) ** 0.5 + self.bias)


class NGrams(nn.Module):
    """A linear expert on n-grams: Σ_j x_j W_j + b over the row's entries, x the TF-IDF values scaled to length 1."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(vocabulary + 1, outputs), requires_grad=False)  # row 0: padding
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)

    def forward(self, columns: Tensor, x: Tensor) -> Tensor:
        return (self.table[columns] * x.unsqueeze(-1)).sum(1) + self.bias


@dataclass(frozen=True)
class Plan:
    """What a core is made of: enough to build it again before its weights are loaded."""

    modalities: tuple[str, ...]
    views: tuple[View, ...]
    vocabularies: Mapping[str, int]  # sparse view -> size
    networks: Mapping[str, Shape]  # "early", "intermediate", "mlp/text"
    fusions: Mapping[str, Fusion]
    projections: Mapping[str, int] = field(default_factory=dict)  # modality -> principal components it is reduced to

    def as_dict(self) -> dict[str, Any]:
        return {
            "modalities": list(self.modalities),
            "views": [asdict(view) for view in self.views],
            "vocabularies": dict(self.vocabularies),
            "projections": dict(self.projections),
            "networks": {name: asdict(shape) for name, shape in self.networks.items()},
            "fusions": {
                name: {**asdict(fusion), "patterns": {str(bits): dict(w) for bits, w in fusion.patterns.items()}}
                for name, fusion in self.fusions.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        return cls(
            tuple(data["modalities"]),
            tuple(View(**view) for view in data["views"]),
            dict(data["vocabularies"]),
            {
                name: Shape(**{**shape, "dims": tuple(shape["dims"]), "turns": tuple(shape["turns"])})
                for name, shape in data["networks"].items()
            },
            {
                name: Fusion(
                    **{
                        **fusion,
                        "prior": tuple(fusion["prior"]),
                        "late": tuple(fusion["late"]),
                        "patterns": {int(bits): dict(weights) for bits, weights in fusion["patterns"].items()},
                    }
                )
                for name, fusion in data["fusions"].items()
            },
            dict(data["projections"]),
        )


class Core(nn.Module):
    """All members and their fusion. As a `duomo.models.understanding.Core` it gives `scores` of features."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.modalities = plan.modalities
        self.vocabularies: dict[str, NDArray[np.int64]] = {}
        self.dims = {m: sum(v.dim for v in plan.views if v.modality == m and not v.sparse) for m in plan.modalities}
        for modality, components in plan.projections.items():
            self.register_buffer(f"project:{modality}".replace(".", "/"), torch.zeros(self.dims[modality], components))
        for view in plan.views:
            if view.sparse:
                self.register_buffer(f"idf:{view.name}".replace(".", "/"), torch.ones(plan.vocabularies[view.name] + 1))
            else:
                self.register_buffer(f"mean:{view.name}".replace(".", "/"), torch.zeros(view.dim))
                self.register_buffer(f"scale:{view.name}".replace(".", "/"), torch.ones(view.dim))
        self.dense = nn.ModuleDict()
        self.ngrams = nn.ModuleDict()
        for head, fusion in plan.fusions.items():
            outputs = outputs_of_head(fusion)
            for modality, members in fusion.within.items():
                for member in members:
                    if member == "linear":
                        self.dense[_key(head, modality)] = Dense(self.dims[modality], outputs)
                    elif member == "ngrams":
                        view = next(v for v in plan.views if v.sparse and v.modality == modality)
                        self.ngrams[_key(head, modality)] = NGrams(plan.vocabularies[view.name], outputs)
        self.networks = nn.ModuleDict(
            {_key(name): FusionNetwork(shape, replicas=1, seed=0) for name, shape in plan.networks.items()}
        )
        for head, fusion in plan.fusions.items():
            self.register_buffer(f"table:{head.encode().hex()}", self._table(fusion))
            self.register_buffer(f"prior:{head.encode().hex()}", torch.tensor(fusion.prior))
            self.register_buffer(f"late:{head.encode().hex()}", torch.tensor(fusion.late))
        self.eval().requires_grad_(requires_grad=False)

    def standardise(self, view: View, x: Tensor) -> Tensor:
        name = view.name.replace(".", "/")
        return (x - self.get_buffer_(f"mean:{name}")) * self.get_buffer_(f"scale:{name}")

    def get_buffer_(self, name: str) -> Tensor:
        found = self._buffers[name]
        assert found is not None
        return found

    # --- weights, as fit.py finds them

    def set_standardisation(self, view: str, mean: Floats, scale: Floats) -> None:
        self.get_buffer_(f"mean:{view}".replace(".", "/")).copy_(torch.from_numpy(mean))
        self.get_buffer_(f"scale:{view}".replace(".", "/")).copy_(torch.from_numpy(scale))

    def set_projection(self, modality: str, components: Floats) -> None:
        self.get_buffer_(f"project:{modality}".replace(".", "/")).copy_(torch.from_numpy(components))

    def set_idf(self, view: str, idf: Floats) -> None:
        self.get_buffer_(f"idf:{view}".replace(".", "/")).copy_(torch.from_numpy(idf))

    def set_network(self, name: str, network: FusionNetwork) -> None:
        self.networks[_key(name)].load_state_dict(network.state_dict())

    def set_expert(self, head: str, modality: str, member: str, weights: Floats, bias: Floats) -> None:
        """(D, O) or (V, O) weights and (O,) bias."""
        if member == "linear":
            dense = self.dense[_key(head, modality)]
            dense.weight.copy_(torch.from_numpy(weights))  # type: ignore[operator]
            dense.bias.copy_(torch.from_numpy(bias))  # type: ignore[operator]
        else:
            ngrams = self.ngrams[_key(head, modality)]
            ngrams.table[1:].copy_(torch.from_numpy(weights))  # type: ignore[index]
            ngrams.bias.copy_(torch.from_numpy(bias))  # type: ignore[operator]

    # --- from inputs to scores

    def _members(self, fusion: Fusion) -> list[str]:
        """Columns of the pattern table."""
        networks = [name for name in self.plan.networks if not name.startswith("mlp/")]
        return ["late", *networks, *(f"only/{m}" for m in self.modalities)]

    def _table(self, fusion: Fusion) -> Tensor:
        """(2^K, members) weights."""
        members = self._members(fusion)
        table = torch.zeros(2 ** len(self.modalities), len(members))
        table[:, 0] = 1.0
        for bits, weights in fusion.patterns.items():
            table[bits] = torch.tensor([weights.get(member, 0.0) for member in members])
        return table

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """
        Args:
            inputs: `present` (B, K) bool, VIEW (B, dim) float32, VIEW.columns (B, m) int64 and VIEW.values (B, m).
        Returns:
            By head: fused (B, C), unimodal (B, K, C), out-of-scope logit (B,), zeros where the head does not ask.
        """
        present = inputs["present"]
        z = self._standardised(inputs, present)
        narrow = [self._projected(modality, part) for modality, part in zip(self.modalities, z, strict=True)]
        x = self._weighted(inputs)
        networks = {name: self.networks[_key(name)] for name in self.plan.networks}
        logits: dict[str, Mapping[str, Tensor]] = {}
        for name, network in networks.items():
            k = slice(None) if not name.startswith("mlp/") else self._one(name.removeprefix("mlp/"))
            logits[name] = network(narrow[k], present[:, k]).heads
        power = 2 ** torch.arange(len(self.modalities), device=present.device)
        bits = (present.long() * power).sum(1)
        return {
            head: self._head(head, fusion, inputs, z, x, present, bits, logits)
            for head, fusion in self.plan.fusions.items()
        }

    def _one(self, modality: str) -> slice:
        k = self.modalities.index(modality)
        return slice(k, k + 1)

    def _standardised(self, inputs: Mapping[str, Tensor], present: Tensor) -> list[Tensor]:
        """z_k (B, D_k), zeros where missing."""
        found = []
        for k, modality in enumerate(self.modalities):
            parts = [
                self.standardise(v, inputs[v.name]) for v in self.plan.views if v.modality == modality and not v.sparse
            ]
            z = torch.cat(parts, -1) if parts else torch.zeros(present.shape[0], 0)
            found.append(torch.where(present[:, k : k + 1], z, 0.0))
        return found

    def _projected(self, modality: str, z: Tensor) -> Tensor:
        """What networks read of a modality."""
        if modality not in self.plan.projections:
            return z
        return torch.as_tensor(z @ self.get_buffer_(f"project:{modality}".replace(".", "/")))

    def _weighted(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By sparse view: TF-IDF values of length 1, (B, m)."""
        found = {}
        for view in self.plan.views:
            if view.sparse:
                idf = self.get_buffer_(f"idf:{view.name}".replace(".", "/"))
                x = inputs[f"{view.name}.values"] * idf[inputs[f"{view.name}.columns"]]
                found[view.name] = x / (x * x).sum(-1, keepdim=True).sqrt().clamp(min=1e-12)
        return found

    def _head(
        self,
        head: str,
        fusion: Fusion,
        inputs: Mapping[str, Tensor],
        z: Sequence[Tensor],
        x: Mapping[str, Tensor],
        present: Tensor,
        bits: Tensor,
        networks: Mapping[str, Mapping[str, Tensor]],
    ) -> tuple[Tensor, Tensor, Tensor]:
        prior = self.get_buffer_(f"prior:{head.encode().hex()}")
        alone, energies = [], []
        for k in range(len(self.modalities)):
            eta, energy = self._alone(head, fusion, k, inputs, z, x, networks)
            alone.append(torch.where(present[:, k : k + 1], eta, 0.0))
            energies.append(torch.where(present[:, k], energy, 0.0))
        single = torch.stack(alone, 1)  # (B, K, O), zeros where missing
        members = [self._late(head, fusion, single, present, prior)]
        members += [natural(fusion.type, out[head][0]) for name, out in networks.items() if not name.startswith("mlp/")]
        members += alone
        weights = self.get_buffer_(f"table:{head.encode().hex()}")[bits]  # (B, members)
        fused = (torch.stack(members, 1) * weights.unsqueeze(-1)).sum(1)
        fused = torch.where(present.any(1, keepdim=True), fused, prior)
        beyond = self._beyond(head, fusion, fused, torch.stack(energies, 1), present)
        c = fusion.labels
        if fusion.type == "class":
            fused, single = fused[:, :c].log_softmax(-1), single[..., :c].log_softmax(-1)
        elif fusion.type == "number":
            fused, single = fused * fusion.deviation + fusion.mean, single * fusion.deviation + fusion.mean
        has = torch.tensor([bool(fusion.within.get(m)) for m in self.modalities])
        missing = ~(present & has).unsqueeze(-1)
        return fused, torch.where(missing, float("nan"), single), beyond

    def _alone(
        self,
        head: str,
        fusion: Fusion,
        k: int,
        inputs: Mapping[str, Tensor],
        z: Sequence[Tensor],
        x: Mapping[str, Tensor],
        networks: Mapping[str, Mapping[str, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """What modality k says: η (B, O), and (B,) its largest logit before normalisation."""
        modality, total, energy = self.modalities[k], torch.zeros(1, len(fusion.prior)), torch.zeros(z[k].shape[0])
        for member, weight in fusion.within.get(modality, {}).items():
            if member == "linear":
                logits = self.dense[_key(head, modality)](z[k])
            elif member == "ngrams":
                view = next(v.name for v in self.plan.views if v.sparse and v.modality == modality)
                logits = self.ngrams[_key(head, modality)](inputs[f"{view}.columns"], x[view])
            else:
                logits = networks[f"mlp/{modality}"][head][0]
            total = total + weight * natural(fusion.type, logits)
            energy = energy + weight * logits[:, : fusion.labels].amax(1)
        if fusion.type == "class":
            total = total.log_softmax(-1)
        return total.expand(z[k].shape[0], -1), energy

    def _late(self, head: str, fusion: Fusion, single: Tensor, present: Tensor, prior: Tensor) -> Tensor:
        weights = present.to(single.dtype) * self.get_buffer_(f"late:{head.encode().hex()}")  # (B, K)
        total = weights.sum(1, keepdim=True)
        summed = (single * weights.unsqueeze(-1)).sum(1)
        if fusion.type == "number":
            return summed / total.clamp(min=1e-12)
        return natural(fusion.type, summed - (total - 1) * prior)

    def _beyond(self, head: str, fusion: Fusion, fused: Tensor, energies: Tensor, present: Tensor) -> Tensor:
        """Logit that no label fits: from its own output, or from how low the largest logits are."""
        if fusion.out_of_scope:
            c = fusion.labels
            return fused[:, c] - fused[:, :c].logsumexp(1)
        if fusion.energy:
            weights = present.to(fused.dtype) * self.get_buffer_(f"late:{head.encode().hex()}")
            return -(energies * weights).sum(1) / weights.sum(1).clamp(min=1e-12)
        return torch.zeros(fused.shape[0])

    @torch.no_grad()
    def scores(self, features: Features) -> dict[str, Scores]:
        parts: list[dict[str, tuple[Tensor, Tensor, Tensor]]] = []
        for first in range(0, max(len(features), 1), BATCH):
            rows = (
                features
                if len(features) <= BATCH
                else features.take(np.arange(first, min(first + BATCH, len(features))))
            )
            arrays = graph_inputs(rows, self.plan.views, self.vocabularies)
            parts.append(self({name: torch.from_numpy(array) for name, array in arrays.items()}))
        found = {}
        for head, fusion in self.plan.fusions.items():
            fused, alone, beyond = (torch.cat([part[head][i] for part in parts]).numpy() for i in range(3))
            asks = fusion.out_of_scope or fusion.energy
            found[head] = Scores(fused, alone, beyond if asks else None)
        return found


def outputs_of_head(fusion: Fusion) -> int:
    return 1 if fusion.type == "number" else fusion.labels + int(fusion.out_of_scope)


def natural(kind: HeadType, logits: Tensor) -> Tensor:
    """Logits to natural parameters: log-probabilities of a class, the logits or value themselves otherwise."""
    return logits.log_softmax(-1) if kind == "class" else logits


def _key(*parts: str) -> str:
    return "k" + "".join(part.encode().hex() + "_" for part in parts)


def as_arrays(core: Core) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in core.state_dict().items()}


def standardisation(x: Floats, present: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean and 1 / standard deviation of each column over the rows that are there; constant columns become 0."""
    rows = x[present]
    if len(rows) == 0:
        return np.zeros(x.shape[1], np.float32), np.zeros(x.shape[1], np.float32)
    deviation = rows.std(0, dtype=np.float64)
    scale = np.where(deviation > 1e-7, 1 / np.maximum(deviation, 1e-7), 0.0)
    return rows.mean(0, dtype=np.float64).astype(np.float32), scale.astype(np.float32)
