"""The fixed sentences Duomo says itself, in both languages (`wording.json`). Everything else it shows is quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from duomo.types import Language

_FILE: Mapping[str, Any] = json.loads(resources.files("duomo.support").joinpath("wording.json").read_text("utf-8"))
SENTENCES: Mapping[str, Mapping[Language, str]] = _FILE["sentences"]
PARTS: Mapping[str, Mapping[Language, str]] = _FILE["parts"]


def sentence(name: str, language: Language | None, /, **values: object) -> str:
    return SENTENCES[name][language or "en"].format(**values)


def parts(kinds: Sequence[str], language: Language | None) -> str:
    """ "picture and voice note", "图片和语音"."""
    chosen: Language = language or "en"
    joiner = "和" if chosen == "zh" else " and "
    return joiner.join(PARTS[kind][chosen] for kind in dict.fromkeys(kinds))
