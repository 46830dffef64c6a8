"""Lists and patterns that read what people write: intents, personal data, synonyms, the part of a passage to quote."""

from __future__ import annotations

import numpy as np
import pytest

from duomo.support.extract import tighten, units
from duomo.support.guard import mask
from duomo.support.intent import intent_of, leans_on_earlier, says_only
from duomo.support.thesaurus import expanded


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("hello", "greeting"), ("您好，在吗？", "greeting"), ("Hi there!", "greeting"),
        ("好的，谢谢", "thanks"), ("Thanks for your help!", "thanks"), ("再见", "goodbye"), ("嗯嗯，知道了", "thanks"),
        ("你是机器人吗", "who"), ("转人工", "person"), ("I want to speak to a real person", "person"),
        ("找个活人来", "person"), ("hi, where is my parcel", "question"), ("人工客服几点上班", "question"),
        ("充电宝鼓包了", "emergency"), ("my power bank is smoking!!", "emergency"), ("充电宝会爆炸吗", "question"),
        ("is it bad to smoke near the smoke detector", "question"), ("还是不行", "unhelped"),
        ("that didn't help", "unhelped"), ("E21", "question"), ("？？？", "question"),
    ],
)  # fmt: skip
def test_what_a_message_is_for(text: str, intent: str) -> None:
    assert intent_of(text) == intent


@pytest.mark.parametrize(
    ("text", "only"),
    [("转人工！", True), ("我不想跟机器人说话，请帮我转人工。", True), ("我要人工客服", True), ("hello", True),
     ("Can I talk to a human, please?", True), ("水壶坏了，转人工", False),
     ("my kettle is broken, get me a human", False),
     ("connect me to an agent about my refund", False), ("还是不行", False), ("where is my parcel", False)],
)  # fmt: skip
def test_which_messages_say_nothing_besides_their_wish(text: str, only: bool) -> None:
    assert says_only(intent_of(text), text) is only


@pytest.mark.parametrize(
    ("text", "leans"),
    [("那运费呢？", True), ("and for Hong Kong?", True), ("多久", True), ("how do I return the kettle I bought", False),
     ("我上周买的耳机左边突然没有声音了怎么办", False)],
)  # fmt: skip
def test_which_messages_lean_on_the_one_before(text: str, leans: bool) -> None:
    assert leans_on_earlier(text) is leans


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("电话13812345678。", "电话[phone]。"),
        ("call +44 20 7946 0958 or (415) 555-2671", "call [phone] or [phone]"),
        ("身份证11010519491231002X", "身份证[id-number]"),
        ("身份证110105194912310021", "身份证110105194912310021"),  # wrong check digit
        ("card 4111 1111 1111 1111", "card [card]"),
        ("order 4111111111111112", "order 4111111111111112"),  # not Luhn
        ("write to a.b+c@example.com", "write to [email]"),
        ("车牌京A12345，粤B·D12345", "车牌[plate]，[plate]"),
        ("LT-V8 shows E21, order 20260101123", "LT-V8 shows E21, order 20260101123"),
    ],
)
def test_personal_data_is_masked_and_other_numbers_stay(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_question_is_also_put_in_the_words_of_articles() -> None:
    assert expanded("邮费谁出") == "邮费谁出 运费 包邮"
    assert expanded("can I use a voucher") == "can I use a voucher coupon"
    assert expanded("what does the coupon do") == "what does the coupon do"


def near(word: str) -> object:
    return lambda texts: np.array([float(word in text) for text in texts], dtype=np.float32)


LONG = " ".join(f"This sentence is number {n} and says nothing of interest to anybody at all." for n in range(9))


def test_an_error_code_gets_its_row_under_the_tables_header() -> None:
    table = "| Code | Meaning |\n|---|---|\n| E20 | Water tank empty |\n| E21 | Battery too hot |"
    assert tighten("it shows e21", table, closeness=near("nothing")) == (  # type: ignore[arg-type]
        "| Code | Meaning |\n|---|---|\n| E21 | Battery too hot |"
    )


def test_steps_stay_together_with_what_introduces_them() -> None:
    passage = f"{LONG}\n\nDo this:\n\n1. Open the lid.\n2. Press the button.\n\n{LONG}"
    assert tighten("how", passage, closeness=near("button")) == "Do this:\n\n1. Open the lid.\n2. Press the button."  # type: ignore[arg-type]


def test_a_short_passage_is_quoted_as_it_stands() -> None:
    assert tighten("x", "One. Two.\n\nThree.", closeness=near("Two")) == "One. Two.\n\nThree."  # type: ignore[arg-type]


def test_everything_quoted_stands_in_the_passage() -> None:
    passage = f"{LONG}\n\n运费是 35 元。满 800 元包邮。"
    quote = tighten("运费", passage, closeness=near("运费"))  # type: ignore[arg-type]
    assert quote == "运费是 35 元。满 800 元包邮。"
    assert all(unit.text in passage for unit in units(passage))
