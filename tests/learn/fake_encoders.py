"""Encoders that can be worked out by hand, and a model over them in which every unit's effect is known."""

from dataclasses import dataclass

import numpy as np

from duomo.learn.explain import Served
from duomo.media.video import Clip
from duomo.models.features import Features
from duomo.models.understanding import HeadInfo, Understanding
from duomo.types import Sample
from tests.models.linear_core import LinearCore

KEYWORDS = ("refund", "broken", "please", "退款")
MODALITIES = ("text", "image", "audio", "video", "features.lab")
WIDTHS = {"text": 4, "image": 4, "audio": 8, "video": 2, "features.lab": 3}


@dataclass
class FakeEncoders:
    """text: which keyword stands in it; image: brightness of the quarters; audio: energy of each 0.25 s up to 2 s;
    video: number of frames and energy of its sound.

    Attributes:
        values: sample id -> modality -> value.
    """

    values: dict[str, dict[str, object]]
    asked: int = 0

    def value(self, sample: Sample, modality: str):
        return self.values[sample.id].get(modality)

    def encode(self, modality: str, value):
        self.asked += 1
        made = value if modality == "features.lab" else getattr(self, modality)(value)
        return {modality: np.asarray(made, dtype=np.float32)}

    def features(self, rows) -> Features:
        present = np.array([[m in row for m in MODALITIES] for row in rows])
        dense = {
            m: np.stack([row[m][m] if m in row else np.zeros(width) for row in rows]).astype(np.float32)
            for m, width in WIDTHS.items()
        }
        return Features(MODALITIES, present, dense)

    def text(self, value: str):
        return [word in value.lower() for word in KEYWORDS]

    def image(self, pixels):
        top, bottom = np.array_split(pixels.astype(float) / 255, 2)
        return [part.mean() for half in (top, bottom) for part in np.array_split(half, 2, axis=1)]

    def audio(self, waveform):
        return [float(np.square(part).mean()) for part in np.split(np.resize(waveform, 32000), 8)]

    def video(self, clip: Clip):
        return [len(clip.frames), 0 if clip.waveform is None else float(np.square(clip.waveform).mean())]


HEADS = {
    "intent": HeadInfo("intent", "class", ("money", "repair"), (0.5, 0.5)),
    "price": HeadInfo("price", "number", (), (10.0, 4.0)),
}


def weights(*effects: float) -> np.ndarray:
    """Half of each effect for the first label, half against the second: log-odds change by the effect."""
    return np.stack([np.array(effects) / 2, -np.array(effects) / 2], axis=1)


def model(values: dict[str, dict[str, object]]) -> Served:
    intent = {
        "text": weights(3, -2, 0.5, 4),
        "image": weights(2, 0, 0, -1),
        "audio": weights(0, 0, 5, 0, 0, 0, 0, -1),
        "video": weights(0.5, 3),
        "features.lab": weights(1, -1, 0),
    }
    price = {name: matrix[:, :1] for name, matrix in intent.items()}
    core = LinearCore(HEADS, {"intent": intent, "price": price})
    return Served(Understanding(core, HEADS, MODALITIES), FakeEncoders(values))
