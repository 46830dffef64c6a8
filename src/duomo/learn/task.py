"""The description of a task: which heads to predict, from which modalities, fused and trained how (`task.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

HeadType = Literal["class", "multilabel", "number"]
Fusion = Literal["auto", "early", "intermediate", "late", "unimodal"]
Operator = Literal["concat", "sum", "gated", "low_rank", "tensor", "cross_attention", "bottleneck"]
Mode = Literal["supervised", "semi-supervised", "self-supervised"]
Balance = Literal["none", "g_blend", "ogm_ge", "mmpareto"]
Finetune = Literal["none", "lora", "full"]


@dataclass(frozen=True, slots=True)
class Head:
    """One thing to predict."""

    name: str
    type: HeadType = "class"
    labels: tuple[str, ...] = ()  # empty: those of the training samples, sorted
    out_of_scope: str | None = None  # the label that says that none of the others fits
    class_weights: Literal["none", "balanced"] = "none"
    weight: float = 1.0  # of this head's loss beside the others'
    loss: Literal["mse", "huber"] = "mse"  # of a number head


@dataclass(frozen=True, slots=True)
class ModalityOptions:
    """How one modality becomes features."""

    encoder: str = "default"  # or a Hugging Face checkpoint: a local folder or a hub name
    finetune: Finetune = "none"
    stop_words: bool = False  # text: leave function words out of the n-grams


@dataclass(frozen=True, slots=True)
class Training:
    mode: Mode = "supervised"
    unlabelled: str | None = None  # samples file, relative to task.yaml
    validation: str | None = None  # samples file; without it a tenth of the groups is kept apart
    balance: Balance = "none"
    modality_dropout: float = 0.3  # [0, 1), chance that a sample loses a modality; never all
    label_smoothing: float = 0.0  # [0, 1)
    hidden: int = 128  # width of every modality's adapter
    epochs: int = 60  # at most; early stopping ends sooner
    patience: int = 8  # epochs without a better validation loss
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    heads: tuple[Head, ...]
    modalities: Mapping[str, ModalityOptions] = field(default_factory=dict)  # empty: whatever the samples hold
    fusion: Fusion = "auto"
    operator: Operator = "gated"  # of intermediate fusion
    preset: Literal["article"] | None = None
    group: str = "group"  # the samples' field that must not cross a split
    context: int = 0  # earlier turns of the conversation to read
    training: Training = Training()
