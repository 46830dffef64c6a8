"""The training loop: batches, validation after every epoch, early stopping, checkpoints, several processes.

All randomness of a step is drawn from (seed, stage, epoch, step), so a run that was killed and one that was not draw
the same numbers, and there is no state of a generator to keep.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from duomo.learn.checkpoint import Arrays, Stages
from duomo.learn.distributed import World
from duomo.learn.fusion import FusionNetwork, Noise, Outputs, Shape
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
from duomo.learn.task import Training

Rows = NDArray[np.int64]
Progress = Callable[[Mapping[str, Any]], None]

SAVE_EVERY_S = 3.0  # between checkpoints within a stage
VALIDATION_ROWS = 2048  # at once
UNLABELLED_RATIO = 2  # unlabelled rows beside each labelled one in a batch
SMALLEST_BATCH = 16
STEPS_AN_EPOCH = 10  # wanted at least: small sets take smaller batches
BETTER = 0.995  # of the best validation loss, to count as a gain


@dataclass(frozen=True)
class Data:
    """Rows of one training, labelled or not.

    Attributes:
        z: K tensors (N, D_k), standardised; of a missing modality anything.
        present: (N, K) bool.
        targets: by head, (N, …) as `Objective` wants them; of a class (R, N) where replicas have pseudo-labels.
        sees: (R, N) how much each replica counts each row; 0 hides it.
        folds: for each replica the rows whose loss decides when to stop; empty for one that follows the others.
        unlabelled: rows without any label, for semi-supervised learning.
    """

    z: Sequence[Tensor]
    present: Tensor
    targets: Mapping[str, Tensor]
    sees: Tensor
    folds: Sequence[Rows]
    unlabelled: Rows = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def replicas(self) -> int:
        return len(self.sees)

    def target(self, objective: Objective, rows: Tensor, *, replica: int | None = None) -> Tensor:
        """Of these rows, for all replicas or one; the targets of a class may differ between replicas, as (R, N)."""
        target = self.targets[objective.name]
        if objective.type != "class" or target.dim() == 1:
            return target[rows]
        return target[:, rows] if replica is None else target[replica, rows]


@dataclass
class Trained:
    network: FusionNetwork  # of the best epoch, R replicas
    epoch: int  # which that was, from 1
    history: list[dict[str, Any]]  # one entry an epoch: losses and seconds


def batch_rows(rows: int, training: Training) -> int:
    """Rows of a batch: at most the wish, fewer when an epoch would have too few steps."""
    return max(SMALLEST_BATCH, min(training.batch_size, rows // STEPS_AN_EPOCH))


def train(
    name: str,
    shape: Shape,
    data: Data,
    objectives: Sequence[Objective],
    options: Training,
    *,
    stages: Stages,
    world: World,
    semi_supervised: bool = False,
    start: FusionNetwork | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train R replicas of a network until their held-out rows stop gaining.

    Args:
        name: of the stage, for checkpoints and random numbers.
        start: begin with this network's weights (one replica, e.g. aligned without labels) instead of random ones.
    """
    loop = _Loop(name, shape, data, objectives, options, world=world, semi_supervised=semi_supervised, start=start)
    done = stages.load(name)
    if done is not None:
        loop.restore(*done)
        return loop.trained()
    partial = stages.load(f"{name}.partial")
    if partial is not None:
        loop.restore(*partial)
    saved = time.monotonic()
    while not loop.finished():
        entry = loop.epoch()
        if progress is not None:
            progress({"stage": name, **entry})
        if time.monotonic() - saved > SAVE_EVERY_S:
            stages.save(f"{name}.partial", *loop.state())
            saved = time.monotonic()
    stages.save(name, *loop.state(final=True))
    stages.drop(f"{name}.partial")
    return loop.trained()


class AdamW:
    """Adam with decoupled weight decay over all parameters as one vector.

    One long vector takes a fifth of the calls, its gradient is what processes add up, its state is two arrays in a
    checkpoint; and `torch.optim` would import torch's compiler, three seconds, before the first step.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    BETAS, EPSILON = (0.9, 0.999), 1e-8

    def __init__(self, parameters: Sequence[Tensor], *, weight_decay: float, rate: float = 1e-3) -> None:
        self.rate, self.weight_decay, self.steps = rate, weight_decay, 0
        self.flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
        for parameter, part in zip(parameters, torch.split(self.flat, [p.numel() for p in parameters]), strict=True):
            parameter.data = part.view_as(parameter)
        self.mean, self.square = torch.zeros_like(self.flat), torch.zeros_like(self.flat)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        gradient = torch.cat([part.flatten() for part in gradients])
        self.steps += 1
        self.flat.mul_(1 - self.rate * self.weight_decay)
        self.mean.lerp_(gradient, 1 - self.BETAS[0])
        self.square.mul_(self.BETAS[1]).addcmul_(gradient, gradient, value=1 - self.BETAS[1])
        bound = [1 - beta**self.steps for beta in self.BETAS]
        scale = self.square.div(bound[1]).sqrt_().add_(self.EPSILON)
        self.flat.addcdiv_(self.mean, scale, value=-self.rate / bound[0])


class _Loop:
    """State of one training between epochs: everything a checkpoint has to hold."""

    def __init__(
        self,
        name: str,
        shape: Shape,
        data: Data,
        objectives: Sequence[Objective],
        options: Training,
        *,
        world: World,
        semi_supervised: bool,
        start: FusionNetwork | None,
    ) -> None:
        self.data, self.objectives, self.options, self.world = data, objectives, options, world
        self.semi_supervised = semi_supervised and len(data.unlabelled) > 0
        self.stage = zlib.crc32(name.encode())
        self.network = FusionNetwork(shape, replicas=data.replicas, seed=options.seed + self.stage % 1000)
        if start is not None:
            state = start.state_dict()
            self.network.load_state_dict(
                {
                    key: state[key].repeat(data.replicas, *[1] * (value.dim() - 1))
                    for key, value in self.network.state_dict().items()
                }
            )
        self.network.to(data.present.device)
        self.parameters = list(self.network.parameters())
        self.optimizer = AdamW(self.parameters, weight_decay=options.weight_decay)
        self.rows = np.flatnonzero((data.sees.amax(0) > 0).cpu().numpy())
        self.batch = batch_rows(len(self.rows), options)
        self.done = 0  # epochs
        self.best_epoch, self.best_loss = 0, float("inf")
        self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.history: list[dict[str, Any]] = []
        self.blend = Blend(len(self.network.adapters))
        self.thresholds = {
            o.name: Thresholds(data.replicas, o.outputs)
            for o in objectives
            if o.type == "class" and self.semi_supervised
        }

    # --- one epoch

    def finished(self) -> bool:
        return self.done >= self.options.epochs or self.done - self.best_epoch >= self.options.patience

    def epoch(self) -> dict[str, Any]:
        began = time.perf_counter()
        self._set_learning_rate()
        order = self._random(0).permutation(self.rows)
        total = torch.zeros(self.data.replicas)
        solo = torch.zeros(len(self.network.adapters))
        steps = 0
        for step, first in enumerate(range(0, len(order), self.batch)):
            loss, of_modalities = self._step(step + 1, order[first : first + self.batch])
            total, solo, steps = total + loss, solo + of_modalities, steps + 1
        # Each process knows the losses of its rows; the balance must be the same in all.
        total, solo = torch.split(self.world.add(torch.cat([total, solo])), [len(total), len(solo)])
        self.done += 1
        validation, validation_solo = self.validate()
        if self.options.balance == "g_blend":
            self.blend.update(solo / max(steps, 1), validation_solo)
        if validation < self.best_loss * (BETTER if self.best_loss > 0 else 1.0):
            self.best_loss, self.best_epoch = validation, self.done
            self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        entry = {
            "epoch": self.done,
            "train_loss": round(float(total.mean()) / max(steps, 1), 6),
            "validation_loss": round(validation, 6),
            "seconds": round(time.perf_counter() - began, 3),
        }
        self.history.append(entry)
        return entry

    def _set_learning_rate(self) -> None:
        if self.options.schedule == "constant":
            self.optimizer.rate = self.options.learning_rate
            return
        share = self.done / max(self.options.epochs, 1)
        self.optimizer.rate = self.options.learning_rate * (0.1 + 0.9 * 0.5 * (1 + float(np.cos(np.pi * share))))

    def _random(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, self.stage, self.done, step])

    # --- one step

    def _step(self, step: int, batch: Rows) -> tuple[Tensor, Tensor]:
        """Returns: (R,) loss and (K,) loss of each adapter alone, of this process's rows."""
        random = self._random(step)
        mine = self.world.mine(len(batch))
        rows = torch.from_numpy(batch)
        seen = self._dropped(self.data.present[rows], random)
        noise = Noise(int(random.integers(2**62)), rows=len(batch), mine=mine)
        own = rows[mine]
        outputs = self.network([z[own] for z in self.data.z], seen[mine], noise=noise)
        weights = self.data.sees[:, own]
        targets = {o.name: self.data.target(o, own) for o in self.objectives}
        totals = {
            o.name: (o.counted(self.data.target(o, rows)) * self.data.sees[:, rows]).sum(1) for o in self.objectives
        }
        loss = supervised(outputs.heads, targets, weights, self.objectives, totals=totals)
        if self.options.balance == "none":
            solo = torch.zeros(self.data.replicas, len(self.network.adapters), device=loss.device)
        else:
            solo = self._solo_losses(self.network, outputs, targets, weights, totals, seen[mine])  # (R, K)
        if self.semi_supervised:
            loss = loss + self._pseudo_labelled(random)
        self._descend(loss, solo, outputs, targets)
        return loss.detach().cpu(), solo.detach().mean(0).cpu()

    def _dropped(self, present: Tensor, random: np.random.Generator) -> Tensor:
        """Modality dropout: a row loses one of its modalities with the given chance, never its last."""
        luck = torch.from_numpy(random.random(present.shape, dtype=np.float32)).to(present.device)
        chosen = luck.masked_fill(~present, 2.0).argmin(1, keepdim=True)
        lost = torch.from_numpy(random.random(len(present)) < self.options.modality_dropout).to(present.device)
        lost &= present.sum(1) > 1
        return present & ~torch.zeros_like(present).scatter(1, chosen, lost[:, None])

    def _solo_losses(
        self,
        network: FusionNetwork,
        outputs: Outputs,
        targets: Mapping[str, Tensor],
        weights: Tensor,
        totals: Mapping[str, Tensor],
        present: Tensor,
    ) -> Tensor:
        columns = []
        said = network.solo_of(outputs)
        for k in range(len(self.network.adapters)):
            here = present[:, k] if len(self.network.adapters) > 1 else present.any(1)
            heads = {name: solo[k] for name, solo in said.items()}
            columns.append(supervised(heads, targets, weights * here.to(weights.dtype), self.objectives, totals=totals))
        return torch.stack(columns, 1)

    def _pseudo_labelled(self, random: np.random.Generator) -> Tensor:
        """FixMatch on features: what the weak view is sure of, the strong view has to say as well; (R,)."""
        drawn = random.choice(
            self.data.unlabelled, size=min(len(self.data.unlabelled), self.batch * UNLABELLED_RATIO), replace=False
        )
        mine = self.world.mine(len(drawn))
        rows = torch.from_numpy(drawn)[mine]
        z, present = [part[rows] for part in self.data.z], self.data.present[rows]
        with torch.no_grad():
            weak = self.network(z, present).heads
        noise = Noise(int(random.integers(2**62)), rows=len(drawn), mine=mine)
        harder, fewer = strong_view(z, present, noise=noise)
        strong = self.network(harder, fewer, noise=noise).heads
        total = torch.zeros(self.data.replicas, device=present.device)
        for objective in self.objectives:
            if objective.type != "class":
                continue
            sure, labels = weak[objective.name].softmax(-1).max(-1)
            thresholds = self.thresholds[objective.name]
            kept = sure >= thresholds.of(labels.cpu()).to(sure.device)
            loss = objective.rows(strong[objective.name], torch.where(kept, labels, -1))
            total = total + objective.weight * loss.sum(1) / len(drawn)
            self._update(thresholds, weak[objective.name].softmax(-1), len(drawn))
        return total

    def _update(self, thresholds: Thresholds, probabilities: Tensor, rows: int) -> None:
        sums = torch.cat([probabilities.sum(1), probabilities.amax(-1).sum(1, keepdim=True)], 1)
        means = (self.world.add(sums) / rows).cpu()
        thresholds.update(means[:, -1], means[:, :-1])

    # --- from losses to new weights

    def _descend(self, loss: Tensor, solo: Tensor, outputs: Outputs, targets: Mapping[str, Tensor]) -> None:
        balance = self.options.balance
        if balance == "mmpareto":
            gradients = self._pareto(loss, solo)
        else:
            weights = self.blend.weights.to(solo.device) if balance == "g_blend" else torch.full_like(solo[0], 0.0)
            if balance == "ogm_ge":
                weights = torch.full_like(solo[0], 1.0 / solo.shape[1])
            objective = loss.sum() + (solo * weights).sum() if bool((weights > 0).any()) else loss.sum()
            gradients = self._gradients(objective)
        if balance == "ogm_ge":
            self._modulate(gradients, outputs, targets)
        self.optimizer.step(gradients)

    def _gradients(self, objective: Tensor, *, again: bool = False) -> list[Tensor]:
        """Of every parameter, summed over the processes.

        Args:
            again: the same graph will be asked once more.
        """
        found = torch.autograd.grad(objective, self.parameters, allow_unused=True, retain_graph=again)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found, strict=True)]
        if self.world.size == 1:
            return filled
        flat = self.world.add(torch.cat([g.flatten() for g in filled]))
        return [part.view_as(g) for part, g in zip(torch.split(flat, [g.numel() for g in filled]), filled, strict=True)]

    def _pareto(self, loss: Tensor, solo: Tensor) -> list[Tensor]:
        fused, alone = self._gradients(loss.sum(), again=True), self._gradients(solo.sum())
        replicas = self.data.replicas
        shared = {id(p) for adapter in [*self.network.adapters, *self.network.norms] for p in adapter.parameters()}
        index = [i for i, p in enumerate(self.parameters) if id(p) in shared]
        flat = [torch.cat([g[i].reshape(replicas, -1) for i in index], 1) for g in (fused, alone)]
        found = torch.split(pareto(*flat), [fused[i].numel() // replicas for i in index], 1)
        combined = [f + a for f, a in zip(fused, alone, strict=True)]
        for i, part in zip(index, found, strict=True):
            combined[i] = part.reshape(fused[i].shape)
        return combined

    def _modulate(self, gradients: Sequence[Tensor], outputs: Outputs, targets: Mapping[str, Tensor]) -> None:
        """OGM-GE on the adapters' gradients, with its Gaussian noise left out: AdamW's normalisation undoes it."""
        objective = next((o for o in self.objectives if o.type == "class"), None)
        if objective is None or len(self.network.adapters) < 2:
            return
        truth = targets[objective.name].clamp(min=0)
        known = targets[objective.name] >= 0
        scores = []
        for solo in self.network.solo_of(outputs)[objective.name]:
            true = solo.detach().softmax(-1).gather(-1, truth.expand(len(solo), -1).unsqueeze(-1))[..., 0]
            scores.append((true * known).sum(1))
        factors = modulation(self.world.add(torch.stack(scores, 1)))  # (R, K)
        place = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        for k, adapter in enumerate(self.network.adapters):
            for parameter in adapter.parameters():
                gradients[place[id(parameter)]].mul_(factors[:, k].view(-1, *[1] * (parameter.dim() - 1)))

    # --- validation

    def validate(self) -> tuple[float, Tensor]:
        """Mean loss of the replicas on their held-out rows, and (K,) that of each adapter alone."""
        losses, solos = [], []
        for replica, rows in enumerate(self.data.folds):
            if len(rows) == 0:
                continue
            loss, solo = self._validation_loss(replica, rows)
            losses.append(loss)
            solos.append(solo)
        if not losses:  # nothing held out: the last epoch is the best
            return -float(self.done), torch.zeros(len(self.network.adapters))
        return float(torch.stack(losses).mean()), torch.stack(solos).mean(0)

    @torch.no_grad()
    def _validation_loss(self, replica: int, rows: Rows) -> tuple[Tensor, Tensor]:
        network = view_replica(self.network, replica)
        totals = {
            o.name: o.counted(self.data.target(o, torch.from_numpy(rows), replica=replica)).sum()[None]
            for o in self.objectives
        }
        loss, solo = torch.zeros(1), torch.zeros(1, len(self.network.adapters))
        for first in range(0, len(rows), VALIDATION_ROWS):
            index = torch.from_numpy(rows[first : first + VALIDATION_ROWS])
            present = self.data.present[index]
            outputs = network([z[index] for z in self.data.z], present)
            targets = {o.name: self.data.target(o, index, replica=replica) for o in self.objectives}
            ones = torch.ones(1, len(index), device=present.device)
            loss = loss + supervised(outputs.heads, targets, ones, self.objectives, totals=totals).cpu()
            if self.options.balance == "g_blend":
                solo = solo + self._solo_losses(network, outputs, targets, ones, totals, present).cpu()
        return loss[0], solo[0]

    # --- checkpoints

    def state(self, *, final: bool = False) -> tuple[Arrays, dict[str, Any]]:
        arrays = {f"best/{key}": value.cpu().numpy() for key, value in self.best.items()}
        facts: dict[str, Any] = {
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "done": self.done,
            "history": self.history,
        }
        if final:
            return arrays, {**facts, "done": self.options.epochs}
        arrays |= {f"now/{key}": value.detach().cpu().numpy() for key, value in self.network.state_dict().items()}
        arrays |= {"adam/mean": self.optimizer.mean.cpu().numpy(), "adam/square": self.optimizer.square.cpu().numpy()}
        facts["steps"] = self.optimizer.steps
        for name, thresholds in self.thresholds.items():
            arrays |= {f"sure/{name}": thresholds.sure.numpy(), f"classes/{name}": thresholds.classes.numpy()}
        arrays["blend/weights"] = self.blend.weights.numpy()
        if self.blend.before is not None:
            arrays["blend/before"] = self.blend.before.numpy()
        return arrays, facts

    def restore(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        tensors = {key: torch.from_numpy(value.copy()).to(self.data.present.device) for key, value in arrays.items()}
        self.best = {key[5:]: value for key, value in tensors.items() if key.startswith("best/")}
        self.best_epoch, self.best_loss, self.done = facts["best_epoch"], facts["best_loss"], facts["done"]
        self.history = list(facts["history"])
        now = {key[4:]: value for key, value in tensors.items() if key.startswith("now/")}
        if not now:
            return
        self.network.load_state_dict(now)
        self.optimizer.mean, self.optimizer.square = tensors["adam/mean"], tensors["adam/square"]
        self.optimizer.steps = facts["steps"]
        for name, thresholds in self.thresholds.items():
            thresholds.sure, thresholds.classes = tensors[f"sure/{name}"].cpu(), tensors[f"classes/{name}"].cpu()
        self.blend.weights = tensors["blend/weights"].cpu()
        self.blend.before = tensors["blend/before"].cpu() if "blend/before" in tensors else None

    def trained(self) -> Trained:
        self.network.load_state_dict(self.best)
        return Trained(self.network, self.best_epoch, self.history)


def view_replica(network: FusionNetwork, replica: int) -> FusionNetwork:
    """One replica for reading: a network of its own whose parameters are slices of the others'."""
    alone = FusionNetwork(network.shape, replicas=1, seed=0).to(next(network.parameters()).device)
    source = dict(network.named_parameters())
    for name, parameter in alone.named_parameters():
        parameter.data = source[name].data[replica : replica + 1]
    return alone


def align(
    name: str,
    shape: Shape,
    data: Data,
    options: Training,
    *,
    stages: Stages,
    epochs: int = 20,
    progress: Progress | None = None,
) -> FusionNetwork:
    """Self-supervised: bring the modalities of a row together without labels (InfoNCE and masked modality prediction).

    Every process does the same whole batches, as each row's negatives are the batch.

    Returns:
        A network of one replica, to start supervised training from.
    """
    network = FusionNetwork(shape, replicas=1, seed=options.seed).to(data.present.device)
    done = stages.load(name)
    if done is not None:
        network.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in done[0].items()})
        return network
    parameters = list(network.parameters())
    optimizer = AdamW(parameters, weight_decay=options.weight_decay, rate=options.learning_rate)
    rows = np.flatnonzero((data.present.sum(1) > 1).cpu().numpy())
    stage = zlib.crc32(name.encode())
    for epoch in range(epochs if len(rows) > 1 else 0):
        order = np.random.default_rng([options.seed, stage, epoch]).permutation(rows)
        total = 0.0
        for first in range(0, len(order), options.batch_size):
            index = torch.from_numpy(order[first : first + options.batch_size])
            present = data.present[index]
            noise = Noise(int(options.seed + stage + epoch * 100003 + first), rows=len(index), mine=slice(None))
            hidden = network.embed([z[index] for z in data.z], present, noise=noise)[0]
            loss = alignment(hidden, present) + masked_modality(hidden, present)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            optimizer.step(
                [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
            )
            total += float(loss.detach()) * len(index)
        if progress is not None:
            progress({"stage": name, "epoch": epoch + 1, "train_loss": round(total / len(rows), 6)})
    stages.save(name, {key: value.cpu().numpy() for key, value in network.state_dict().items()}, {})
    return network


@torch.no_grad()
def outputs_of(network: FusionNetwork, z: Sequence[Tensor], present: Tensor) -> dict[str, NDArray[np.float32]]:
    """Logits of a network of one replica by head, (N, O) float32."""
    parts: dict[str, list[Tensor]] = {name: [] for name in network.shape.outputs}
    for first in range(0, max(len(present), 1), VALIDATION_ROWS):
        rows = slice(first, first + VALIDATION_ROWS)
        for name, output in network([part[rows] for part in z], present[rows]).heads.items():
            parts[name].append(output[0].cpu())
    return {name: torch.cat(found).numpy() for name, found in parts.items()}
