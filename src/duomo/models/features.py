"""Features of samples: what encoders make of text, pictures, sound, video and plain vectors, with what is missing.

Training (`learn/`) and serving (`models/understanding.py`) both build `Features` with the encoders of this module, so
a model never meets other inputs than it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

MODALITIES = ("text", "image", "audio", "video")
"""In this order everywhere; the modalities `features.NAME` follow, sorted by name."""


@dataclass(frozen=True, slots=True)
class View:
    """What one encoder says about one modality. A modality may have several views."""

    name: str  # "text.e5", "text.ngrams", "image.efficientnet", "features.lab"
    modality: str  # "text", "image", "audio", "video" or "features.NAME"
    dim: int  # length of the vector; of a sparse view the size of the hash space
    encoder: str  # its name, e.g. "multilingual-e5-small"
    version: str  # of encoder, weights and preprocessing; features of other versions must never meet
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows with few non-zero entries, compressed: row i holds `values[starts[i]:starts[i + 1]]` at `columns[...]`."""

    starts: NDArray[np.int64]  # (rows + 1,)
    columns: NDArray[np.int64]  # (entries,), ascending within a row
    values: Floats  # (entries,)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> SparseRows:
        index = np.asarray(rows, dtype=np.int64)
        counts = self.starts[index + 1] - self.starts[index]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        entries = np.repeat(self.starts[index] - starts[:-1], counts) + np.arange(starts[-1])
        return SparseRows(starts, self.columns[entries], self.values[entries])


@dataclass(frozen=True, slots=True)
class Features:
    """Features of n samples.

    A row whose modality is missing holds zeros (no entries, when sparse) in the modality's views. What stands there
    must not matter: models read `present`.
    """

    modalities: tuple[str, ...]  # K of them
    present: Mask  # (n, K)
    dense: Mapping[str, Floats]  # view -> (n, dim) float32
    sparse: Mapping[str, SparseRows] = field(default_factory=dict)  # view -> n rows

    def __len__(self) -> int:
        return len(self.present)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Features:
        index = np.asarray(rows, dtype=np.int64)
        return Features(
            self.modalities,
            self.present[index],
            {name: view[index] for name, view in self.dense.items()},
            {name: view.take(index) for name, view in self.sparse.items()},
        )

    def only(self, modalities: Sequence[str]) -> Features:
        """The same rows with every other modality missing. Values stay where they are: models must not read them."""
        kept = np.array([name in modalities for name in self.modalities])
        return Features(self.modalities, self.present & kept, self.dense, self.sparse)
