"""The public fakes keep what callers of the real models rely on."""

from __future__ import annotations

import numpy as np

from duomo.testing import FakeEmbedder, FakeImageEmbedder, FakeReader, FakeSpeech


def test_texts_that_share_words_are_near_and_vectors_are_repeatable():
    first, near, far = FakeEmbedder().encode(["怎么退货", "退货怎么办", "router password"], kind="query")
    assert first @ near > first @ far + 0.3
    np.testing.assert_array_equal(FakeEmbedder().encode(["怎么退货"], kind="passage")[0], first)
    assert FakeEmbedder(dim=16).encode(["", "a"], kind="query").shape == (2, 16)


def test_pictures_of_like_colours_are_near():
    red, rose, blue = (np.full((4, 4, 3), c, dtype=np.uint8) for c in [(250, 0, 0), (249, 1, 1), (0, 0, 250)])
    embedder = FakeImageEmbedder()
    assert embedder.encode(red) @ embedder.encode(rose) == 1.0
    assert embedder.encode(red) @ embedder.encode(blue) == 0.0


def test_texts_are_heard_and_read_in_the_order_given_and_the_last_stays():
    sound, picture = np.ones(16_000, dtype=np.float32), np.zeros((10, 20, 3), dtype=np.uint8)
    ears, eyes = FakeSpeech("one", "二"), FakeReader("one\ntwo", "三")
    assert [(h.text, h.language) for h in [ears.transcribe(sound) for _ in range(3)]] == [
        ("one", "en"),
        ("二", "zh"),
        ("二", "zh"),
    ]
    assert [eyes.read(picture).text for _ in range(3)] == ["one\ntwo", "三", "三"]
    assert (len(ears.heard), len(eyes.seen)) == (3, 3)


def test_a_reading_has_a_line_for_each_row():
    reading = FakeReader("one\ntwo").read(np.zeros((10, 20, 3), dtype=np.uint8))
    assert [line.text for line in reading.lines] == ["one", "two"]
    assert reading.lines[1].box == ((0.0, 5.0), (20.0, 5.0), (20.0, 10.0), (0.0, 10.0))
