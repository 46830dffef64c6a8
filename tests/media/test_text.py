"""Text is normalised and cut in one way for training, indexing and asking."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duomo.media import text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Ｅ２１　错误", "E21 错误"),
        ("  two   spaces\t\r\nnext \n\n\n\nline ", "two spaces\nnext\n\nline"),
        ("收货 地址 怎么 改", "收货地址怎么改"),
        ("订单 A12 号", "订单 A12 号"),
        ("什么？！（真的）…", "什么？！（真的）…"),
        ("zero\u200bwidth\u202e and \x07 bell\ufeff", "zerowidth and bell"),
        ("ﬁx it — café", "fix it — café"),
        ("半角｡句号", "半角。句号"),
        ("", ""),
    ],
)
def test_text_is_normalised(raw: str, expected: str) -> None:
    assert text.normalise(raw) == expected


@given(st.text())
def test_normalising_twice_changes_nothing(raw: str) -> None:
    once = text.normalise(raw)
    assert text.normalise(once) == once


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("收货地址", ["收货", "货地", "地址"]),
        ("我 买 iPhone15 手机", ["我买", "iphone15", "iphone", "15", "手机"]),
        ("退", ["退"]),
        ("Returned orders and deliveries", ["return", "order", "and", "delivery"]),
        ("E21", ["e21", "e", "21"]),
        ("X2-Pro", ["x2", "pro", "x2pro", "x", "2"]),
        ("Wi-Fi", ["wi", "fi", "wifi"]),
        ("wifi", ["wifi"]),
        ("node.js v2.1", ["node", "js", "nodejs", "v2", "1", "v21", "v", "2"]),
        ("the customer's order doesn't ship", ["the", "customer", "order", "doesnt", "ship"]),
        ("错误E-21。", ["错误", "e", "21", "e21"]),
        ("，。!?", []),
    ],
)
def test_search_tokens(raw: str, expected: list[str]) -> None:
    assert text.tokens(raw) == expected


def test_codes_meet_however_their_joints_are_written() -> None:
    for group in (["X2-Pro", "x2pro", "X2 Pro"], ["Wi-Fi", "WIFI", "wi-fi"], ["E-21", "E21", "e 21"]):
        shared = set.intersection(*(set(text.tokens(form)) for form in group))
        assert shared, group


@pytest.mark.parametrize(
    "family",
    [
        "charge charges charged charging",
        "return returns returned returning",
        "ship ships shipped shipping",
        "delivery deliveries",
        "apply applies applied applying",
        "box boxes",
        "price prices priced pricing",
        "size sizes",
        "save saves saved saving",
        "install installs installed installing",
        "cancel cancels cancelled cancelling canceled canceling",
        "repair repairs repaired repairing",
        "update updates updated updating",
        "address addresses",
        "use uses used using",
        "exceed exceeded exceeding",
        "buy buying bought",
        "fix fixes fixed fixing",
        "type types typed typing",
    ],
)
def test_forms_of_one_english_word_have_one_stem(family: str) -> None:
    assert len({text.stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize("pair", ["car care", "app apple", "bus busy", "news new", "organ organisation", "need nee"])
def test_different_words_keep_different_stems(pair: str) -> None:
    assert len({text.stem(word) for word in pair.split()}) == 2


def test_what_sounds_alike_has_the_same_pinyin_tokens() -> None:
    assert text.pinyin_tokens("收货地址") == ["souhuo", "huodi", "dizi"]
    for written, heard in [
        ("收货地址", "收获地址"),
        ("牛奶", "流来"),
        ("诗人", "私人"),
        ("平凡", "贫烦"),
        ("上海", "桑海"),
    ]:
        assert text.pinyin_tokens(written) == text.pinyin_tokens(heard), (written, heard)
    assert text.pinyin_tokens("退款") != text.pinyin_tokens("退货")


def test_pinyin_knows_words_and_stops_at_other_writing() -> None:
    assert text.pinyin("重庆和重量 X2 行") == [["cong", "qin", "he", "zong", "lian"], ["xin"]]
    assert text.pinyin_tokens("order X2") == []


@pytest.mark.parametrize(("table", "wide", "narrow"), [
    *[("initial", wide, narrow) for wide, narrow in text.FUZZY_INITIALS.items()],
    *[("final", wide, narrow) for wide, narrow in text.FUZZY_FINALS.items()],
])  # fmt: skip
def test_each_fuzzy_class_folds(table: str, wide: str, narrow: str) -> None:
    syllables = (f"{wide}u", f"{narrow}u") if table == "initial" else (f"b{wide}", f"b{narrow}")
    assert text.fuzzy_syllable(syllables[0]) == text.fuzzy_syllable(syllables[1]) == syllables[1]


@pytest.mark.parametrize(
    "parts",
    [
        ["你好。", "请问多久到？", "“两天！”", "他说。"],
        ["Use e.g. version 2.1 of it.", "See https://a.example/b.c?d=1.", "It costs $3.50 today!", "Ok"],
        ["1. Press the button.", "2. Let it go."],
        ["Dr. Smith opens at 9 a.m.", "Then he closes."],
        ["等等……", "好了；", "走吧"],
        ["Really?!", "Yes."],
        ["It works.", "中文句子。", "And English."],
        ["one line", "another line"],
    ],
)
def test_sentences_end_where_a_reader_would_end_them(parts: list[str]) -> None:
    joined = "\n".join(parts) if "line" in parts[0] else " ".join(parts)
    assert [joined[start:end] for start, end in text.sentences(joined)] == parts


@given(st.text(alphabet="a. \n1。！e.g中？", max_size=60))
def test_sentences_lose_nothing_but_space(raw: str) -> None:
    spans = text.sentences(raw)
    assert "".join("".join(raw[start:end] for start, end in spans).split()) == "".join(raw.split())
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
