"""A trainable model of understanding, used like one of scikit-learn's.

model = Model({"intent": "class"}).fit("samples.jsonl")
model.predict([Sample("1", text="Where is my parcel?")])
model.save("models/tickets"); Model.load("models/tickets")
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from duomo.errors import InputError, ModelUnavailable
from duomo.learn import fit as fitting
from duomo.learn import trust
from duomo.learn.charts import plots
from duomo.learn.checkpoint import Stages, write_whole
from duomo.learn.core import Core, Plan, as_arrays
from duomo.learn.distributed import World
from duomo.learn.encoders import Broken, encode, encoders_of
from duomo.learn.fit import HeadFit, Result
from duomo.learn.samples import fingerprint, load_samples
from duomo.learn.targets import prepare, score
from duomo.learn.task import Task, as_dict, load_task, parse_task, to_yaml
from duomo.learn.train import Progress
from duomo.models.encoders import Encoders
from duomo.models.features import Features, Floats, View
from duomo.models.heads import HeadInfo, pattern_keys
from duomo.models.manifest import Manifest
from duomo.models.understanding import HeadOutput, Prediction, Scores, Understanding
from duomo.types import Label, Sample

Samples = Sequence[Sample] | Path | str

MANIFEST, PLAN, WEIGHTS, OOF, TASK = "model.json", "plan.json", "weights.safetensors", "oof.npz", "task.yaml"
RUN, STAGES, ENCODERS = "run", "stages", "encoders"
EXPORTS = ("onnx", "tensorflow")  # folders inside the model's
FALSE_ALARMS = 0.01  # largest share of in-scope samples that may be called out of scope


class Model:
    """Text, pictures, sound, video and vectors in; calibrated answers of every head out.

    Attributes:
        task: what is predicted from what, and how it was trained.
        broken: files of the training samples that could not be read; their modality was missing.
        notes: what a person should know about this training: alarms, modalities without any sample.
    """

    def __init__(
        self,
        task: Task | Mapping[str, str] | Path | str,
        *,
        cache: Path | str | None = None,
        workers: int = 2,
    ) -> None:
        """
        Args:
            task: a `Task`, the path of a task.yaml, or just the heads with their types.
            cache: folder for features of contents already encoded; None keeps none.
            workers: threads that encode.
        """
        self.task = _task(task)
        self.cache = None if cache is None else Path(cache)
        self.workers = workers
        self.broken: tuple[Broken, ...] = ()
        self.notes: list[str] = []
        self.result: Result | None = None
        self._understanding: Understanding | None = None
        self._encoders: Encoders | None = None
        self._metrics: dict[str, Any] = {}
        self._data: dict[str, Any] = {}
        self._oof: dict[str, NDArray[Any]] = {}

    # --- training

    def fit(
        self,
        samples: Samples,
        *,
        unlabelled: Samples | None = None,
        validation: Samples | None = None,
        folder: Path | str | None = None,
        world: World | None = None,
        progress: Progress | None = None,
        encoding: Callable[[int, int], None] | None = None,
    ) -> Model:
        """Learn from samples. A head's label that is None does not teach that head.

        Args:
            unlabelled: more samples, whose labels are not read.
            validation: samples that neither teach nor choose, to compare with; without them a tenth is kept apart.
            folder: keeps checkpoints, so that a killed run goes on; `save` there when done.
            progress: is told every epoch and stage. encoding: contents encoded, and all.
        Raises:
            InputError: nothing to learn from.
        """
        labelled, more, apart = (self._read(part) for part in (samples, unlabelled, validation))
        more = [replace(sample, labels={}) for sample in more]
        every = [*labelled, *more, *apart]
        for head in self.task.heads if labelled else ():  # mistakes are told before hours of encoding
            prepare(head, [sample.labels.get(head.name) for sample in labelled], self.task)
        seen = self._finetune(labelled, folder)
        encoded = encode(
            every,
            self.task.modalities,
            context=self.task.context,
            cache=self.cache,
            progress=encoding,
            workers=self.workers,
        )
        self.broken = encoded.broken
        labels = {h.name: [sample.labels.get(h.name) for sample in every] for h in self.task.heads}
        groups = [sample.group if sample.group is not None else f"\0{row}" for row, sample in enumerate(every)]
        untouched = np.arange(len(labelled) + len(more), len(every)) if apart else None
        self._data = fingerprint(labelled)
        taught = np.array([row for row, sample in enumerate(labelled) if sample.id in seen], np.int64)
        identity = self._identity(encoded.features, labels, groups, untouched=untouched, taught=taught)
        keeps = world is None or world.rank == 0
        stages = Stages(None if folder is None else Path(folder) / RUN / STAGES, identity=identity, writes=keeps)
        return self.fit_features(
            encoded.features, encoded.views, labels, groups, ids=[sample.id for sample in every],
            untouched=untouched, taught=taught, stages=stages, world=world, progress=progress,
        )  # fmt: skip

    def _finetune(self, samples: Sequence[Sample], folder: Path | str | None) -> set[str]:
        """Fine-tune the encoders that the task says. Returns: ids of samples whose labels they have seen."""
        seen: set[str] = set()
        for modality, options in self.task.modalities.items():
            if options.finetune == "none":
                continue
            if folder is None:
                raise InputError("fine-tuning writes a checkpoint; give fit a folder")
            from duomo.learn.finetune import Settings, finetune

            done = finetune(
                samples, modality=modality, checkpoint=options.encoder,
                out=Path(folder).resolve() / ENCODERS / modality,
                heads=[head.name for head in self.task.heads if head.type == "class"],
                settings=Settings(method=options.finetune, seed=self.task.training.seed),
            )  # fmt: skip
            seen |= set(done.seen)
            tuned = replace(options, encoder=done.folder, finetune="none")
            self.task = replace(self.task, modalities={**self.task.modalities, modality: tuned})
        return seen

    def fit_features(
        self,
        features: Features,
        views: Sequence[View],
        labels: Mapping[str, Sequence[Label | None]],
        groups: Sequence[str],
        *,
        ids: Sequence[str] | None = None,
        untouched: NDArray[np.int64] | None = None,
        taught: NDArray[np.int64] | None = None,
        stages: Stages | None = None,
        world: World | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """Learn from features that are there already; see `fit.fit`."""
        result = fitting.fit(
            features, views, labels, groups, self.task,
            untouched=untouched, taught=taught, stages=stages, world=world, progress=progress,
        )  # fmt: skip
        self.result = result
        heads = {name: _judged(found, features, groups) for name, found in result.heads.items()}
        self._understanding = Understanding(result.core, heads, features.modalities, tuple(views))
        self._metrics = {name: _reached(found) for name, found in result.heads.items()}
        self._oof = _kept(result, features, groups, ids or [str(row) for row in range(len(features))])
        self.notes = [str(alarm) for found in result.heads.values() for alarm in found.alarms]
        return self

    def _read(self, samples: Samples | None) -> list[Sample]:
        if samples is None:
            return []
        if isinstance(samples, str | Path):
            return load_samples(samples, heads=self.task.heads, group=self.task.group)
        return list(samples)

    def _identity(
        self,
        features: Features,
        labels: Mapping[str, Sequence[Label | None]],
        groups: Sequence[str],
        *,
        untouched: NDArray[np.int64] | None = None,
        taught: NDArray[np.int64] | None = None,
    ) -> str:
        """Of everything that decides the weights: task, features, labels, groups, rows kept apart, version."""
        digest = hashlib.blake2b(digest_size=16)
        apart = [None if rows is None else rows.tolist() for rows in (untouched, taught)]
        facts = [version("duomo"), torch.__version__, as_dict(self.task), list(labels.items()), list(groups), apart]
        digest.update(json.dumps(facts, sort_keys=True, default=list).encode())
        digest.update(features.present.tobytes())
        for name in sorted(features.dense):
            digest.update(np.ascontiguousarray(features.dense[name]).data)
        for name in sorted(features.sparse):
            rows = features.sparse[name]
            for part in (rows.starts, rows.columns, rows.values):
                digest.update(part.tobytes())
        return digest.hexdigest()

    # --- use

    @property
    def understanding(self) -> Understanding:
        if self._understanding is None:
            raise InputError("the model is not trained; call fit, or Model.load a trained one")
        return self._understanding

    @property
    def core(self) -> Core:
        core = self.understanding.core
        assert isinstance(core, Core)
        return core

    @property
    def heads(self) -> Mapping[str, HeadInfo]:
        return self.understanding.heads

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.understanding.modalities

    @property
    def views(self) -> tuple[View, ...]:
        return self.understanding.views

    @property
    def encoders(self) -> Encoders:
        if self._encoders is None:
            self._encoders = encoders_of(self.views, self.task.modalities, workers=self.workers)
        return self._encoders

    def features(self, samples: Samples) -> Features:
        """Encode; a broken file is a missing modality and listed in `broken`."""
        encoded = encode(self._read(samples), cache=self.cache, workers=self.workers, encoders=self.encoders)
        self.broken = encoded.broken
        return encoded.features

    def scores(self, features: Features) -> Mapping[str, Scores]:
        return self.core.scores(features)

    def predict_features(self, features: Features) -> dict[str, HeadOutput]:
        return self.understanding.predict_features(features)

    def predict(self, samples: Samples, *, shares: bool = True) -> list[Prediction]:
        """
        Args:
            shares: also what each modality adds to the answer.
        """
        read = self._read(samples)
        if not read:
            return []
        return self.understanding.predict(self.features(read), ids=[sample.id for sample in read], shares=shares)

    def predict_proba(self, samples: Samples) -> dict[str, NDArray[np.float64]]:
        """By head (n, C) calibrated probabilities in the order of its labels; of a number (n, 1) its value."""
        outputs = self.predict_features(self.features(samples))
        return {name: output.probabilities for name, output in outputs.items()}

    def evaluate(self, samples: Samples, **options: Any) -> Any:
        """An `evaluate.Evaluation`; options as `evaluate.evaluate`."""
        from duomo.learn.evaluate import evaluate

        return evaluate(self, self._read(samples), **options)

    @property
    def means(self) -> dict[str, Floats]:
        """Of plain vectors over the training samples, by modality."""
        plain = [view for view in self.views if view.modality.startswith("features.") and not view.sparse]
        return {v.modality: self.core.get_buffer_(f"mean:{v.name}".replace(".", "/")).numpy() for v in plain}

    def explain(self, sample: Sample, **options: Any) -> Any:
        """An `explain.Explanation`; options as `explain.explain`."""
        from duomo.learn.explain import explain

        return explain(self, sample, **options)

    # --- on disk

    def save(self, folder: Path | str) -> Path:
        """Write the model. The manifest comes last: a folder that was not finished is not a model."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        core = self.core
        arrays = {f"core/{name}": value for name, value in as_arrays(core).items()}
        arrays |= {f"vocabulary/{view}": columns for view, columns in core.vocabularies.items()}
        plan = json.dumps(core.plan.as_dict(), ensure_ascii=False, indent=1)
        write_whole(folder / WEIGHTS, save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))
        write_whole(folder / PLAN, plan.encode())
        write_whole(folder / TASK, to_yaml(self.task).encode())
        files = [WEIGHTS, PLAN, TASK]
        if self._oof:
            np.savez_compressed(folder / OOF, **self._oof)  # type: ignore[arg-type]
            files.append(OOF)
        for name in EXPORTS:  # of the model that lay here before
            if (folder / name / "manifest.json").is_file():
                shutil.rmtree(folder / name)
        manifest = self.manifest().hashed(folder, files)
        manifest.write(folder / MANIFEST)
        if self.result is not None:
            self._save_run(folder / RUN, self.result)
        return folder

    def manifest(self) -> Manifest:
        return Manifest(
            version("duomo"), as_dict(self.task), self.modalities, self.views, self.heads,
            metrics=self._metrics, data=self._data,
        )  # fmt: skip

    def _save_run(self, folder: Path, result: Result) -> None:
        """What happened: configuration, fingerprint, metrics by epoch, the comparison of the members."""
        folder.mkdir(exist_ok=True)
        lines = [{"network": name, **entry} for name, history in result.history.items() for entry in history]
        write_whole(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        facts = {
            "task": as_dict(self.task), "data": self._data, "reached": self._metrics, "notes": self.notes,
            "broken": [[one.id, one.modality, one.path, one.reason] for one in self.broken],
            "versions": {name: version(name) for name in ("duomo", "torch", "scikit-learn", "numpy")},
            "comparison": {name: found.comparison.rows for name, found in result.heads.items()},
        }  # fmt: skip
        write_whole(folder / "run.json", json.dumps(facts, ensure_ascii=False, indent=1).encode())
        if lines:
            write_whole(folder / "curves.svg", plots(folder / "metrics.jsonl").encode())

    @classmethod
    def load(cls, folder: Path | str, *, cache: Path | str | None = None, workers: int = 2) -> Model:
        """
        Raises:
            ModelUnavailable: not a model, or a file was changed.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder / MANIFEST)
        if unchecked := {WEIGHTS, PLAN, TASK} - set(manifest.files):
            raise ModelUnavailable(f"{folder / MANIFEST} has no hash for {', '.join(sorted(unchecked))}. Train again.")
        manifest.check(folder)
        model = cls(_with_own_encoders(load_task(folder / TASK), folder), cache=cache, workers=workers)
        try:
            plan = Plan.from_dict(json.loads((folder / PLAN).read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelUnavailable(f"{folder / PLAN} does not describe a model of this version: {error}") from error
        core = Core(plan)
        arrays = load_file(folder / WEIGHTS)
        core.load_state_dict(
            {name[5:]: torch.from_numpy(value) for name, value in arrays.items() if name.startswith("core/")}
        )
        core.vocabularies = {name[11:]: value for name, value in arrays.items() if name.startswith("vocabulary/")}
        model._understanding = Understanding(core, manifest.heads, manifest.modalities, manifest.views, manifest)
        model._metrics, model._data = dict(manifest.metrics), dict(manifest.data)
        if OOF in manifest.files:
            with np.load(folder / OOF, allow_pickle=False) as kept:
                model._oof = dict(kept)
        return model

    @property
    def oof(self) -> Mapping[str, NDArray[Any]]:
        """What the folds' models said about the training rows: `ids`, `groups`, and by head HEAD.rows (indices),
        HEAD.fused, HEAD.single, HEAD.targets."""
        return self._oof


def _with_own_encoders(task: Task, folder: Path) -> Task:
    """Checkpoints that were fine-tuned for this model lie in its folder, wherever that has moved to."""
    here = {
        modality: replace(options, encoder=str((folder / ENCODERS / modality).resolve()))
        for modality, options in task.modalities.items()
        if (folder / ENCODERS / modality).is_dir()
    }
    return replace(task, modalities={**task.modalities, **here})


def _task(task: Task | Mapping[str, str] | Path | str) -> Task:
    if isinstance(task, Task):
        return task
    if isinstance(task, Mapping):
        return parse_task(json.dumps({"heads": dict(task)}), source="task")
    return load_task(task)


def _judged(found: HeadFit, features: Features, groups: Sequence[str]) -> HeadInfo:
    """The head with the trust that its out-of-fold scores earn it."""
    info = _info(found)
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    evidence = {}
    for bits, oof in found.oof.items():
        mask = (bits >> np.arange(len(features.modalities)) & 1).astype(bool)
        (pattern,) = pattern_keys(mask[None], features.modalities)
        evidence[str(pattern)] = trust.Evidence(
            found.in_label_units(oof.fused), _truth(found, oof.rows), numbers[oof.rows]
        )
    info = replace(info, trust=trust.fit(info, evidence))
    if found.beyond is None:
        return info
    targets = found.targets[found.natural.rows].astype(np.int64)
    inside = targets < found.fusion.labels
    outside = found.beyond[~inside] if (~inside).any() else None
    return replace(
        info,
        out_of_scope_threshold=trust.out_of_scope_threshold(found.beyond[inside], outside, false_alarms=FALSE_ALARMS),
    )


def _info(found: HeadFit) -> HeadInfo:
    prior = np.asarray(found.fusion.prior, dtype=np.float64)
    if found.fusion.type == "number":
        shares = [found.fusion.mean, found.fusion.deviation]
    elif found.fusion.type == "multilabel":
        shares = (1 / (1 + np.exp(-prior))).tolist()
    else:
        inside = np.exp(prior[: found.fusion.labels])
        shares = (inside / inside.sum()).tolist()
    return HeadInfo(found.head.name, found.fusion.type, found.labels, tuple(shares), found.head.out_of_scope)


def _truth(found: HeadFit, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Labels as `trust.Evidence` wants them."""
    targets = found.targets[rows]
    if found.fusion.type == "class":
        index = targets.astype(np.int64)
        return np.where(index < found.fusion.labels, index, -1)
    if found.fusion.type == "multilabel":
        return np.asarray(targets.astype(np.float64) > 0.5)
    return np.asarray(targets.astype(np.float64) * found.fusion.deviation + found.fusion.mean)


def _reached(found: HeadFit) -> dict[str, Any]:
    """Figures of a training, for the manifest: share right, or R²."""
    reached: dict[str, Any] = {
        "measure": "r2" if found.fusion.type == "number" else "accuracy",
        "out_of_fold": round(score(found.objective, found.natural.fused, found.targets[found.natural.rows]), 4),
        "rows": len(found.natural.rows),
        "alarms": [str(alarm) for alarm in found.alarms],
    }
    if found.untouched is not None:
        rows = found.untouched.rows
        reached["untouched"] = round(score(found.objective, found.untouched.fused, found.targets[rows]), 4)
        reached["untouched_rows"] = len(rows)
    return reached


def _kept(result: Result, features: Features, groups: Sequence[str], ids: Sequence[str]) -> dict[str, NDArray[Any]]:
    kept: dict[str, NDArray[Any]] = {"ids": np.array(ids, dtype=np.str_), "groups": np.array(groups, dtype=np.str_)}
    for name, found in result.heads.items():
        rows = found.natural.rows
        kept[f"{name}.rows"] = rows
        kept[f"{name}.fold"] = found.folds[rows]
        kept[f"{name}.fused"] = found.in_label_units(found.natural.fused).astype(np.float32)
        kept[f"{name}.single"] = found.in_label_units(found.natural.single).astype(np.float32)
        kept[f"{name}.targets"] = found.targets[rows]
    return kept
