from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


def recording(name: str) -> NDArray[np.float32]:
    """A mono 16 kHz file of `data/` as float32 in [-1, 1]."""
    with av.open(str(DATA / name)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return (np.concatenate(frames) / 32768).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(seconds * 16_000), dtype=np.float32)
