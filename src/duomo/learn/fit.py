"""From features and labels to a model: folds, members, late weights, choice by pattern, and what was found on the way.

    folds -> linear experts -> networks -> blend within a modality -> late weights -> choice by pattern -> core

Replicas of every member: one for each fold (trained without it), one for the check (trained without the untouched rows)
and one that ships (trained on everything). All decisions rest on the folds; the untouched rows decide nothing and raise
the leak alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from duomo.errors import InputError
from duomo.learn import experts, select
from duomo.learn.checkpoint import Stages
from duomo.learn.core import Core, Fusion, Plan
from duomo.learn.distributed import World
from duomo.learn.experts import Fitted
from duomo.learn.fusion import TENSOR_MOST, FusionNetwork, Kind, Shape, check_operator
from duomo.learn.inputs import Inputs
from duomo.learn.objectives import Objective
from duomo.learn.split import split
from duomo.learn.targets import Prepared, hits, known, prepare, prior_of, score
from duomo.learn.task import Head, Operator, Task
from duomo.learn.train import Data, Progress, align, outputs_of, train, view_replica
from duomo.models.encoders import TURN_DIM
from duomo.models.features import Features, View
from duomo.types import Label

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

SUBSETS_OF = 4  # modalities of which every subset is a pattern; of more, only those that matter
SELECTION_ROWS = 6000  # rows that choose between members
PSEUDO_SHARES = (0.3, 0.5, 0.7, 0.9)  # of unlabelled rows taken in each round of self-training
PSEUDO_WEIGHT = 0.7
SCREENED_ON = 2  # folds on which a fused network has to show that it adds something
WORTH = 0.99  # of the loss without it that the blend with it may have at most
ENOUGH = 0.005  # of chance's loss; what late fusion leaves below this is not worth a network
NETWORK_ROWS = 12  # labelled rows a replica needs before a network is worth training


@dataclass(frozen=True)
class Oof:
    """What models said about labelled rows that they had not seen, under one availability pattern."""

    rows: Rows
    fused: Array  # (n, O) η
    single: Array  # (n, K, O) η, NaN where missing


@dataclass
class HeadFit:
    """What was learned about one head."""

    head: Head
    labels: tuple[str, ...]
    objective: Objective
    targets: NDArray[np.generic]  # (N, …)
    fusion: Fusion
    oof: dict[int, Oof]  # by pattern bits, rows reduced to that pattern
    natural: Oof  # rows with whatever they have
    folds: Rows  # (N,) fold of each row, -1 for untouched or unlabelled rows
    comparison: select.Comparison
    alarms: list[select.Alarm]
    untouched: Oof | None  # by the check replica
    beyond: Array | None  # (n,) out-of-scope logit of the rows of `natural`; None where the head does not ask

    def in_label_units(self, eta: Array) -> Array:
        """η as `Scores.fused` gives it: without the out-of-scope output, numbers in their own unit."""
        if self.fusion.type == "number":
            return eta * self.fusion.deviation + self.fusion.mean
        if self.fusion.type == "class":
            return np.asarray(log_softmax(eta[..., : self.fusion.labels], axis=-1))
        return eta


@dataclass
class Result:
    core: Core
    heads: dict[str, HeadFit]
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by network, metrics by epoch


def fit(
    features: Features,
    views: Sequence[View],
    labels: Mapping[str, Sequence[Label | None]],
    groups: Sequence[str],
    task: Task,
    *,
    untouched: Rows | None = None,
    taught: Rows | None = None,
    stages: Stages | None = None,
    world: World | None = None,
    progress: Progress | None = None,
) -> Result:
    """
    Args:
        labels: by head, one for each row of `features`.
        taught: rows whose labels an encoder was fine-tuned on. They teach, and are never held out to judge.
        groups: rows of one group stay on one side of every split.
        untouched: rows of a validation file, which the model that ships does not see either. None: a tenth is kept
            apart.
    Raises:
        InputError: nothing to learn from, e.g. a head with one label only.
    """
    learner = _Learner(
        features,
        views,
        labels,
        groups,
        task,
        untouched,
        np.empty(0, np.int64) if taught is None else taught,
        stages or Stages(None, identity=""),
        world or World(),
        progress,
    )
    return learner.run()


class _Learner:
    def __init__(
        self,
        features: Features,
        views: Sequence[View],
        labels: Mapping[str, Sequence[Label | None]],
        groups: Sequence[str],
        task: Task,
        untouched: Rows | None,
        taught: Rows,
        stages: Stages,
        world: World,
        progress: Progress | None,
    ) -> None:
        self.features, self.views, self.task = features, tuple(views), task
        self.stages, self.world, self.progress = stages, world, progress
        self.groups = np.asarray(groups)
        self.modalities = features.modalities
        self.present = features.present
        self.heads = [prepare(head, labels[head.name], task) for head in task.heads]
        self.labelled = np.flatnonzero(np.any([known(h.objective, h.targets) for h in self.heads], axis=0))
        self.unlabelled = np.setdiff1d(np.flatnonzero(self.present.any(1)), self.labelled)
        self._check()
        seed = task.training.seed
        strata = next((h.targets.astype(np.int64) for h in self.heads if h.objective.type == "class"), None)
        self.split = split(self.labelled, self.groups, strata, task.training, untouched=untouched, taught=taught)
        self._check_folds()
        self.inputs = Inputs(features, views, self.split.untouched, seed=seed, narrowed=task.preset != "article")
        self.pseudo: dict[str, list[NDArray[np.generic]]] = {
            h.name: [h.targets] * len(self.split.sees) for h in self.heads
        }
        self.sees = self.split.sees.copy()
        self.networks: dict[str, FusionNetwork] = {}
        self.screened: dict[str, FusionNetwork] = {}  # fused networks that add nothing, for the comparison
        self.history: dict[str, list[dict[str, Any]]] = {}

    def _check(self) -> None:
        """
        Raises:
            ConfigError: the operator does not take that many modalities.
            InputError: a feature that is there is not a finite number.
        """
        if self.task.fusion == "intermediate":
            check_operator(self.task.operator, len(self.modalities))
        for view in self.views:
            here = np.flatnonzero(self.present[:, self.modalities.index(view.modality)])
            if view.sparse:
                entries = self.features.sparse[view.name].take(here)
                row = np.repeat(np.arange(len(here)), np.diff(entries.starts))
                bad = len(np.unique(row[~np.isfinite(entries.values)]))
            else:
                bad = int((~np.isfinite(self.features.dense[view.name][here]).all(1)).sum())
            if bad:
                raise InputError(
                    f"{view.name} holds NaN or infinity in {bad} of {len(here)} samples. Leave those vectors out: a "
                    "missing modality is fine, an unknown number is not."
                )

    def _check_folds(self) -> None:
        inside = np.concatenate(self.split.folds)
        for head in self.heads:
            if not known(head.objective, head.targets)[inside].any():
                raise InputError(
                    f"head {head.name}: no sample to learn from has a label; those that have one are kept apart to "
                    "compare with. Give labels to more samples."
                )

    # --- members

    def run(self) -> Result:
        if self.task.training.mode == "semi-supervised" and len(self.unlabelled):
            self._self_train()
        fitted = self._experts("")
        self._train_networks(fitted)
        plan = {head.name: self._fuse(head, fitted[head.name]) for head in self.heads}
        return Result(self._core(plan, fitted), plan, self.history)

    def _experts(self, suffix: str) -> dict[str, dict[tuple[str, str], Fitted]]:
        """By head, (modality, member)."""
        found: dict[str, dict[tuple[str, str], Fitted]] = {}
        for objective in (head.objective for head in self.heads):
            mine = found.setdefault(objective.name, {})
            for k, modality in enumerate(self.modalities):
                inputs: dict[str, experts.Inputs] = {}
                if self.inputs.z[k].shape[1]:
                    inputs["linear"] = self.inputs.z[k] / np.float32(np.sqrt(self.inputs.z[k].shape[1]))
                if modality in self.inputs.text and self.inputs.text[modality].shape[1]:
                    inputs["ngrams"] = self.inputs.text[modality]
                for member, x in inputs.items():
                    mine[modality, member] = experts.fit(
                        f"{member}/{modality}/{objective.name}{suffix}",
                        x,
                        objective,
                        self.pseudo[objective.name],
                        self.sees * self.present[:, k],
                        [fold[self.present[fold, k]] for fold in self.split.held],
                        seed=self.task.training.seed,
                        stages=self.stages,
                        world=self.world,
                    )
                    if self.progress is not None:
                        self.progress({"stage": f"{member}/{modality}/{objective.name}{suffix}"})
        return found

    def _train_networks(self, fitted: Mapping[str, Mapping[tuple[str, str], Fitted]]) -> None:
        wanted = self._wanted()
        if not wanted or min(int((seen > 0).sum()) for seen in self.split.sees) < NETWORK_ROWS:
            return
        for name, (kind, operator, ks) in wanted.items():
            if self.task.fusion == "auto" and not name.startswith("mlp/") and len(self.split.folds) > SCREENED_ON:
                self._screen(name, kind, operator, ks, fitted)
            else:
                self._train_network(name, kind, operator, ks)

    def _screen(
        self,
        name: str,
        kind: Kind,
        operator: Operator,
        ks: list[int],
        fitted: Mapping[str, Mapping[tuple[str, str], Fitted]],
    ) -> None:
        """Train a fused network on two folds first, and on the others only if it adds to what there is.

        Most often it does not (bench/results/learn_fusion.json), and seven replicas are most of a training's time.
        """
        self._train_network(name, kind, operator, ks, replicas=SCREENED_ON)
        tried = [label for label in self.screened if label == name or label == f"{name}-aligned"]
        worth = {label for label in tried if self._adds(label, fitted)}
        if worth:
            for label in tried:
                del self.screened[label], self.history[f"{label}/screen"]
            self._train_network(name, kind, operator, ks)

    def _adds(self, label: str, fitted: Mapping[str, Mapping[tuple[str, str], Fitted]]) -> bool:
        """Whether a screened network lowers the loss of some head's best blend on its folds."""
        for head in self.heads:
            objective, targets = head.objective, head.targets
            within, weights, prior = self._late_parts(objective, targets, fitted[head.name], networks=True)
            rows = np.sort(np.concatenate(self.split.folds[:SCREENED_ON]))
            rows = rows[known(objective, targets)[rows]][:SELECTION_ROWS]
            if len(rows) < 2:
                continue
            single = partial(self._single, objective, fitted[head.name], within)
            eta = self._held_out(single, rows)
            bits = 2 ** len(self.modalities) - 1
            members = {"late": select.late(objective, eta, weights, prior)}
            found = self._network_eta(objective, self.screened[label], bits, rows)
            without, together = (
                select.best_loss(objective, candidates, targets[rows])
                for candidates in (members, {**members, label: found})
            )
            if together < without * WORTH and without > ENOUGH * abs(float(np.log(max(objective.outputs, 2)))):
                return True
        return False

    def _train_network(
        self, name: str, kind: Kind, operator: Operator, ks: list[int], *, replicas: int | None = None
    ) -> None:
        """
        Args:
            replicas: only the first of them, into `screened`.
        """
        training = self.task.training
        objectives = [head.objective for head in self.heads]
        outputs = {o.name: o.outputs for o in objectives}
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        sees = torch.from_numpy(self.sees)[:replicas]
        shape = Shape(
            kind,
            operator,
            tuple(self.inputs.narrow[k].shape[1] for k in ks),
            outputs,
            training.hidden,
            training.dropout,
            self.task.preset == "article",
            tuple(self.inputs.narrow[k].shape[1] // TURN_DIM * (self.modalities[k] == "context") for k in ks),
        )
        here = self.inputs.here[:, ks]
        data = Data(
            [self.inputs.narrow[k].to(device) for k in ks],
            here.to(device),
            {o.name: self._target(o, replicas).to(device) for o in objectives},
            (sees * here.any(1)).to(device),
            [fold[self.present[fold][:, ks].any(1)] for fold in self.split.held[:replicas]],
            self.unlabelled[self.present[self.unlabelled][:, ks].any(1)],
        )
        start = None
        if training.mode == "self-supervised" and kind == "intermediate":
            start = align(f"align/{name}", shape, data, training, stages=self.stages, progress=self.progress)
        semi = training.mode == "semi-supervised" and len(ks) > 1
        for label, first in (
            {name: None, f"{name}-aligned": start}.items() if start is not None else {name: None}.items()
        ):
            stage = label if replicas is None else f"{label}/screen"
            trained = train(
                stage, shape, data, objectives, training, stages=self.stages, world=self.world,
                semi_supervised=semi, start=first, progress=self.progress,
            )  # fmt: skip
            kept = self.networks if replicas is None else self.screened
            kept[label], self.history[stage] = trained.network.to("cpu"), trained.history

    def _target(self, objective: Objective, replicas: int | None = None) -> torch.Tensor:
        mine = self.pseudo[objective.name][:replicas]
        if objective.type == "class":
            same = all(target is mine[0] for target in mine)
            return torch.from_numpy(mine[0] if same else np.stack(mine))
        return torch.from_numpy(mine[0].astype(np.float32))

    def _wanted(self) -> dict[str, tuple[Any, Any, list[int]]]:
        """Networks to train: name -> kind, operator, modalities."""
        dense = [k for k in range(len(self.modalities)) if self.inputs.z[k].shape[1]]
        fusion, operator = self.task.fusion, self.task.operator
        found: dict[str, tuple[Any, Any, list[int]]] = {}
        if fusion in ("auto", "unimodal", "late"):
            found = {f"mlp/{self.modalities[k]}": ("early", operator, [k]) for k in dense}
        if fusion == "early" or (fusion == "auto" and len(dense) > 1):
            found["early"] = ("early", operator, dense)
        if fusion == "intermediate" or (fusion == "auto" and len(dense) > 1):
            if fusion == "auto" and operator == "tensor" and len(self.modalities) > TENSOR_MOST:
                operator = "low_rank"
            found["intermediate"] = ("intermediate", operator, dense)
        whole = list(range(len(self.modalities)))
        # Fused networks read every modality; one without dense views gives them nothing.
        return {
            name: (kind, op, whole if ks == dense and not name.startswith("mlp/") else ks)
            for name, (kind, op, ks) in found.items()
        }

    # --- self-training

    def _self_train(self) -> None:
        """Rounds of pseudo-labels: what late fusion is surest of, class by class, teaches the modalities' experts.

        Each replica labels for itself, so held-out rows stay unseen. With several modalities this is co-training: what
        the picture says surely becomes a label for the voice.
        """
        for number, share in enumerate(PSEUDO_SHARES):
            fitted = self._experts(f"/round{number}")
            self.sees[:, self.unlabelled] = 0
            for objective, targets in ((head.objective, head.targets) for head in self.heads):
                if objective.type != "class":
                    continue
                within, weights, prior = self._late_parts(objective, targets, fitted[objective.name], networks=False)
                for replica in range(len(self.split.sees)):
                    eta = self._single(
                        objective, fitted[objective.name], within, self.unlabelled, replica, networks=False
                    )
                    chosen, pseudo = _surest(select.late(objective, eta, weights, prior), share)
                    rows = self.unlabelled[chosen]
                    mine = targets.copy()
                    mine[rows] = pseudo
                    self.pseudo[objective.name] = [*self.pseudo[objective.name]]
                    self.pseudo[objective.name][replica] = mine
                    self.sees[replica, rows] = PSEUDO_WEIGHT

    # --- fusion

    def _member(
        self,
        objective: Objective,
        fitted: Mapping[tuple[str, str], Fitted],
        k: int,
        member: str,
        rows: Rows,
        replica: int,
    ) -> Array:
        """(rows, O) logits of one member of modality k."""
        modality = self.modalities[k]
        if member == "mlp":
            network = view_replica(self.networks[f"mlp/{modality}"], replica)
            index = torch.from_numpy(rows)
            found = outputs_of(network, [self.inputs.narrow[k][index]], self.inputs.here[index][:, [k]])[objective.name]
            return np.asarray(found, np.float64)
        x = (
            self.inputs.text[modality][rows]
            if member == "ngrams"
            else self.inputs.z[k][rows] / np.float32(np.sqrt(self.inputs.z[k].shape[1]))
        )
        return np.asarray(fitted[modality, member].outputs(x, replica), np.float64)

    def _members_of(self, fitted: Mapping[tuple[str, str], Fitted], modality: str, *, networks: bool) -> list[str]:
        found = [member for (m, member) in fitted if m == modality]
        return [*found, "mlp"] if networks and f"mlp/{modality}" in self.networks else found

    def _held_out(self, call: Callable[[Rows, int], Array], rows: Rows) -> Array:
        """Outputs for rows by the replica that has not seen them; NaN where every replica has."""
        found: Array | None = None
        for replica, fold in [*enumerate(self.split.folds), (len(self.split.folds), self.split.untouched)]:
            mine = np.flatnonzero(np.isin(rows, fold))
            if len(mine):
                part = call(rows[mine], replica)
                found = np.full((len(rows), *part.shape[1:]), np.nan) if found is None else found
                found[mine] = part
        assert found is not None
        return found

    def _late_parts(
        self,
        objective: Objective,
        targets: NDArray[np.generic],
        fitted: Mapping[tuple[str, str], Fitted],
        *,
        networks: bool,
    ) -> tuple[dict[str, dict[str, float]], Array, Array]:
        """Blend within each modality, late weights (K,), prior (O,)."""
        rows = self._chosen_rows(objective, targets)
        within: dict[str, dict[str, float]] = {}
        for k, modality in enumerate(self.modalities):
            members = self._members_of(fitted, modality, networks=networks)
            mine = rows[self.present[rows, k]]
            if len(members) < 2 or len(mine) < 2:
                within[modality] = {members[0]: 1.0} if members else {}
                continue

            def call(member: str, k: int = k, mine: Rows = mine) -> Array:
                def of(at: Rows, replica: int) -> Array:
                    return select.natural(objective, self._member(objective, fitted, k, member, at, replica))

                return self._held_out(of, mine)

            within[modality] = select.blend(objective, {member: call(member) for member in members}, targets[mine])
        prior = prior_of(objective, targets[self.split.sees[-1] > 0])
        eta = self._held_out(
            lambda at, replica: self._single(objective, fitted, within, at, replica, networks=networks), rows
        )
        weights = select.late_weights(objective, eta, targets[rows], prior)
        # One without any member, such as text whose n-grams all occur once, says nothing.
        return within, np.where([bool(within[m]) for m in self.modalities], weights, 0.0), prior

    def _single(
        self,
        objective: Objective,
        fitted: Mapping[tuple[str, str], Fitted],
        within: Mapping[str, Mapping[str, float]],
        rows: Rows,
        replica: int,
        *,
        networks: bool = True,
    ) -> Array:
        """(rows, K, O) η of each modality, NaN where missing."""
        found = np.full((len(rows), len(self.modalities), objective.outputs), np.nan)
        for k, modality in enumerate(self.modalities):
            here = np.flatnonzero(self.present[rows, k])
            if not within[modality] or len(here) == 0:
                continue
            total = sum(
                weight * select.natural(objective, self._member(objective, fitted, k, member, rows[here], replica))
                for member, weight in within[modality].items()
            )
            found[here, k] = select.natural(objective, np.asarray(total))
        return found

    def _energies(
        self,
        objective: Objective,
        fitted: Mapping[tuple[str, str], Fitted],
        within: Mapping[str, Mapping[str, float]],
        rows: Rows,
        replica: int,
    ) -> Array:
        """(rows, K) largest logit of each modality before normalisation, zeros where missing."""
        found = np.zeros((len(rows), len(self.modalities)))
        for k, modality in enumerate(self.modalities):
            here = np.flatnonzero(self.present[rows, k])
            for member, weight in within[modality].items():
                logits = self._member(objective, fitted, k, member, rows[here], replica)
                found[here, k] += weight * logits.max(1)
        return found

    def _chosen_rows(self, objective: Objective, targets: NDArray[np.generic]) -> Rows:
        """Labelled rows of the folds, thinned out when there are very many."""
        rows = np.sort(np.concatenate(self.split.folds))
        rows = rows[known(objective, targets)[rows]]
        random = np.random.default_rng([self.task.training.seed, 2])
        return rows if len(rows) <= SELECTION_ROWS else np.sort(random.choice(rows, SELECTION_ROWS, replace=False))

    def _fuse(self, head: Prepared, fitted: Mapping[tuple[str, str], Fitted]) -> HeadFit:
        objective, targets = head.objective, head.targets
        within, weights, prior = self._late_parts(objective, targets, fitted, networks=True)
        every = np.sort(np.concatenate(self.split.folds))
        every = every[known(objective, targets)[every]]
        single = self._held_out(lambda at, replica: self._single(objective, fitted, within, at, replica), every)
        chosen = self._chosen_rows(objective, targets)
        at = np.searchsorted(every, chosen)
        oof: dict[int, Oof] = {}
        patterns: dict[int, dict[str, float]] = {}
        comparison = select.Comparison(head.name)
        for bits in self._patterns(every):
            inside = (self._bits(chosen) & bits) == bits
            rows, eta = chosen[inside], np.where(self._mask(bits)[None, :, None], single[at[inside]], np.nan)
            if len(rows) < 2:
                continue
            members = self._under(objective, bits, rows, eta, weights, prior)
            choice = self._choose(objective, bits, members, targets[rows], self.groups[rows])
            patterns[bits] = dict(choice.weights)
            comparison.rows += self._lines(bits, choice, members, objective, targets[rows])
            oof[bits] = Oof(rows, blended(members, choice.weights), eta)
        fusion = Fusion(
            objective.type, max(len(head.labels), 1), head.extra, bool(head.head.out_of_scope) and not head.extra,
            tuple(prior.tolist()), within, tuple(weights.tolist()), patterns, head.mean, head.deviation,
        )  # fmt: skip
        natural = self._natural(objective, fusion, every, single)
        beyond = None
        if fusion.out_of_scope:
            beyond = natural.fused[:, -1] - logsumexp(natural.fused[:, :-1], axis=1)
        elif fusion.energy:
            energies = self._held_out(lambda at, replica: self._energies(objective, fitted, within, at, replica), every)
            late = self.present[every] * np.asarray(fusion.late)
            beyond = -(energies * late).sum(1) / np.maximum(late.sum(1), 1e-12)
        rows = self.split.untouched[known(objective, targets)[self.split.untouched]]
        untouched = None
        if len(rows):
            eta = self._held_out(lambda at, replica: self._single(objective, fitted, within, at, replica), rows)
            untouched = self._natural(objective, fusion, rows, eta)
        alarms = self._alarms(objective, targets, natural, untouched)
        return HeadFit(
            head.head,
            head.labels,
            objective,
            targets,
            fusion,
            oof,
            natural,
            self._fold_of(),
            comparison,
            alarms,
            untouched,
            beyond,
        )

    def _fold_of(self) -> Rows:
        folds = np.full(len(self.present), -1)
        for number, fold in enumerate(self.split.folds):
            folds[fold] = number
        return folds

    def _bits(self, rows: Rows) -> Rows:
        """(n,) availability pattern: bit k set where modality k is present."""
        return np.asarray(self.present[rows] @ (1 << np.arange(len(self.modalities))), np.int64)

    def _mask(self, bits: int) -> NDArray[np.bool_]:
        return (bits >> np.arange(len(self.modalities)) & 1).astype(bool)

    def _patterns(self, rows: Rows) -> list[int]:
        """Patterns worth a choice of their own: every subset of few; else those seen, singles, all but one."""
        k = len(self.modalities)
        whole = 2**k - 1
        if k <= SUBSETS_OF:
            return list(range(1, whole + 1))
        seen = set(self._bits(rows).tolist()) | {whole}
        return sorted((seen | {1 << i for i in range(k)} | {whole ^ (1 << i) for i in range(k)}) - {0})

    def _under(
        self, objective: Objective, bits: int, rows: Rows, eta: Array, weights: Array, prior: Array
    ) -> dict[str, Array]:
        """OOF η (n, O) of every member when only this pattern's modalities are there."""
        members = {"late": select.late(objective, eta, weights, prior)}
        for name, network in {**self.networks, **self.screened}.items():
            if not name.startswith("mlp/"):
                members[name] = self._network_eta(objective, network, bits, rows)
        for k in np.flatnonzero(self._mask(bits)):
            if not np.isnan(eta[:, k, 0]).all():
                members[f"only/{self.modalities[k]}"] = eta[:, k]
        return members

    def _network_eta(self, objective: Objective, network: FusionNetwork, bits: int, rows: Rows) -> Array:
        """(n, O) η of a fused network about held-out rows with this pattern; NaN in folds it was not trained for."""
        present = self.inputs.here & torch.from_numpy(self._mask(bits))

        def call(at: Rows, replica: int) -> Array:
            if replica >= network.replicas:
                return np.full((len(at), objective.outputs), np.nan)
            index = torch.from_numpy(at)
            outputs = outputs_of(view_replica(network, replica), [z[index] for z in self.inputs.narrow], present[index])
            return select.natural(objective, outputs[objective.name])

        return self._held_out(call, rows)

    def _choose(
        self,
        objective: Objective,
        bits: int,
        members: Mapping[str, Array],
        targets: NDArray[np.generic],
        groups: NDArray[np.generic],
    ) -> select.Choice:
        singles = [name for name in members if name.startswith("only/")]
        networks = [name for name in members if name in self.networks]
        fusion = self.task.fusion
        if fusion in ("early", "intermediate") and networks:
            speaks = min(networks, key=lambda name: select.mean_loss(objective, members[name], targets))
        elif fusion == "unimodal" and singles:
            speaks = ""
        elif fusion == "late" or not singles or len(targets) < select.FEWEST:
            speaks = "late" if len(singles) != 1 else singles[0]
        else:
            return select.choose(
                objective,
                members,
                singles,
                targets,
                groups,
                allowed=[name for name in members if name not in self.screened],
                seed=self.task.training.seed,
            )
        return select.fixed(
            objective, members, singles or ["late"], targets, groups, speaks, seed=self.task.training.seed
        )

    def _lines(
        self,
        bits: int,
        choice: select.Choice,
        members: Mapping[str, Array],
        objective: Objective,
        targets: NDArray[np.generic],
    ) -> list[dict[str, object]]:
        """Rows of the comparison table for one pattern: every member, and what was chosen."""
        pattern = "+".join(m for m, here in zip(self.modalities, self._mask(bits), strict=True) if here)
        lines: list[dict[str, object]] = [
            {
                "pattern": pattern, "member": name, "rows": choice.rows, "score": score(objective, eta, targets),
                "loss": choice.losses[name], "weight": round(choice.weights.get(name, 0.0), 3),
                "note": f"adds nothing on {SCREENED_ON} folds" if name in self.screened else "",
            }
            for name, eta in members.items()
        ]  # fmt: skip
        whole = blended(members, choice.weights)
        lines.append(
            {
                "pattern": pattern, "member": "chosen", "rows": choice.rows, "score": score(objective, whole, targets),
                "loss": select.mean_loss(objective, whole, targets), "weight": 1.0, "note": choice.reason(),
            }
        )  # fmt: skip
        return lines

    def _natural(self, objective: Objective, fusion: Fusion, rows: Rows, single: Array) -> Oof:
        """What the model says about held-out rows with whatever they have."""
        bits = self._bits(rows)
        fused = np.tile(np.asarray(fusion.prior), (len(rows), 1))
        for pattern in np.unique(bits):
            mine = np.flatnonzero(bits == pattern)
            if pattern == 0:
                continue
            weights = fusion.patterns.get(int(pattern), {"late": 1.0})
            members = self._under(
                objective, int(pattern), rows[mine], single[mine], np.asarray(fusion.late), np.asarray(fusion.prior)
            )
            fused[mine] = blended(members, weights)
        return Oof(rows, fused, single)

    def _alarms(
        self, objective: Objective, targets: NDArray[np.generic], oof: Oof, untouched: Oof | None
    ) -> list[select.Alarm]:
        if untouched is None:
            return []
        found = [
            select.leak_alarm(
                "the model",
                hits(objective, oof.fused, targets[oof.rows]),
                hits(objective, untouched.fused, targets[untouched.rows]),
            )
        ]
        for k, modality in enumerate(self.modalities):
            sides = [(part.single[:, k], targets[part.rows]) for part in (oof, untouched)]
            found.append(select.leak_alarm(modality, *(hits(objective, eta, truth) for eta, truth in sides)))
        return [alarm for alarm in found if alarm is not None]

    # --- the model that ships

    def _core(self, heads: Mapping[str, HeadFit], fitted: Mapping[str, Mapping[tuple[str, str], Fitted]]) -> Core:
        used = {member for fit_ in heads.values() for weights in fit_.fusion.patterns.values() for member in weights}
        mlps = {f"mlp/{m}" for fit_ in heads.values() for m, members in fit_.fusion.within.items() if "mlp" in members}
        networks = {name: network.shape for name, network in self.networks.items() if name in used | mlps}
        plan = Plan(
            self.modalities, self.views, {name: len(columns) for name, columns in self.inputs.vocabulary.items()},
            networks, {name: fit_.fusion for name, fit_ in heads.items()},
            {name: components.shape[1] for name, components in self.inputs.projections.items()},
        )  # fmt: skip
        core = Core(plan)
        core.vocabularies = dict(self.inputs.vocabulary)
        state = core.state_dict()
        for view, (mean, scale) in self.inputs.statistics.items():
            core.set_standardisation(view, mean, scale)
        for view, idf in self.inputs.idf.items():
            core.set_idf(view, idf)
        for modality, components in self.inputs.projections.items():
            core.set_projection(modality, components)
        for name in networks:
            core.set_network(name, view_replica(self.networks[name], self.split.ships))
        for head, models in fitted.items():
            for (modality, member), model in models.items():
                if member in heads[head].fusion.within[modality]:
                    core.set_expert(
                        head, modality, member, model.weights[self.split.ships], model.bias[self.split.ships]
                    )
        assert state.keys() == core.state_dict().keys()
        return core


# --- parts


def blended(members: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    return np.asarray(sum(weight * members[name] for name, weight in weights.items()))


def _surest(eta: Array, share: float) -> tuple[Rows, Rows]:
    """Of each predicted label the given share of rows, the surest first. Returns: rows and their labels."""
    index = eta.argmax(1)
    sure = np.exp(log_softmax(eta, axis=1)).max(1)
    chosen = []
    for label in np.unique(index):
        mine = np.flatnonzero(index == label)
        chosen.append(mine[np.argsort(-sure[mine], kind="stable")[: max(1, round(share * len(mine)))]])
    rows = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
    return rows, index[rows]
