"""Hearing and reading: word and character errors by set, false hearing in noise, time, and Tesseract where installed.

    python bench/perception.py [--data ../shared/data] [speech] [windows] [noise] [ocr] [real]

Errors are Levenshtein distance over the reference's length: words in English, characters in Chinese, after dropping
case and punctuation and writing the digits 0-10 as figures. Seconds are of processor time on one thread.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import common
import numpy as np
import rendering
from numpy.typing import NDArray
from PIL import Image

from duomo.models.ocr import PPOCR
from duomo.models.speech import Whisper

SPEECH = {"en_sentences": 99, "zh_sentences": 99, "zh_words": 100, "telephony_prompts": 100, "speechocean": 92}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DIGITS = {word: str(i) for i, word in enumerate(NUMBERS)}
TRANSCRIPTIONS = Path(__file__).parent / "transcriptions.json"


def records(data: Path, name: str) -> list[dict[str, Any]]:
    with (data / "speech" / name / "manifest.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def waveform(file: Path) -> NDArray[np.float32]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(file)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return (np.concatenate([frame.to_ndarray().ravel() for frame in frames]) / 32768).astype(np.float32)


def units(text: str, language: str) -> list[str]:
    text = text.lower().replace("'", "").replace("’", "")
    if language == "zh":
        return re.findall(r"\w", text)
    return [DIGITS.get(word, word) for word in re.sub(r"(\d)", r" \1 ", re.sub(r"[^\w]", " ", text)).split()]


def distance(reference: Sequence[str], found: Sequence[str]) -> int:
    """Levenshtein's, a row of the table at a time."""
    codes = {unit: i for i, unit in enumerate({*reference, *found})}
    got = np.array([codes[unit] for unit in found], dtype=np.int64)
    columns = np.arange(len(found) + 1)
    row = columns.copy()
    for i, unit in enumerate(reference, 1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (got != codes[unit]))
        # An insertion costs one more than the cell to the left, however far its own value came from.
        row = np.minimum.accumulate(np.concatenate([[i], changed]) - columns) + columns
    return int(row[-1])


def speech_figures(data: Path, whisper: Whisper, *, limit: int | None = None, forced: bool = False) -> dict[str, Any]:
    figures = {}
    for name, count in SPEECH.items():
        errors = total = right_language = 0
        heard_s, spent_s = 0.0, 0.0
        chosen = records(data, name)[: limit or count]
        for record in chosen:
            sound = waveform(data / "speech" / record["file"])
            began = time.process_time()
            found = whisper.transcribe(sound, language=record["lang"] if forced else None)
            spent_s += time.process_time() - began
            heard_s += len(sound) / 16_000
            reference = units(record["text"], record["lang"])
            errors += distance(reference, units(found.text, record["lang"]))
            total += len(reference)
            right_language += found.language == record["lang"]
        figures[name] = {
            "clips": len(chosen),
            "error": round(errors / total, 4),
            "language_right": round(right_language / len(chosen), 3),
            "real_time_factor": round(spent_s / heard_s, 3),
        }
    return figures


def window_figures(data: Path, whisper: Whisper) -> dict[str, Any]:
    """The encoder's silence after the speech, in seconds; 30 is the window Whisper was trained with."""
    figures, shipped = {}, Whisper.PAD_S
    for pad in (1.0, 5.0, 8.0, 30.0):
        Whisper.PAD_S = pad
        figures[str(pad)] = speech_figures(data, whisper, limit=40, forced=True)
    Whisper.PAD_S = shipped
    return figures


def noise_figures(data: Path, whisper: Whisper) -> dict[str, Any]:
    figures = {}
    for name in ("esc10", "noise"):
        chosen = records(data, name)[::4] if name == "esc10" else records(data, name)
        # Babies and people sneezing use their voices: left out.
        chosen = [r for r in chosen if not re.search("baby|sneez|people|cry", str(r.get("label", r.get("kind"))), re.I)]
        said = [whisper.transcribe(waveform(data / "speech" / record["file"])).text for record in chosen]
        figures[name] = {"clips": len(said), "heard_something": sum(map(bool, said)), "texts": [t for t in said if t]}
    return figures


def tesseract(image: Image.Image, language: str) -> str | None:
    if shutil.which("tesseract") is None:
        return None
    picture = Path("/dev/shm/duomo-bench.png")
    image.save(picture)
    names = {"zh": "chi_sim", "en": "eng"}
    command = ["tesseract", str(picture), "-", "-l", names[language], "--psm", "6"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    picture.unlink()
    return found.stdout if found.returncode == 0 else None


def letters(text: str) -> list[str]:
    return list(re.sub(r"\s", "", text))


def ocr_figures(data: Path, reader: PPOCR) -> dict[str, Any]:
    texts = {}
    for language in ("zh", "en"):
        with gzip.open(data / f"faq-{language}/help_center/corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            pages = [" ".join(json.loads(line)["text"].split()) for line in lines]
        texts[language] = [text for text in pages if 200 < len(text) < 4000][::40][:12]
    figures: dict[str, Any] = {}
    for language, pages in texts.items():
        for layout in ("page", "screen"):
            for look in ("clean", "turned 7 degrees", "noisy", "photographed"):
                figures[f"{language} {layout} {look}"] = rendered(pages, language, layout, look, reader)
    return figures


def rendered(pages: list[str], language: str, layout: str, look: str, reader: PPOCR) -> dict[str, Any]:
    rng = np.random.default_rng(11)
    errors = rival_errors = total = 0
    rivals = 0
    spent = []
    for index in range(6):
        if layout == "page":
            image, shown = rendering.page(pages[index], rng)
        else:
            image, shown = rendering.screen([text[:40] for text in pages], rng)
        if look == "turned 7 degrees":
            image = rendering.turned(image, 7)
        elif look == "noisy":
            image = rendering.noisy(image, rng)
        elif look == "photographed":
            image = rendering.photographed(image, rng)
        reference = letters("".join(shown))
        began = time.process_time()
        found = reader.read(np.asarray(image.convert("RGB"))).text
        spent.append(time.process_time() - began)
        errors += distance(reference, letters(found))
        total += len(reference)
        rival = tesseract(image, language)
        if rival is not None:
            rivals += 1
            rival_errors += distance(reference, letters(rival))
    return {
        "pictures": len(spent),
        "character_error": round(errors / total, 4),
        "tesseract_character_error": round(rival_errors / total, 4) if rivals else None,
        "seconds_p50": round(float(np.median(spent)), 2),
    }


def real_figures(data: Path, reader: PPOCR) -> dict[str, Any]:
    """Recall of words a person typed from real pictures, and the time of all real pictures."""
    figures: dict[str, Any] = {}
    if TRANSCRIPTIONS.exists():
        words = found = rival_found = 0
        for name, text in json.loads(TRANSCRIPTIONS.read_text(encoding="utf-8")).items():
            image = Image.open(data / "images" / name).convert("RGB")
            seen = "".join(reader.read(np.asarray(image)).text.split()).lower()
            rival = "".join((tesseract(image, "en") or "").split()).lower()
            wanted = text.lower().split()
            words += len(wanted)
            found += sum(word in seen for word in wanted)
            rival_found += sum(word in rival for word in wanted)
        figures["typed_words"] = {
            "words": words,
            "recall": round(found / words, 4),
            "tesseract_recall": round(rival_found / words, 4) if shutil.which("tesseract") else None,
        }
    for folder in ("screenshots", "doc_figures", "products/validation"):
        files = sorted((data / "images" / folder).rglob("*.jpg"))[::3][:25]
        spent, lines = [], []
        for file in files:
            pixels = np.asarray(Image.open(file).convert("RGB"))
            began = time.process_time()
            lines.append(len(reader.read(pixels).lines))
            spent.append(time.process_time() - began)
        figures[folder] = {
            "pictures": len(files),
            "lines_p50": float(np.median(lines)),
            "seconds_p50": round(float(np.median(spent)), 2),
            "seconds_p95": round(float(np.percentile(spent, 95)), 2),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["speech", "windows", "noise", "ocr", "real"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    if not (arguments.data / "speech").is_dir():
        sys.exit(f"{arguments.data} has no speech; give the folder of the benchmark data with --data")
    result = common.RESULTS / "perception.json"
    figures = json.loads(result.read_text(encoding="utf-8"))["figures"] if result.exists() else {}
    for part in arguments.parts:
        if part in ("speech", "windows", "noise"):
            measure = {"speech": speech_figures, "windows": window_figures, "noise": noise_figures}[part]
            figures[part] = measure(arguments.data, Whisper())
        else:
            figures[part] = {"ocr": ocr_figures, "real": real_figures}[part](arguments.data, PPOCR())
        print(part, json.dumps(figures[part], indent=1, ensure_ascii=False), flush=True)
        common.write("perception", what=(__doc__ or "").splitlines()[0], figures=figures, data="speech, images, faq-*")


if __name__ == "__main__":
    main()
