"""Make the samples that the demo shop's own model is trained on: texts, screens, photographs, voice notes.

    python scripts/make_demo_samples.py --speak-with ../speech/bin/python --voices ../speech/package/voices

Everything follows from the seed and from `demo_phrases/*.txt`: which lines are asked, in which words, with which
picture, in whose voice. The text of a sample is made as a live turn makes it: what was written, what our recogniser
hears in the voice note, and what our reader sees in the picture.

Writes `samples.jsonl.gz`, `heldout.jsonl.gz` and `media/` into `understanding/` of the demo scenario. Media that are
there are kept; `--texts` needs neither a browser nor a voice and writes what is said alone, to standard output. Voices
need the environment that make_demo_speech.py describes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import phrases

HERE = Path(__file__).parent
UNDERSTANDING = HERE.parent / "src/duomo/scenarios/customer_service/understanding"
SEED = 4
OTHER = "other"
SAMPLES, HELD_OUT_SAMPLES = "samples.jsonl.gz", "heldout.jsonl.gz"
HELD_OUT = 0.2  # of the lines of an intent and language
TEXTS = (4, 3)  # samples of text alone made from a line that is learnt from; from one held out
SCREENS, PHOTOS = 4, 5  # pictures of an intent and language; the last ones go with held-out lines
ELSEWHERE = 6  # screens of an intent and language in other apps than the shop's; the last one goes with a held-out line
VOICES = 4  # voice notes of an intent and language; the last one says a held-out line
SPEAKERS = {
    "zh": ("zf_xiaoxiao", "zf_xiaobei", "zf_xiaoni", "zf_xiaoyi", "zm_yunxi", "zm_yunjian", "zm_yunxia", "zm_yunyang"),
    "en": ("af_heart", "af_bella", "af_nicole", "am_michael", "am_puck", "bf_emma", "bm_george", "bm_fable"),
}
SCREENS_OF = (
    "payment_failed", "track_order", "double_charge", "wifi_setup", "coupon", "account_access", "refund_status",
    "price_protection", "invoice", "delivery_time", "cancel_order", "change_address", "pairing", "error_code",
)  # fmt: skip
PHOTOS_OF = {
    "error_code": "display",
    "damaged_on_arrival": "parcel",
    "safety_hazard": "swollen",
    "wrong_item": "product",
    "product_usage": "product",
}
"""By intent; a product alone says neither what is wrong nor what is asked."""
BIT_RATE = 14_000  # of Opus, as messengers send speech


@dataclass(frozen=True, slots=True)
class Said:
    """What a customer does: writes, speaks, shows.

    Attributes:
        written: may be empty where a file says it all.
        spoken: what the voice note says; empty: none.
        shot: (kind, language or None) of the picture; None: none.
    """

    id: str
    line: phrases.Line
    urgency: phrases.Urgency
    held_out: bool
    written: str = ""
    spoken: str = ""
    speaker: str = ""
    speed: float = 1.0
    shot: tuple[str, str | None] | None = None

    @property
    def picture(self) -> str | None:
        return None if self.shot is None else self.id.replace(":", "-").removesuffix("-alone")

    @property
    def voice(self) -> str | None:
        return self.id.replace(":", "-") if self.spoken else None


def intents() -> list[dict[str, Any]]:
    stated: list[dict[str, Any]] = json.loads((UNDERSTANDING / "intents.json").read_text(encoding="utf-8"))
    return stated


def plan(seed: int = SEED) -> list[Said]:
    """Everything that is said, the same for the same seed on every machine."""
    said: list[Said] = []
    for language in ("zh", "en"):
        grammar = phrases.read(HERE / "demo_phrases" / f"{language}.txt")
        more = phrases.read(HERE / "demo_phrases/written" / f"{language}.txt", name="w")
        for intent in [*(one["name"] for one in intents() if not one["hidden"]), OTHER]:
            random = Random(f"{seed} {language} {intent}")
            lines = list(grammar.lines[intent])
            random.shuffle(lines)
            cut = round(len(lines) * HELD_OUT)
            held_out, learnt = lines[:cut], lines[cut:]
            said += _written(grammar, learnt, held_out, random)
            kinds = [(intent, language)] * SCREENS if intent in SCREENS_OF else []
            shown = [*kinds, *([(PHOTOS_OF[intent], None)] * PHOTOS if intent in PHOTOS_OF else [])]
            said += _shown(grammar, learnt, held_out, shown, random)
            said += _spoken(grammar, learnt, held_out, random)
            if intent in SCREENS_OF:
                apart = Random(f"{seed} {language} {intent} elsewhere")
                said += _shown(grammar, learnt, held_out, [(f"elsewhere {intent}", language)] * ELSEWHERE, apart)
            lines = list(more.lines[intent])
            random.shuffle(lines)
            cut = round(len(lines) * HELD_OUT)
            said += _written(grammar, lines[cut:], lines[:cut], random)
    return said


def _written(
    grammar: phrases.Grammar, learnt: Sequence[phrases.Line], held_out: Sequence[phrases.Line], random: Random
) -> Iterable[Said]:
    for lines, times, apart in ((learnt, TEXTS[0], False), (held_out, TEXTS[1], True)):
        for line in lines:
            texts: set[str] = set()
            for number in range(1 if line.intent == OTHER else times):
                text, urgency = phrases.customer(grammar, line, random)
                if text not in texts:
                    yield Said(f"{line.id}:{number}", line, urgency, apart, written=text)
                texts.add(text)


def _shown(
    grammar: phrases.Grammar,
    learnt: Sequence[phrases.Line],
    held_out: Sequence[phrases.Line],
    kinds: Sequence[tuple[str, str | None]],
    random: Random,
) -> Iterable[Said]:
    """Each picture with a line in words, and once more with words that say nothing, or none."""
    count: dict[tuple[str, str | None], int] = {}
    for kind in kinds:
        count[kind] = count.get(kind, 0) + 1
        apart = count[kind] == kinds.count(kind)
        line = random.choice(held_out if apart else learnt)
        text, urgency = phrases.customer(grammar, line, random)
        what = kind[0] if kind[1] is None else "elsewhere" if kind[0].startswith("elsewhere ") else "screen"
        name = f"{line.id}:{what}{count[kind]}"
        yield Said(name, line, urgency, apart, written=text, shot=kind)
        if kind[0] != "product":  # a product says nothing by itself
            look = random.choice(["", "", *grammar.slots["look"]])
            usual: phrases.Urgency = "high" if line.intent == "safety_hazard" else "normal"
            yield Said(f"{name}:alone", line, usual, apart, written=look, shot=kind)


def _spoken(
    grammar: phrases.Grammar, learnt: Sequence[phrases.Line], held_out: Sequence[phrases.Line], random: Random
) -> Iterable[Said]:
    for number in range(VOICES):
        apart = number == VOICES - 1
        for _ in range(50):  # Mandarin voices do not speak Latin letters
            line = random.choice(held_out if apart else learnt)
            text, urgency = phrases.customer(grammar, line, random, rough=0.0)
            if speakable(text, grammar.language):
                break
        yield Said(
            f"{line.id}:voice{number}", line, urgency, apart, spoken=text,
            speaker=random.choice(SPEAKERS[grammar.language]), speed=round(random.uniform(0.9, 1.2), 2),
        )  # fmt: skip


def speakable(text: str, language: str) -> bool:
    return language == "en" or not any(sign.isascii() and sign.isalpha() for sign in text)


# Media --------------------------------------------------------------------------------------------------------------


def draw(said: Sequence[Said], folder: Path, *, seed: int = SEED) -> None:
    """The pictures that are not there yet, as WebP."""
    wanted = {one.picture: one.shot for one in said if one.shot is not None}
    wanted = {name: shot for name, shot in wanted.items() if not (folder / f"{name}.webp").is_file()}
    if wanted:
        import demo_shots

        demo_shots.make(
            [demo_shots.Shot(str(name), shot[0], shot[1], seed) for name, shot in wanted.items() if shot], folder
        )


def speak(said: Sequence[Said], folder: Path, *, python: Path | None, voices: Path | None) -> None:
    """The voice notes that are not there yet, as Ogg/Opus."""
    wanted = [one for one in said if one.voice and not (folder / f"{one.voice}.ogg").is_file()]
    if not wanted:
        return
    if python is None or voices is None:
        raise SystemExit(f"{len(wanted)} voice notes are missing; name --speak-with and --voices to make them")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        waves = Path(temporary)
        lines = "".join(
            json.dumps(
                {"file": str(waves / f"{one.voice}.wav"), "text": one.spoken, "language": one.line.language,
                 "voice": one.speaker, "speed": one.speed}, ensure_ascii=False
            ) + "\n"
            for one in wanted
        )  # fmt: skip
        (waves / "lines.jsonl").write_text(lines, encoding="utf-8")
        command = [str(python), str(HERE / "speak_demo_lines.py"), str(waves / "lines.jsonl"), "--voices", str(voices)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for one in wanted:
            to_opus(waves / f"{one.voice}.wav", folder / f"{one.voice}.ogg")


def to_opus(wave: Path, file: Path) -> None:
    """What a messenger makes of a voice note."""
    import av
    import numpy as np

    with av.open(str(wave)) as source:
        frames = [frame.to_ndarray() for frame in source.decode(audio=0)]
    samples = np.concatenate(frames, axis=1)
    whole = io.BytesIO()
    with av.open(whole, "w", format="ogg") as target:
        stream = target.add_stream("libopus", rate=16000, layout="mono")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            target.mux(packet)
    fresh = file.with_suffix(".part")
    fresh.write_bytes(whole.getvalue())
    os.replace(fresh, file)


# Samples ------------------------------------------------------------------------------------------------------------


class Perceived:
    """What was heard and read in files before, so that a second run is quick."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: dict[str, list[dict[str, Any]]] = {}
        if file is not None and file.is_file():
            self._found = json.loads(file.read_text(encoding="utf-8"))
        self._perception: Any = None

    def artifacts(self, path: Path, language: str) -> list[Any]:
        """As the live service makes them: cleaned in the sandbox, then heard or read."""
        from duomo.models.perceive import load_perception
        from duomo.support.conversation import Settings
        from duomo.support.perceive import clean_file, look
        from duomo.types import Artifact

        if path.name not in self._found:
            self._perception = self._perception or load_perception()
            clean = clean_file(path.read_bytes(), Settings.of({}))
            found, _ = look(self._perception, clean, "zh" if language == "zh" else "en")
            kept = ("kind", "text", "confidence", "model", "version")
            self._found[path.name] = [{name: getattr(artifact, name) for name in kept} for artifact in found]
            if len(self._found) % 20 == 0:
                self.save()
        return [Artifact(**one, duration_ms=0, data={}) for one in self._found[path.name]]

    def save(self) -> None:
        if self._file is None:
            return
        fresh = self._file.with_suffix(".part")
        fresh.write_text(json.dumps(self._found, ensure_ascii=False, indent=0), encoding="utf-8")
        os.replace(fresh, self._file)


def sample(one: Said, media: Path, perceived: Perceived) -> dict[str, Any]:
    """A line of samples.jsonl."""
    from duomo.support.answer import search_text
    from duomo.support.turn import compose

    artifacts = []
    row: dict[str, Any] = {"id": one.id}
    for name, suffix, key in ((one.picture, "webp", "image"), (one.voice, "ogg", "audio")):
        if name is not None:
            file = media / f"{name}.{suffix}"
            artifacts += perceived.artifacts(file, one.line.language)
            row[key] = f"{media.name}/{file.name}"
    text = search_text(compose([one.written], artifacts, language=one.line.language))
    if text:
        row["text"] = text
    row["group"], row["split"] = one.line.id, "test" if one.held_out else "train"
    row["labels"] = {"intent": one.line.intent, "urgency": one.urgency}
    return row


def write(rows: Sequence[dict[str, Any]], file: Path) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=UNDERSTANDING)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--speak-with", type=Path, help="the Python of the environment that has voices")
    parser.add_argument("--voices", type=Path, help="folder with VOICE.bin")
    parser.add_argument("--perceived", type=Path, metavar="FILE", help="keep what was heard and read, for a next run")
    parser.add_argument("--texts", action="store_true", help="only print what is said")
    given = parser.parse_args()
    said = plan(given.seed)
    if given.texts:
        for one in said:
            print(json.dumps({"id": one.id, "written": one.written, "spoken": one.spoken}, ensure_ascii=False))
        return
    media = given.out / "media"
    draw(said, media, seed=given.seed)
    speak(said, media, python=given.speak_with, voices=given.voices)
    perceived = Perceived(given.perceived)
    rows = [sample(one, media, perceived) for one in said]
    perceived.save()
    for split, name in (("train", SAMPLES), ("test", HELD_OUT_SAMPLES)):
        write([row for row in rows if row["split"] == split], given.out / name)
    size = sum(file.stat().st_size for file in media.iterdir()) / 1e6
    print(f"{len(rows)} samples, {sum(1 for _ in media.iterdir())} media of {size:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
