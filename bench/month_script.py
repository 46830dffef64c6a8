"""The customers of a simulated month: who writes, says and shows what in which week.

Their words are `month_phrases/*.txt` and their screens those of other apps, apart from what the shipped model was
trained on; voices and photographs are drawn anew. Same seed, same month.
"""

from __future__ import annotations

import html
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))

import make_demo_samples as demo  # noqa: E402
import phrases  # noqa: E402

SEED = 2026
WEEKS = 5
HIDDEN_FROM = 2  # week in which customers begin to ask for what nobody foresaw
COMMON = {
    "track_order": 9, "delivery_time": 8, "refund_status": 7, "return_item": 6, "wifi_setup": 6, "error_code": 6,
    "product_usage": 6, "coupon": 5, "payment_failed": 5, "damaged_on_arrival": 5, "warranty": 4, "invoice": 4,
    "installation_booking": 5, "trade_in": 5, "other": 4, "safety_hazard": 2,
}  # fmt: skip
"""How many of a hundred or so conversations are about it; about all others 3."""
VOICE, PICTURE = 0.18, 0.28  # share of the turns
SECOND = 0.12  # of the conversations go on with another question
NOTES, SCREENS, PHOTOS = 3, 4, 5  # voice notes, screens of an intent and language; photographs of an intent


@dataclass(frozen=True, slots=True)
class Turn:
    """
    Attributes:
        line: the way of asking; several turns share one.
        picture, voice: files of the media folder.
    """

    intent: str
    line: str
    text: str = ""
    picture: str | None = None
    voice: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(name for name in (self.picture, self.voice) if name)


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    week: int  # from 1
    language: phrases.Language
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Screen:
    name: str
    language: phrases.Language
    rows: Sequence[str]  # the first is the app's title
    style: str
    dark: bool


@dataclass(frozen=True, slots=True)
class Media:
    """What can be sent, by (intent, language)."""

    notes: Mapping[tuple[str, str], Sequence[demo.Said]]
    screens: Mapping[tuple[str, str], Sequence[Screen]]
    photos: Mapping[str, Sequence[str]]  # by intent: names


def grammars() -> dict[str, phrases.Grammar]:
    return {
        language: phrases.read(HERE / "month_phrases" / f"{language}.txt", name="month") for language in ("zh", "en")
    }


def media(seed: int = SEED) -> Media:
    notes: dict[tuple[str, str], list[demo.Said]] = {}
    screens: dict[tuple[str, str], list[Screen]] = {}
    photos: dict[str, list[str]] = {}
    shown = _screens()
    for language, grammar in grammars().items():
        for intent, lines in grammar.lines.items():
            random = Random(f"{seed} media {language} {intent}")
            notes[intent, language] = [_note(grammar, lines, number, random) for number in range(NOTES)]
            for number in range(SCREENS if (intent, language) in shown else 0):
                rows = random.choice(shown[intent, language])
                filled = [
                    phrases.say(grammar, phrases.Line("", intent, grammar.language, row, "normal"), random)
                    for row in rows
                ]
                style = random.choice(("bubbles", "list", "dialog"))
                screen = Screen(f"{language}-{intent}-{number}", grammar.language, filled, style, random.random() < 0.3)
                screens.setdefault((intent, language), []).append(screen)
    for intent, kind in demo.PHOTOS_OF.items():
        photos[intent] = [f"{kind}-{intent}-{number}" for number in range(PHOTOS)]
    return Media(notes, screens, photos)


def _note(grammar: phrases.Grammar, lines: Sequence[phrases.Line], number: int, random: Random) -> demo.Said:
    for _ in range(60):
        line = random.choice(lines)
        text, urgency = phrases.customer(grammar, line, random, rough=0.0)
        text = text.replace("🙏", "")
        if demo.speakable(text, grammar.language):
            break
    speaker = random.choice(demo.SPEAKERS[grammar.language])
    speed = round(random.uniform(0.9, 1.25), 2)
    return demo.Said(f"{line.id}:{number}", line, urgency, False, spoken=text, speaker=speaker, speed=speed)


def _screens() -> dict[tuple[str, str], list[list[str]]]:
    found: dict[tuple[str, str], list[list[str]]] = {}
    here: list[list[str]] = []
    for text in (HERE / "month_phrases" / "screens.txt").read_text(encoding="utf-8").splitlines():
        if text.startswith("["):
            language, intent = text[1:-1].split()
            here = found.setdefault((intent, language), [])
        elif text and not text.startswith("# "):
            here.append(text.split("|"))
    return found


# The month ----------------------------------------------------------------------------------------------------------


def script(conversations: int, *, seed: int = SEED) -> list[Conversation]:
    """All conversations, week after week."""
    random = Random(f"{seed} month")
    stock, available = grammars(), media()
    return [
        _conversation(f"c{number:05}", 1 + number * WEEKS // conversations, stock, available, random)
        for number in range(conversations)
    ]


def afterwards(conversations: int, *, seed: int = SEED) -> list[Conversation]:
    """Who comes when the month is over: nobody labels them, all models are measured on them."""
    random = Random(f"{seed} afterwards")
    stock, available = grammars(), media()
    return [_conversation(f"a{number:05}", WEEKS + 1, stock, available, random) for number in range(conversations)]


def _conversation(
    id: str, week: int, stock: Mapping[str, phrases.Grammar], available: Media, random: Random
) -> Conversation:
    language: phrases.Language = random.choice(("zh", "zh", "zh", "en", "en"))
    intents = [name for name in stock[language].lines if week >= HIDDEN_FROM or name not in hidden()]
    weights = [COMMON.get(name, 3) for name in intents]
    (intent,) = random.choices(intents, weights)
    turns = [_turn(stock[language], available, intent, random)]
    if random.random() < SECOND:
        (another,) = random.choices(intents, weights)
        turns.append(_written(stock[language], another, random))
    return Conversation(id, week, language, tuple(turns))


def hidden() -> frozenset[str]:
    return frozenset(one["name"] for one in demo.intents() if one["hidden"])


def _turn(grammar: phrases.Grammar, available: Media, intent: str, random: Random) -> Turn:
    drawn = random.random()
    if drawn < VOICE:
        note = random.choice(available.notes[intent, grammar.language])
        return Turn(intent, note.line.id, voice=f"{note.voice}.ogg")
    pictures = [f"{screen.name}.webp" for screen in available.screens.get((intent, grammar.language), ())]
    photos = [f"{name}.webp" for name in available.photos.get(intent, ())]
    if drawn > 1 - PICTURE and (pictures or photos):
        picture = random.choice([*pictures, *photos])
        speaks = not picture.startswith("product")  # a product by itself says nothing
        words = random.random()
        if words < 0.5 or not speaks:
            written = _written(grammar, intent, random)
            return Turn(intent, written.line, text=written.text, picture=picture)
        text = random.choice(grammar.slots["look"]) if words < 0.75 else ""
        return Turn(intent, picture, text=text, picture=picture)
    return _written(grammar, intent, random)


def _written(grammar: phrases.Grammar, intent: str, random: Random) -> Turn:
    line = random.choice(grammar.lines[intent])
    text, _ = phrases.customer(grammar, line, random)
    return Turn(intent, line.id, text=text)


# Media --------------------------------------------------------------------------------------------------------------


def prepare(folder: Path, *, python: Path | None, voices: Path | None, seed: int = SEED) -> None:
    """Draw and speak what is not in the folder yet."""
    found = media(seed)
    folder.mkdir(parents=True, exist_ok=True)
    said = [note for notes in found.notes.values() for note in notes]
    demo.speak(said, folder, python=python, voices=voices)
    screens = [screen for screens in found.screens.values() for screen in screens]
    photos = [(name, demo.PHOTOS_OF[intent]) for intent, names in found.photos.items() for name in names]
    if all((folder / f"{name}.webp").is_file() for name in [*(s.name for s in screens), *(n for n, _ in photos)]):
        return
    import demo_shots

    demo_shots.make([demo_shots.Shot(name, kind, None, seed) for name, kind in photos], folder)
    _draw([screen for screen in screens if not (folder / f"{screen.name}.webp").is_file()], folder)


def _draw(screens: Sequence[Screen], folder: Path) -> None:
    import demo_shots
    from PIL import Image

    with demo_shots.browser() as page:
        for screen in screens:
            page.set_content(_html(screen))
            page.evaluate("document.fonts.ready")
            picture = Image.open(io.BytesIO(page.screenshot(type="png"))).convert("RGB")
            fresh = folder / f".{screen.name}.webp"
            picture.save(fresh, format="WEBP", quality=60, method=6)
            os.replace(fresh, folder / f"{screen.name}.webp")


STYLES = {
    "bubbles": "p { margin: 10px 60px 10px 14px; padding: 12px 16px; border-radius: 4px 18px 18px 18px; }",
    "list": "p { margin: 0; padding: 17px 20px; border-bottom: 1px solid #8884; }",
    "dialog": "main { margin: 190px 34px; padding: 18px; border-radius: 20px; } p { padding: 6px; }",
}


def _html(screen: Screen) -> str:
    title, *rows = (html.escape(row) for row in screen.rows)
    ink, paper, card = ("#eee", "#111", "#262626") if screen.dark else ("#1b1b1b", "#ececef", "#fff")
    box = "main" if screen.style == "dialog" else "p"
    return (
        f'<!doctype html><meta charset="utf-8"><style>* {{ box-sizing: border-box; margin: 0; }}'
        f'body {{ font: 17px/1.45 "Noto Sans CJK SC", sans-serif; color: {ink}; background: {paper}; height: 844px; }}'
        f"h1 {{ font-size: 20px; padding: 54px 20px 14px; }} {box} {{ background: {card}; }} {STYLES[screen.style]}"
        f"</style><h1>{title}</h1><main>{''.join(f'<p>{row}</p>' for row in rows)}</main>"
    )


def counted(month: Sequence[Conversation]) -> Iterator[tuple[int, int, int, int, int]]:
    """By week: its number, conversations, turns, pictures, voices."""
    for week in range(1, WEEKS + 1):
        turns = [turn for talk in month if talk.week == week for turn in talk.turns]
        talks = sum(talk.week == week for talk in month)
        yield week, talks, len(turns), sum(bool(t.picture) for t in turns), sum(bool(t.voice) for t in turns)
