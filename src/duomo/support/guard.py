"""Take personal data out of text that leaves Duomo's tables: logs and, where the workspace says so, a model's input.

A number is masked only when its own check digit or its surroundings say what it is: an order number or an error code
that happens to be long must stay, or nobody could help.
"""

from __future__ import annotations

import re
from collections.abc import Callable

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
RESIDENT_ID = re.compile(
    r"(?<![0-9A-Za-z])[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![0-9A-Za-z])"
)
CARD = re.compile(r"(?<![0-9A-Za-z-])\d(?:[ -]?\d){12,18}(?![0-9A-Za-z-])")
MOBILE = re.compile(r"(?<![0-9A-Za-z])(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![0-9A-Za-z])")
PHONE = re.compile(
    r"(?<![0-9A-Za-z-])(?:\+\d{1,3}[ -]?\(?\d{1,4}\)?(?:[ -]?\d{2,4}){2,4}"  # +44 20 7946 0958
    r"|0\d{2,3}-\d{7,8}"  # 010-12345678
    r"|\(?[2-9]\d{2}\)?[ -]\d{3}-\d{4})(?![0-9A-Za-z-])"  # (415) 555-2671
)
PLATE = re.compile(
    r"(?<![A-Za-z0-9])[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领]"
    r"[A-HJ-NP-Z][·• ]?(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[A-HJ-NP-Z0-9]{6})(?![A-Za-z0-9])"
)


def is_resident_id(number: str) -> bool:
    """Check digit of GB 11643-1999: weighted sum of the first 17 digits, modulo 11."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(d) * w for d, w in zip(number, weights, strict=False)) % 11] == number[17].upper()


def is_card(number: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1) on 13 to 19 digits that are not all the same."""
    digits = [int(d) for d in number if d.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [2 * d - 9 * (d > 4) for d in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _always(_: str) -> bool:
    return True


_RULES: tuple[tuple[re.Pattern[str], str, Callable[[str], bool]], ...] = (
    (EMAIL, "[email]", _always),
    (RESIDENT_ID, "[id-number]", is_resident_id),
    (CARD, "[card]", is_card),
    (MOBILE, "[phone]", _always),
    (PHONE, "[phone]", _always),
    (PLATE, "[plate]", _always),
)


def mask(text: str) -> str:
    """`text` with e-mail addresses, 身份证, bank card, telephone and plate numbers replaced by what they are."""
    for pattern, name, is_one in _RULES:
        text = _replaced(text, pattern, name, is_one)
    return text


def _replaced(text: str, pattern: re.Pattern[str], name: str, is_one: Callable[[str], bool]) -> str:
    return pattern.sub(lambda found: name if is_one(found[0]) else found[0], text)
