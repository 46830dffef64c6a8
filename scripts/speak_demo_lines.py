"""Speak lines, for make_demo_samples.py and the simulated month. Runs in the environment of make_demo_speech.py:

    python scripts/speak_demo_lines.py LINES.jsonl --voices package/voices

A line is {"file", "text", "language", "voice", "speed"}; `file` is written as 16 kHz WAV unless it is there. Chinese is
spoken by Kokoro-82M's Mandarin voices; English by its English ones, from the phonemes of hibari-tts. Both are
Apache-2.0.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import soundfile
from make_demo_speech import RATE, SYNTHESIS_RATE, Kokoro, to_16k

LONGEST = 500  # phonemes that Kokoro takes at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--voices", type=Path, required=True)
    given = parser.parse_args()
    import hibari

    kokoro, english = Kokoro(given.voices), hibari.Hibari()
    for text in given.lines.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        file = Path(line["file"])
        if file.is_file():
            continue
        said = (
            kokoro.phonemize(line["text"])[0] if line["language"] == "zh" else " ".join(english.phonemize(line["text"]))
        )
        waveform = speak(kokoro, said, voice=line["voice"], speed=float(line["speed"]))
        fresh = file.with_suffix(".part.wav")
        soundfile.write(fresh, to_16k(waveform, SYNTHESIS_RATE), RATE)
        os.replace(fresh, file)


def speak(kokoro: Kokoro, phonemes: str, *, voice: str, speed: float) -> np.ndarray:
    """(samples,) float32 at 24 kHz."""
    ids = [kokoro.vocabulary[p] for p in phonemes if p in kokoro.vocabulary][:LONGEST]
    styles = np.fromfile(kokoro.voices / f"{voice}.bin", dtype=np.float32).reshape(-1, 1, 256)
    values = {
        "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
        "style": styles[len(ids)],
        "speed": np.array([speed], dtype=np.float32),
    }
    return np.asarray(kokoro.session.run(None, values)[0], dtype=np.float32).ravel()


if __name__ == "__main__":
    main()
