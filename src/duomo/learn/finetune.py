"""Train a Hugging Face encoder on the task's own labels; afterwards it is a frozen encoder like any other.

An encoder that has seen a sample's label makes that sample look easier than any new one, so what a model built on it
scores on those samples is too good. Part of the groups is therefore never shown to it, and the result says which
samples it saw: whoever measures or calibrates keeps to the rest.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from duomo.errors import ConfigError, InputError, MediaError
from duomo.learn.huggingface import EXTRA, Checkpoint
from duomo.media.text import normalise
from duomo.models.encoders import Value, read
from duomo.types import Sample

Method = Literal["lora", "full"]

LONGEST_S = 20.0  # of a sound; what follows is not trained on


@dataclass(frozen=True, slots=True)
class Settings:
    method: Method = "lora"
    share: float = 0.5  # of the groups that the encoder may see, those for early stopping included
    stopping: float = 0.15  # of these, the part that decides when to stop
    epochs: int = 20  # at most
    patience: int = 3  # epochs without a lower loss on the stopping part
    batch_size: int = 16
    learning_rate: float | None = None  # 5e-4 with LoRA, 3e-5 in full
    rank: int = 8  # of LoRA's matrices
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Finetuned:
    """What came out, kept as `finetune.json` in its folder."""

    folder: str  # a checkpoint: give it as the modality's `encoder`
    source: str
    modality: str
    method: Method
    seen: tuple[str, ...]  # ids of the samples whose labels it was trained on or stopped by
    epochs: int  # until the best one
    loss: float  # cross-entropy on the stopping part at the best epoch, mean over its labels
    loss_before: float  # the same before training, when every label is as likely


def finetune(
    samples: Sequence[Sample],
    *,
    modality: str,
    checkpoint: str,
    heads: Sequence[str],
    out: Path,
    settings: Settings | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Finetuned:
    """Train `checkpoint` with a linear layer for each class head, and write it to `out`.

    Args:
        modality: text, image or audio.
        heads: class heads; a sample needs a label of one of them at least.
        out: folder for the checkpoint; what stands there is replaced once training has succeeded.
        progress: called with the epoch, from 1, and the loss on the stopping part.
    Raises:
        InputError: fewer than four groups, or two labels, to learn from.
        ConfigError: the checkpoint cannot be used.

    Source of LoRA: Hu et al. 2022, arXiv:2106.09685.
    """
    import torch

    settings = settings or Settings()
    labels = {
        head: sorted({str(value) for s in samples if (value := s.labels.get(head)) is not None}) for head in heads
    }
    labels = {head: names for head, names in labels.items() if len(names) > 1}
    if not labels:
        raise InputError(
            f"fine-tuning needs a class head with two labels at least; given: {', '.join(heads) or 'none'}"
        )
    usable = [s for s in samples if _has(s, modality) and any(s.labels.get(head) is not None for head in labels)]
    learning, stopping = _parts(usable, settings)
    torch.manual_seed(settings.seed)
    encoder = Checkpoint(checkpoint, modality=modality)
    trainer = _Trainer(encoder, labels, settings)
    epochs, loss = trainer.fit(learning, stopping, progress)
    result = Finetuned(
        folder=str(out),
        source=checkpoint,
        modality=modality,
        method=settings.method,
        seen=tuple(sample.id for sample in (*learning, *stopping)),
        epochs=epochs,
        loss=round(loss, 6),
        loss_before=round(trainer.loss_before, 6),
    )
    _save(trainer.merged(), encoder.processor, result, out)
    return result


def _has(sample: Sample, modality: str) -> bool:
    return bool(normalise(sample.text or "")) if modality == "text" else getattr(sample, modality) is not None


def _parts(samples: Sequence[Sample], settings: Settings) -> tuple[list[Sample], list[Sample]]:
    """Samples to learn from, and to stop by: whole groups, drawn by the seed."""
    groups = sorted({_group(sample) for sample in samples})
    if len(groups) < 4:
        raise InputError(f"fine-tuning needs labelled samples of four groups at least, found {len(groups)}")
    order = np.random.default_rng(settings.seed).permutation(len(groups))
    seen = max(2, round(settings.share * len(groups)))
    last = max(1, round(settings.stopping * seen))
    stop = {groups[index] for index in order[:last]}
    learn = {groups[index] for index in order[last:seen]}
    return [s for s in samples if _group(s) in learn], [s for s in samples if _group(s) in stop]


def _group(sample: Sample) -> str:
    return sample.group if sample.group is not None else sample.id


def _value(sample: Sample, modality: str) -> Value | None:
    """None: it cannot be read; `encode` will list it as broken."""
    if modality == "text":
        return normalise(sample.text or "")
    try:
        value = read(modality, getattr(sample, modality).read_bytes())
    except (OSError, MediaError):
        return None
    return value[: int(LONGEST_S * 16_000)] if isinstance(value, np.ndarray) and modality == "audio" else value


class _Trainer:
    """The encoder, one linear layer a head, and the loop around them."""

    def __init__(self, encoder: Checkpoint, labels: Mapping[str, Sequence[str]], settings: Settings) -> None:
        import torch

        self._encoder, self._settings = encoder, settings
        self._index = {head: {name: at for at, name in enumerate(names)} for head, names in labels.items()}
        self._quiet()
        self._adapted = self._with_lora() if settings.method == "lora" else None
        self._layers = torch.nn.ModuleDict()
        for at, names in enumerate(labels.values()):  # by number: a module's name takes no dots
            layer = torch.nn.Linear(encoder.view.dim, len(names))
            torch.nn.init.zeros_(layer.weight)  # starts from the same guess for everything, not from a random one
            torch.nn.init.zeros_(layer.bias)
            self._layers[str(at)] = layer
        self._layers.to(next(encoder.model.parameters()).device)
        self._own = [p for p in encoder.model.parameters() if p.requires_grad]
        rate = settings.learning_rate or (5e-4 if settings.method == "lora" else 3e-5)
        self._optimizer = torch.optim.AdamW(
            [{"params": self._own, "lr": rate}, {"params": self._layers.parameters(), "lr": max(rate, 1e-3)}],
            weight_decay=0.01,
        )
        self.loss_before = math.inf

    def _quiet(self) -> None:
        """No masking of the input and no skipped layers: with the few and short examples of a task both hurt, and the
        masks of speech models refuse short sounds."""
        config = self._encoder.model.config
        for name in ("mask_time_prob", "mask_feature_prob", "layerdrop", "encoder_layerdrop"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        if hasattr(self._encoder.model, "freeze_feature_encoder"):
            self._encoder.model.freeze_feature_encoder()

    def _with_lora(self) -> Any:
        try:
            peft: Any = importlib.import_module("peft")
        except ImportError:
            raise ConfigError(f"finetune: lora needs `peft`. {EXTRA}") from None
        rank = self._settings.rank
        config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft asks by its old name
            return peft.get_peft_model(self._encoder.model, config)  # adapts the model in place

    def fit(
        self, learning: Sequence[Sample], stopping: Sequence[Sample], progress: Callable[[int, float], None] | None
    ) -> tuple[int, float]:
        """Returns the best epoch, 0 when none was better than none, and its loss; the encoder is left in that state."""
        self.loss_before = best = self._evaluate(stopping)
        epoch, kept = 0, self._state()
        rng = np.random.default_rng(self._settings.seed)
        for number in range(1, self._settings.epochs + 1):
            self._train([learning[at] for at in rng.permutation(len(learning))], first=number == 1)
            loss = self._evaluate(stopping)
            if progress is not None:
                progress(number, loss)
            if loss < best:
                epoch, best, kept = number, loss, self._state()
            elif number - epoch >= self._settings.patience:
                break
        for parameter, value in zip(self._own, kept, strict=True):
            parameter.data.copy_(value)
        return epoch, best

    def merged(self) -> Any:
        """The model alone, with what LoRA learned added to its weights."""
        self._encoder.model.eval()
        return self._encoder.model if self._adapted is None else self._adapted.merge_and_unload()

    def _state(self) -> list[Any]:
        return [parameter.detach().clone() for parameter in self._own]

    def _train(self, samples: Sequence[Sample], *, first: bool) -> None:
        import torch

        self._encoder.model.train()
        rates = [group["lr"] for group in self._optimizer.param_groups]
        steps = math.ceil(len(samples) / self._settings.batch_size)
        for step, (vectors, batch) in enumerate(self._batches(samples)):
            for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (step + 1) / steps if first else rate  # the first epoch warms up
            loss = sum(loss for loss, _ in self._losses(vectors, batch))
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*self._own, *self._layers.parameters()], 1.0)
            self._optimizer.step()
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _evaluate(self, samples: Sequence[Sample]) -> float:
        import torch

        self._encoder.model.eval()
        total, count = 0.0, 0
        with torch.inference_mode():
            for vectors, batch in self._batches(samples):
                for loss, labelled in self._losses(vectors, batch):
                    total, count = total + float(loss) * labelled, count + labelled
        if not count:
            raise InputError("none of the files kept for early stopping can be read")
        return total / count

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Any, list[Sample]]]:
        """Pictures and sounds are read when their batch comes: all at once would not fit."""
        for start in range(0, len(samples), self._settings.batch_size):
            some = samples[start : start + self._settings.batch_size]
            read_ones = [(value, s) for s in some if (value := _value(s, self._encoder.modality)) is not None]
            if read_ones:
                yield self._encoder.vectors([value for value, _ in read_ones]), [sample for _, sample in read_ones]

    def _losses(self, vectors: Any, batch: Sequence[Sample]) -> Iterator[tuple[Any, int]]:
        """Cross-entropy and number of labelled samples, by head."""
        import torch

        for at, (head, index) in enumerate(self._index.items()):
            rows = [row for row, sample in enumerate(batch) if sample.labels.get(head) is not None]
            if rows:
                wanted = [index[str(batch[row].labels[head])] for row in rows]
                target = torch.tensor(wanted, device=vectors.device)
                yield torch.nn.functional.cross_entropy(self._layers[str(at)](vectors[rows]), target), len(rows)


def _save(model: Any, processor: Any, result: Finetuned, out: Path) -> None:
    """Written beside its place and moved there: a kill leaves the old one, or the new one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        model.save_pretrained(written)
        processor.save_pretrained(written)
        (written / "finetune.json").write_text(json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n", "utf-8")
        written.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        written.rename(out)
    finally:
        shutil.rmtree(written, ignore_errors=True)
