import pytest
from hypothesis import given
from hypothesis import strategies as st

from duomo.models.language import detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("怎么退货", "zh"),
        ("How do I return this?", "en"),
        ("E21 是什么意思", "zh"),
        ("我的 iPhone 15 Pro Max 连不上 wifi router", "zh"),
        ("請問 TCL QLED Mini LED TV Pro 怎麼樣", "zh"),
        ("How do I write 你好 in the title?", "en"),
        ("please check the 订单 status for me", "en"),
        ("ok", "en"),
        ("Hello there", "en"),
        ("谢谢", "zh"),
        ("好", "zh"),
        ("Does the LT-H3 work with Windows 11", "en"),
    ],
)
def test_the_words_a_text_is_built_with_decide(text: str, language: str):
    assert detect_language(text, default="en" if language == "zh" else "zh") == language


@pytest.mark.parametrize("text", ["", "E21", "12345", "?!", "🎉", "LT-H3", "  \n"])
@pytest.mark.parametrize("default", ["zh", "en"])
def test_codes_and_signs_leave_the_language_as_it_was(text: str, default):
    assert detect_language(text, default=default) == default


@given(st.text())
def test_every_text_has_a_language(text: str):
    assert detect_language(text) in ("zh", "en")
