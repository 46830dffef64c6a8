"""Text as every part of Duomo sees it: normalised once, cut into the same tokens in training, indexing and asking."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f\u3005\u3007"
"""Ideographs, as the inside of a regular expression's character class."""

_CJK_RUN = re.compile(f"[{CJK}]+")
_KEPT_CONTROLS = "\n\t"
_INVISIBLE = {"Cc", "Cf", "Co", "Cs"}  # controls, formatting (zero width, direction), private use, half pairs
_SPACES = re.compile(r"[^\S\n]+")
_CJK_GAP = re.compile(f"(?<=[{CJK}，。！？；：、]) (?=[{CJK}，。！？；：、])")
_FULL_STOPS = str.maketrans({"｡": "。", "､": "、"})
_KEEP = str.maketrans({mark: chr(0xF0000 + index) for index, mark in enumerate("，。！？；：（）～…")})
_RESTORE = {0xF0000 + index: mark for index, mark in enumerate("，。！？；：（）～…")}


def normalise(text: str) -> str:
    """NFKC, except that Chinese punctuation stays Chinese; no control or invisible characters; single spaces.

    Full-width letters and digits become plain ones, so that "Ｅ２１" is "E21"; spaces between two ideographs go, as
    those between lines of a PDF or an OCR result; line ends stay, at most two in a row.
    """
    text = unicodedata.normalize("NFKC", text.translate(_FULL_STOPS).translate(_KEEP)).translate(_RESTORE)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(c for c in text if c in _KEPT_CONTROLS or unicodedata.category(c) not in _INVISIBLE)
    text = _CJK_GAP.sub("", _SPACES.sub(" ", text))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" ?\n ?", "\n", text)).strip()


# --- tokens for full-text search

_APOSTROPHE = re.compile(r"['’](?:s\b)?")
_LATIN = f"[^\\W_{CJK}]+"  # letters and digits of every other script
_WORD = re.compile(f"[{CJK}]+|{_LATIN}(?:[-_.+/&]{_LATIN})*")
_PIECE = re.compile(_LATIN)
_LETTERS_DIGITS = re.compile(r"[a-z]+|\d+")


def tokens(text: str) -> list[str]:
    """Search tokens, in order, repeats included.

    - CJK runs: every two neighbours; a lone character by itself ("收货地址" -> 收货 货地 地址).
    - Latin words: lower case, lightly stemmed ("delivered" -> deliver, "deliveries" -> delivery).
    - Codes ("E21", "X2-Pro", "Wi-Fi", "node.js"): whole without their joints, and in pieces (x2pro x2 pro; e21 e 21),
      so that "X2 Pro", "X2-Pro" and "x2pro" meet.
    """
    found: list[str] = []
    for word in _WORD.findall(_APOSTROPHE.sub("", normalise(text).lower())):
        if _CJK_RUN.fullmatch(word):
            found += _bigrams(word)
            continue
        pieces = _PIECE.findall(word)
        found += [stem(piece) for piece in pieces]
        if len(pieces) > 1:
            found.append("".join(pieces))
        for piece in pieces:
            parts = _LETTERS_DIGITS.findall(piece)
            if len(parts) > 1:
                found += parts
    return found


def _bigrams(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]


_IRREGULAR = {
    "children": "child", "men": "man", "women": "woman", "bought": "buy", "paid": "pay", "sent": "send", "said": "say",
    "broke": "break", "broken": "break", "lost": "lose", "got": "get", "came": "come", "went": "go", "gone": "go",
    "goes": "go", "does": "do", "did": "do", "has": "have", "had": "have", "was": "be", "is": "be", "are": "be",
    "were": "be", "been": "be", "used": "use", "using": "use", "uses": "use", "forgot": "forget",
    "forgotten": "forget", "stolen": "steal", "stole": "steal", "taken": "take", "took": "take", "freed": "free",
    "agreed": "agre", "guaranteed": "guarante", "movies": "movi", "cookies": "cooki", "gas": "gas", "news": "news",
    "always": "always", "during": "during", "lens": "lens", "lenses": "lens",
}  # fmt: skip
_DOUBLED = re.compile(r"([bdgkmnprt])\1$")
_SHORT_VERB = re.compile(r"[^aeiou][aeiouy][^aeiouwxy]")
"""The rest of "saving" or "used": without a lost e its consonant would be doubled, as in "hopping"."""


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Fold the plural, -ed and -ing of an English word, and its final e: "charge", "charges", "charging" -> charg.

    Rather too little than too much: "organisation" and "organ" stay apart. Words with digits are codes and stay whole.

    Source: steps 1 and 5 of Porter, "An algorithm for suffix stripping", Program 14(3), 1980, with the length of the
    stem instead of its measure.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    word = _verb(_singular(word))
    if len(word) >= 5 and word.endswith("e"):
        return word[:-1]
    return word[:-1] if len(word) >= 6 and word.endswith("ll") else word


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + ("y" if len(word) > 4 else "ie")
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word if word.endswith(("ss", "us", "is")) else word.removesuffix("s")


def _verb(word: str) -> str:
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base == word or word.endswith("eed") or len(base) < 3 or not re.search("[aeiouy]", base):
            continue
        if ending == "ed" and base.endswith("i"):
            return base[:-1] + "y"
        if len(base) > 3 and _DOUBLED.search(base):
            return base[:-1]
        return base + "e" if _SHORT_VERB.fullmatch(base) else base
    return word


# --- pinyin: how Chinese sounds

FUZZY_INITIALS = {"zh": "z", "ch": "c", "sh": "s", "n": "l"}
FUZZY_FINALS = {"ang": "an", "eng": "en", "ing": "in"}
"""Sounds that speakers of many regions, and with them recognisers, do not tell apart: zh/z, ch/c, sh/s, n/l as
initials; ang/an, eng/en, ing/in as finals (iang, uang, with them). The right-hand one stands for both."""

_INITIAL = re.compile(r"^(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?(.+)$")


@lru_cache(maxsize=1 << 13)
def fuzzy_syllable(syllable: str) -> str:
    """Fold a toneless pinyin syllable into its class: "zhang" -> "zan", "ning" -> "lin"."""
    match = _INITIAL.match(syllable)
    if match is None:
        return syllable
    initial, final = match[1] or "", match[2]
    for wide, narrow in FUZZY_FINALS.items():
        if final.endswith(wide):
            final = final.removesuffix(wide) + narrow
            break
    return FUZZY_INITIALS.get(initial, initial) + final


def pinyin(text: str) -> list[list[str]]:
    """Folded syllables of each CJK run: "收货地址" and "收获地址" both give [["sou", "huo", "di", "zi"]]."""
    from pypinyin import lazy_pinyin  # its dictionaries take 55 MB, and not every process asks for sounds

    runs = _CJK_RUN.findall(normalise(text))
    return [[fuzzy_syllable(s) for s in lazy_pinyin(run, errors="ignore", v_to_u=False)] for run in runs]


def pinyin_tokens(text: str) -> list[str]:
    """Every two neighbouring syllables of each CJK run, joined: ["souhuo", "huodi", "dizi"]; a lone one by itself."""
    found: list[str] = []
    for run in pinyin(text):
        found += run if len(run) == 1 else [run[at] + run[at + 1] for at in range(len(run) - 1)]
    return found


# --- sentences

_SENTENCE_END = re.compile(r"[。！？；…]+[”’」』）】\"')]*|[.!?]+[\"'”’)\]]*(?=\s|$|[\u3400-\u9fff])|\n+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(（])(?:e\.g|i\.e|etc|vs|approx|incl|excl|no|nos|fig|figs|dr|mr|mrs|ms|prof|inc|ltd|co|corp|st|dept|est|min|max"
    r"|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|a\.m|p\.m|u\.s|u\.k|[a-z])\.$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences of a Chinese or English text; together they hold everything but the space between.

    A stop inside an abbreviation ("e.g."), a decimal, a URL, a version or a list number ends nothing.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        before = text[start : match.end()]
        if match[0].startswith("."):
            following = text[match.end() :].lstrip()[:1]
            if _NUMBERED.search(before):
                continue
            if _ABBREVIATION.search(before) and not (following.isupper() and _closes(before)):
                continue
        _add(spans, text, start, match.end())
        start = match.end()
    _add(spans, text, start, len(text))
    return spans


def _closes(before: str) -> bool:
    """Abbreviations that may well end a sentence, when a capital follows."""
    return bool(re.search(r"(?:etc|a\.m|p\.m|inc|ltd|co|corp)\.$", before, re.IGNORECASE))


def _add(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    lead = len(piece) - len(piece.lstrip())
    if piece.strip():
        spans.append((start + lead, start + len(piece.rstrip())))
