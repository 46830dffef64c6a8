"""What training minimises: the losses of the heads, the balance between modalities, and learning without labels.

Shapes: R replicas, B rows, C labels, K modalities, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from duomo.learn.fusion import Noise
from duomo.learn.task import HeadType


@dataclass(frozen=True)
class Objective:
    """The loss of one head.

    Targets: class: (…, B) int64, -1 where not labelled; multilabel: (…, B, C) float, NaN where not labelled; number:
    (…, B) float in standard deviations of the training rows, NaN where not labelled.
    """

    name: str
    type: HeadType
    outputs: int
    weight: float = 1.0
    huber: bool = False
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None  # (C,) of rows by class, mean 1; multilabel: of rows with the label

    def counted(self, targets: Tensor) -> Tensor:
        """Weight of each row by its target alone: 0 without a label, else 1 or the weight of its class; (…, B)."""
        if self.type == "multilabel":
            return (~targets.isnan().any(-1)).float()
        if self.type == "number":
            return (~targets.isnan()).float()
        known = (targets >= 0).float()
        return (
            known if self.class_weights is None else known * known.new_tensor(self.class_weights)[targets.clamp(min=0)]
        )

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each row, zero where it has no label.

        Args:
            outputs: (R, B, O) logits, or (R, B, 1) of a number.
            targets: with or without the leading R.
        Returns:
            (R, B).
        """
        weight = self.counted(targets)
        if self.type == "multilabel":
            targets = targets.expand(len(outputs), -1, -1).nan_to_num()
            positive = None if self.class_weights is None else outputs.new_tensor(self.class_weights)
            loss = functional.binary_cross_entropy_with_logits(
                outputs, targets, reduction="none", pos_weight=positive
            ).mean(-1)
        elif self.type == "number":
            difference = functional.huber_loss if self.huber else functional.mse_loss
            loss = difference(outputs[..., 0], targets.expand(len(outputs), -1).nan_to_num(), reduction="none")
        else:
            index = targets.expand(len(outputs), -1).clamp(min=0)
            smoothing = self.label_smoothing
            loss = functional.cross_entropy(
                outputs.flatten(0, 1), index.flatten(), reduction="none", label_smoothing=smoothing
            )
            loss = loss.view(index.shape)
        return loss * weight


def supervised(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: Tensor,
    objectives: Sequence[Objective],
    *,
    totals: Mapping[str, Tensor],
) -> Tensor:
    """(R,) loss of each replica: over all heads, the weighted mean over the batch.

    Args:
        weights: (R, B) how much each replica counts each row; 0 hides the row from it.
        totals: by head (R,) the sum of weights over the whole batch, of which this process may hold a part.
    """
    total = weights.new_zeros(len(weights))
    for objective in objectives:
        loss = objective.rows(outputs[objective.name], targets[objective.name])
        total = total + objective.weight * (loss * weights).sum(1) / totals[objective.name].clamp(min=1e-6)
    return total


# --- balance between modalities: the strong one must not starve the others


class Blend:
    """G-Blend: L = L_fused + Σ_k g_k L_k with g_k ∝ G_k / O_k², generalisation over overfitting of modality k.

    Both are measured since the last update: G_k by how much the validation loss of k fell, O_k by how much the gap
    between validation and training loss grew.

    Source: Wang et al. 2020, What makes training multi-modal networks hard, arXiv:1905.12681.
    """

    def __init__(self, k: int) -> None:
        self.weights = torch.full((k,), 1.0 / max(k, 1))
        self.before: Tensor | None = None  # (2, K) training and validation loss at the last update

    def update(self, train: Tensor, validation: Tensor) -> None:
        """Take the (K,) losses of an epoch."""
        now = torch.stack([train, validation])
        if self.before is not None:
            gained = (self.before[1] - now[1]).clamp(min=1e-4)
            overfitted = ((now[1] - now[0]) - (self.before[1] - self.before[0])).abs().clamp(min=1e-3)
            share = gained / overfitted**2
            self.weights = 0.5 * self.weights + 0.5 * share / share.sum()
        self.before = now


def modulation(scores: Tensor, *, alpha: float = 0.5) -> Tensor:
    """OGM-GE: factor in (0, 1] on the gradient of each modality's adapter: less for one ahead of the others.

    Args:
        scores: (R, K) mean probability that each modality alone gives the true label over the batch.
    Returns:
        (R, K).

    Source: Peng et al. 2022, Balanced multimodal learning via on-the-fly gradient modulation, arXiv:2203.15332.
    """
    k = scores.shape[1]
    others = (scores.sum(1, keepdim=True) - scores) / max(k - 1, 1)
    ratio = scores / others.clamp(min=1e-6)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * (ratio - 1)), torch.ones_like(ratio))


def pareto(fused: Tensor, solo: Tensor) -> Tensor:
    """MMPareto: the direction that serves the fused and a unimodal loss at once, as long as their sum.

    When the two gradients agree they are added; when they conflict, their shortest convex combination is taken.

    Args:
        fused, solo: (R, P) gradients of the same parameters.

    Source: Wei and Hu 2024, MMPareto, arXiv:2405.17730; the min-norm step for two is Désidéri 2012, in closed form.
    """
    inner = (fused * solo).sum(1, keepdim=True)
    between = ((fused - solo) ** 2).sum(1, keepdim=True).clamp(min=1e-12)
    share = (((solo - fused) * solo).sum(1, keepdim=True) / between).clamp(0, 1)
    direction = torch.where(inner >= 0, 0.5 * (fused + solo), share * fused + (1 - share) * solo)
    wanted = (fused + solo).norm(dim=1, keepdim=True)
    return torch.as_tensor(direction * wanted / direction.norm(dim=1, keepdim=True).clamp(min=1e-12))


# --- learning from rows without labels


class Thresholds:
    """FreeMatch: how sure a prediction must be to become a pseudo-label, τ_t = λτ_{t−1} + (1−λ) mean max p, scaled
    by class so that rare classes are not starved.

    Source: Wang et al. 2023, FreeMatch, arXiv:2205.07246, with λ = 0.999 there for a million steps; ours are few.
    """

    MOMENTUM = 0.95

    def __init__(self, replicas: int, labels: int) -> None:
        self.sure = torch.full((replicas,), 1.0 / labels)
        self.classes = torch.full((replicas, labels), 1.0 / labels)

    def update(self, sure: Tensor, classes: Tensor) -> None:
        """Take (R,) how sure the weak view is and (R, C) how likely it finds each label, means over the batch."""
        self.sure = self.MOMENTUM * self.sure + (1 - self.MOMENTUM) * sure
        self.classes = self.MOMENTUM * self.classes + (1 - self.MOMENTUM) * classes

    def of(self, labels: Tensor) -> Tensor:
        """(R, B) threshold for each pseudo-label."""
        scaled = self.classes / self.classes.amax(1, keepdim=True)
        return self.sure[:, None] * scaled.gather(1, labels)


def strong_view(z: Sequence[Tensor], present: Tensor, *, noise: Noise) -> tuple[list[Tensor], Tensor]:
    """A harder look at the same rows: a modality is dropped where there are several, noise is added to the features.

    Args:
        z: K tensors (B, D_k); present: (B, K).
    """
    luck = noise.uniform(present.shape[1]).to(present.device)
    several = present.sum(1, keepdim=True) > 1
    lowest = luck.masked_fill(~present, 2.0).argmin(1, keepdim=True)
    dropped = torch.zeros_like(present).scatter(1, lowest, several)
    return [noise.normal(part, 0.3) for part in z], present & ~dropped


def alignment(hidden: Tensor, present: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Symmetric InfoNCE between every two modalities of a row against the other rows of the batch.

    Args:
        hidden: (B, K, H) adapters' outputs; present: (B, K).
    Returns:
        Scalar mean over pairs of modalities; 0 when no row has two.

    Source: van den Oord et al. 2018, arXiv:1807.03748; symmetric as in CLIP, Radford et al. 2021, arXiv:2103.00020.
    """
    unit = functional.normalize(hidden, dim=-1)
    losses = []
    for a in range(present.shape[1]):
        for b in range(a + 1, present.shape[1]):
            both = present[:, a] & present[:, b]
            if int(both.sum()) < 2:
                continue
            scores = unit[both, a] @ unit[both, b].T / temperature
            index = torch.arange(len(scores), device=scores.device)
            losses.append(0.5 * (functional.cross_entropy(scores, index) + functional.cross_entropy(scores.T, index)))
    return torch.stack(losses).mean() if losses else hidden.sum() * 0.0


def masked_modality(hidden: Tensor, present: Tensor) -> Tensor:
    """Predict each modality's direction from the mean of the row's others: 1 − cosine, the predicted side held fixed.

    Args and returns: as `alignment`.
    """
    unit = functional.normalize(hidden, dim=-1) * present.unsqueeze(-1)
    losses = []
    for k in range(present.shape[1]):
        others = unit.sum(1) - unit[:, k]
        rows = present[:, k] & (present.sum(1) > 1)
        if rows.any():
            losses.append((1 - functional.cosine_similarity(others[rows], unit[rows, k].detach(), dim=-1)).mean())
    return torch.stack(losses).mean() if losses else hidden.sum() * 0.0
