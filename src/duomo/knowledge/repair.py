"""Put right what a recogniser wrote for the workspace's own words: 收获地址 -> 收货地址, "el tee h three" -> "LT-H3".

A recogniser spells a word it does not expect by one that sounds the same. Two searches undo that. Chinese: a stretch
of the transcript that the knowledge never contains, but that sounds like one of its terms. Codes: letters and numbers
spelled out, in either language. A wrong repair is worse than none, so the rules ask for more the shorter a term is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise

from pypinyin import lazy_pinyin

from duomo.media.text import CJK, fuzzy_syllable

SHORTEST, LONGEST = 2, 8  # characters of a Chinese term
CODE_WORDS = 8  # of a transcript that may spell one code

_HAN_RUN = re.compile(f"[{CJK}]+")
_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z0-9-]*\d)(?=[A-Za-z0-9-]*[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?![A-Za-z0-9])"
)
_SPOKEN = re.compile(r"(?!dash|hyphen)[A-Za-z]+|\d+|[零〇一二两三四五六七八九幺十百]+")
_GAP = re.compile(r"(?:[\s\-·、,]|(?<!\d)\.|横?杠|dash|hyphen)*", re.IGNORECASE)

_LETTERS: Mapping[str, str] = {
    "ay": "A", "bee": "B", "dee": "D", "eff": "F", "ef": "F", "gee": "G", "jee": "G", "aitch": "H", "haitch": "H",
    "jay": "J", "kay": "K", "el": "L", "ell": "L", "em": "M", "en": "N", "pee": "P", "cue": "Q", "ess": "S", "tee": "T",
    "vee": "V", "doubleyou": "W", "zee": "Z", "zed": "Z",
}  # fmt: skip
_WORDS: Mapping[str, str] = {
    "a": "A", "be": "B", "see": "C", "sea": "C", "he": "E", "i": "I", "eye": "I", "oh": "O0", "o": "O0", "queue": "Q",
    "are": "R", "tea": "T", "you": "U", "ex": "X", "why": "Y", "to": "2", "too": "2", "for": "4", "ate": "8",
}  # fmt: skip
"""Names of letters and digits that are also everyday words, or mean either: they count only beside surer ones."""
_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS: Mapping[str, int] = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_DIGITS: Mapping[str, int] = {"零": 0, "〇": 0, "幺": 1, "两": 2} | {
    c: n for n, c in enumerate("一二三四五六七八九", 1)
}


@dataclass(frozen=True, slots=True)
class Repaired:
    text: str
    original: str
    changes: tuple[tuple[str, str], ...] = ()  # (from, to), in order


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What of a workspace's words a transcript may have meant.

    Attributes:
        terms: key (`sound` or `code_key`) -> the terms that have it, the weightiest first.
        known: those pairs of neighbouring characters of the transcript that occur in the knowledge.
        is_word: whether a Chinese string is a word of the language.
    """

    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: Set[str] = frozenset()
    is_word: Callable[[str], bool] = lambda _: False


def repair(transcript: str, lexicon: Lexicon) -> Repaired:
    """Replace what the lexicon can explain better; nothing else changes."""
    changes = sorted([*_codes(transcript, lexicon), *_sounds(transcript, lexicon)])
    text, end, done = [], 0, []
    for start, stop, term in changes:
        if start >= end:
            text += [transcript[end:start], term]
            done.append((transcript[start:stop], term))
            end = stop
    return Repaired("".join([*text, transcript[end:]]), transcript, tuple(done))


def keys(transcript: str) -> tuple[set[str], set[str]]:
    """What to look up before repairing: the keys of its terms, and its pairs of neighbouring characters."""
    wanted = {compact for _, _, compact, _ in _spelled(transcript)}
    pairs: set[str] = set()
    for run in _HAN_RUN.finditer(transcript):
        wanted.update(sound for _, _, sound in _windows(run[0]))
        pairs.update(run[0][i : i + 2] for i in range(len(run[0]) - 1))
    return wanted, pairs


def sound(term: str) -> str:
    """Folded syllables, "sou huo di zi": what a Chinese term is found by."""
    return " ".join(_syllables(term))


def code_key(code: str) -> str:
    """ "=LTH3": what a code is found by, however it is joined."""
    return "=" + re.sub(r"[^A-Z0-9]", "", code.upper())


def codes(text: str) -> list[str]:
    """Models and codes in a text: letters and digits in one word, "LT-H3", "E12"."""
    return [found for found in _CODE.findall(text) if 2 <= len(code_key(found)) - 1 <= 12]


def _syllables(text: str) -> list[str]:
    return [fuzzy_syllable(syllable) for syllable in lazy_pinyin(text, errors="ignore", v_to_u=False)]


# --- Chinese


def _windows(run: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, sound) of every stretch of a run that a term could stand for, the longest first."""
    syllables = _syllables(run)
    if len(syllables) != len(run):
        return
    for length in range(min(LONGEST, len(run)), SHORTEST - 1, -1):
        for start in range(len(run) - length + 1):
            yield start, start + length, " ".join(syllables[start : start + length])


def _sounds(transcript: str, lexicon: Lexicon) -> Iterator[tuple[int, int, str]]:
    for run in _HAN_RUN.finditer(transcript):
        taken = 0  # bits: characters already spoken for
        for start, end, heard in _windows(run[0]):
            bits = (1 << end) - (1 << start)
            window = run[0][start:end]
            terms = lexicon.terms.get(heard, ())
            if taken & bits or not terms:
                continue
            if window in terms:
                taken |= bits  # right as it stands, and so is all within
                continue
            best = next((term for term in terms if _better(run[0], start, end, term, lexicon)), None)
            if best is not None:
                taken |= bits
                yield run.start() + start, run.start() + end, best


def _better(run: str, start: int, end: int, term: str, lexicon: Lexicon) -> bool:
    window = run[start:end]
    wrong = sum(a != b for a, b in zip(window, term, strict=True))
    if all(window[i : i + 2] in lexicon.known for i in range(len(window) - 1)):
        return False  # the knowledge itself speaks so
    if lexicon.is_word(window):
        return False
    if len(term) >= 4:
        return wrong <= len(term) // 2
    # Short terms sound like much else. The wrong characters must belong to no word with what stands around them:
    # 开发漂亮 holds 发漂, which is not a misheard 发票.
    if lazy_pinyin(window) != lazy_pinyin(term):
        return False
    return not any(
        lexicon.is_word(run[left:right])
        for left in range(max(0, start - 3), end)
        for right in range(max(left + 2, start + 1), min(len(run), end + 3) + 1)
        if (left < start or right > end or len(term) == 2) and _touches(window, term, left - start, right - start)
    )


def _touches(window: str, term: str, left: int, right: int) -> bool:
    """Whether a stretch covers a character that would be changed."""
    return any(window[i] != term[i] for i in range(max(left, 0), min(right, len(window))))


# --- codes


def _spelled(transcript: str) -> Iterator[tuple[int, int, str, float]]:
    """(start, end, key, share of sure words) of every stretch that spells letters and digits, the longest first."""
    words = list(_SPOKEN.finditer(transcript))
    for length in range(min(CODE_WORDS, len(words)), 1, -1):
        for first in range(len(words) - length + 1):
            stretch = words[first : first + length]
            if not all(_GAP.fullmatch(transcript, a.end(), b.start()) for a, b in pairwise(stretch)):
                continue
            for compact, sure in _readings([word[0] for word in stretch]):
                if any(c.isdigit() for c in compact) and any(c.isalpha() for c in compact) and len(compact) <= 12:
                    yield stretch[0].start(), stretch[-1].end(), f"={compact}", sure / length


def _readings(words: Sequence[str]) -> Iterable[tuple[str, int]]:
    """(letters and digits, how many words can mean nothing else) of spoken words; none when one means neither."""
    found: list[tuple[str, int]] = [("", 0)]
    tens = False
    for word in words:
        low = word.lower()
        number = _NUMBERS.get(low)
        if number is not None and tens and 0 < number < 10:  # "twenty one" is 21, not 20 and 1
            found = [(text[:-1] + str(number), sure + 1) for text, sure in found]
            tens = False
            continue
        tens = number is not None and number >= 20
        options = _options(word, low, number)
        if not options:
            return []
        found = [(text + option, sure + certain) for text, sure in found for option, certain in options][:16]
    return found


def _options(word: str, low: str, number: int | None) -> list[tuple[str, int]]:
    if number is not None:
        return [(str(number), 1)]
    if low in _WORDS:
        return [(meaning, 0) for meaning in _WORDS[low]]
    if low in _LETTERS:
        return [(_LETTERS[low], 1)]
    if word[0] in _DIGITS or word[0] in "十百":
        return [(value, 1) for value in _chinese_number(word)]
    if low.isalpha() and len(low) <= 4 and (len(low) == 1 or word.isupper()):
        return [(low.upper(), 1)]
    if low.isdigit():
        return [(low, 1)]
    return []


def _chinese_number(word: str) -> list[str]:
    """幺二 and 十二 both may be 12; 二十一 is 21; a hundred and more is said digit by digit."""
    if "百" in word:
        return []
    if "十" not in word:
        return ["".join(str(_DIGITS[c]) for c in word)]
    before, _, after = word.partition("十")
    if len(before) > 1 or len(after) > 1 or "十" in after:
        return []
    return [str((_DIGITS[before] if before else 1) * 10 + (_DIGITS[after] if after else 0))]


def _codes(transcript: str, lexicon: Lexicon) -> Iterator[tuple[int, int, str]]:
    taken: list[tuple[int, int]] = []
    for start, end, key, sure in _spelled(transcript):
        terms = lexicon.terms.get(key, ())
        if not terms or sure <= 0.5 or any(start < b and a < end for a, b in taken):
            continue
        taken.append((start, end))
        if terms[0].upper() != transcript[start:end].upper():
            yield start, end, terms[0]
