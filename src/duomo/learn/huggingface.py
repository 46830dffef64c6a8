"""Any Hugging Face checkpoint of text, pictures or sound as an encoder. Needs the extra [finetune].

Only configuration and safetensors are read: no code that comes with a checkpoint runs, nothing is unpickled, and
nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from duomo.errors import ConfigError, MediaError
from duomo.models.encoders import Value
from duomo.models.features import Floats, View

MODALITIES = ("text", "image", "audio")
LONGEST_TEXT = 512  # tokens, where the model takes as many
WINDOW_S = 20.0  # longer sounds are heard in equal parts no longer than this
SHORTEST = 1600  # samples; below, the convolutions in front of speech models have nothing to say
_SAMPLING_RATE = 16_000

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model",
                 "tokenizer.model")  # fmt: skip
EXTRA = "Run `pip install 'duomo[finetune]'`, or from a checkout `python3 bootstrap.py finetune`."


class Checkpoint:
    """One checkpoint for one modality: the mean of its last layer over what the input fills.

    A model with a tower for each of two modalities (CLIP, SigLIP) gives the vector it compares them by.
    """

    def __init__(self, source: str, *, modality: str) -> None:
        """
        Args:
            source: a folder, or a hub name that was downloaded before.
        Raises:
            ConfigError: not there; without safetensors; of an architecture that needs code of its own.
        """
        if modality not in MODALITIES:
            raise ConfigError(
                f"the encoder of {modality} cannot be a checkpoint; accepted for {', '.join(MODALITIES)}. Leave it out."
            )
        self.modality, self.source = modality, source
        self.folder = locate(source)
        if modality == "text" and not any((self.folder / name).is_file() for name in _VOCABULARIES):
            # `transformers` would make an empty tokeniser, to which every word is unknown
            raise ConfigError(f"{source} has no vocabulary; it needs one of {', '.join(_VOCABULARIES)}")
        self._version = version_of(self.folder)
        self._lock = threading.Lock()
        self.model, self.processor = self._load()
        self._length = _longest(self.model.config, self.processor) if modality == "text" else 0
        dim = int(self.vectors([_example(modality)]).shape[1])
        self.view = View(f"{modality}.hf", modality, dim, _name(source), self._version)

    def encode(self, value: Value) -> Floats:
        import torch

        with self._lock, torch.inference_mode():  # a model in training mode elsewhere would drop out
            parts = _windows(value) if self.modality == "audio" and not isinstance(value, str) else [value]
            vectors = np.concatenate([self.vectors([part]).cpu().numpy() for part in parts])
        return np.asarray(vectors.mean(axis=0), dtype=np.float32)

    def vectors(self, values: Sequence[Any]) -> Any:
        """(values, dim) tensor, on the model's device; differentiable outside of `torch.inference_mode`."""
        inputs, filled = self._inputs(values)
        tower = getattr(
            self.model, {"text": "get_text_features", "image": "get_image_features"}.get(self.modality, ""), None
        )
        if tower is not None:
            found = tower(**inputs)
            return found if hasattr(found, "shape") else found.pooler_output
        model = self.model.get_encoder() if self.model.config.is_encoder_decoder else self.model
        states = model(**inputs).last_hidden_state
        if states.ndim == 4:  # (values, channels, height, width) of a convolutional network
            return states.mean(dim=(2, 3))
        return _mean(states, filled)

    def _inputs(self, values: Sequence[Any]) -> tuple[Mapping[str, Any], Any]:
        """What the model takes, and (values,) or (values, tokens): the share, or which, of the positions is filled."""
        import torch

        if self.modality == "text":
            batch = self.processor(
                list(values), padding=True, truncation=True, max_length=self._length, return_tensors="pt"
            )
            filled = batch["attention_mask"]
        elif self.modality == "image":
            batch = self.processor(images=list(values), return_tensors="pt", input_data_format="channels_last")
            filled = torch.ones(len(values))
        else:
            sounds = [np.pad(value, (0, max(0, SHORTEST - len(value)))) for value in values]
            batch = self.processor(
                sounds,
                sampling_rate=_SAMPLING_RATE,
                padding=self._padding(),
                return_attention_mask=True,
                return_tensors="pt",
            )
            filled = batch["attention_mask"].float().mean(dim=1)
            if not self._masked():
                del batch["attention_mask"]
        device = next(self.model.parameters()).device
        return {name: tensor.to(device) for name, tensor in batch.items()}, filled.to(device)

    def _padding(self) -> str | bool:
        # Whisper's encoder takes 30 s whatever the sound; the others as many as the longest of the batch.
        return "max_length" if self.model.config.is_encoder_decoder else True

    def _masked(self) -> bool:
        """Whether the model was trained with a mask: wav2vec 2.0 with group norm was not."""
        if self.model.config.is_encoder_decoder:
            return False
        return getattr(self.model.config, "feat_extract_norm", "layer") != "group"

    def _load(self) -> tuple[Any, Any]:
        transformers = library()
        options = {"local_files_only": True, "trust_remote_code": False}
        reader = {
            "text": transformers.AutoTokenizer,
            "image": transformers.AutoImageProcessor,
            "audio": transformers.AutoFeatureExtractor,
        }[self.modality]
        try:
            processor = reader.from_pretrained(str(self.folder), **options)
            model = transformers.AutoModel.from_pretrained(str(self.folder), use_safetensors=True, **options)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            reason = str(error).strip().splitlines()
            raise ConfigError(
                f"{self.source} cannot be loaded as an encoder of {self.modality}: {reason[0] if reason else error!r}"
            ) from None
        return model.float().to(device()).eval(), processor


def library() -> Any:
    """`transformers`, told to stay offline and quiet.

    Raises:
        ConfigError: the extra is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError:
        raise ConfigError(f"a checkpoint as encoder needs `transformers`, which is not installed. {EXTRA}") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def locate(source: str) -> Path:
    """The folder of a checkpoint.

    Raises:
        ConfigError: neither a folder nor in the local cache of downloads; or without safetensors.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _downloaded(source)
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{source} holds no config.json; name the folder of a Hugging Face checkpoint")
    if not list(folder.glob("*.safetensors")):
        raise ConfigError(
            f"{source} has no *.safetensors, and other formats may run code when read. Convert it: "
            "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    return folder


def _downloaded(source: str) -> Path:
    library()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise ConfigError(
            f"{source} is neither a folder nor downloaded before. Where there is a network, run "
            f"`hf download {source} --local-dir FOLDER`, copy the folder here and set `encoder: FOLDER`."
        ) from None


def version_of(folder: Path) -> str:
    """12 hex digits of the hash of configuration and weights: the same files, the same features."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        # what fine-tuning says of itself changes no vector
        if file.suffix in (".json", ".safetensors", ".txt", ".model") and file.name != "finetune.json":
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()[:12]


def _name(source: str) -> str:
    path = Path(source)
    return path.name if path.is_dir() else source


def _longest(config: Any, tokenizer: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None) or LONGEST_TEXT
    if getattr(config, "position_embedding_type", "") == "absolute" and getattr(config, "model_type", "") in (
        "roberta", "xlm-roberta", "camembert", "mpnet",
    ):  # fmt: skip
        positions -= 2  # they count from behind the padding's number
    return int(min(LONGEST_TEXT, positions, tokenizer.model_max_length))


def _example(modality: str) -> Any:
    if modality == "text":
        return "a"
    if modality == "image":
        return np.zeros((32, 32, 3), dtype=np.uint8)
    return np.zeros(_SAMPLING_RATE, dtype=np.float32)


def _windows(waveform: Any) -> list[Any]:
    parts = max(1, int(np.ceil(len(waveform) / (WINDOW_S * _SAMPLING_RATE))))
    return list(np.array_split(waveform, parts))


def _mean(states: Any, filled: Any) -> Any:
    """(values, positions, dim) -> (values, dim) over the filled positions; a share means the first ones."""
    import torch

    if filled.ndim == 1:
        count = torch.clamp(torch.ceil(filled * states.shape[1] - 1e-4), min=1)
        filled = torch.arange(states.shape[1], device=states.device)[None, :] < count[:, None]
    weight = filled.to(states.dtype)[:, :, None]
    if not bool(weight.any()):
        raise MediaError("the input is empty for this encoder")
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
