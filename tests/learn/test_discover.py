"""Groups among texts are found, named and shown; what fits nowhere stays out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from duomo.errors import InputError
from duomo.learn.discover import Discovery, discover, side_by_side, text_embeddings
from duomo.models.features import Features

TOPICS = {
    "refund": [
        "I want a refund for order {}",
        "please refund order {}",
        "refund order {} now",
        "how to get a refund {}",
    ],
    "parcel": ["where is parcel {}", "track parcel {}", "parcel {} has not arrived", "the parcel {} is late"],
    "发票": ["我要开发票{}", "发票什么时候开{}", "给我开一张发票{}", "电子发票在哪里{}"],
}


def planted(each: int = 40, noise: int = 0, *, seed: int = 0) -> tuple[list[str], list[str], np.ndarray, list[str]]:
    """Texts of three topics, each around its own direction, and texts of no topic in every direction."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(64, 64)))[0][: len(TOPICS)] * 3
    texts, points, topics = [], [], []
    for centre, (topic, forms) in zip(centres, TOPICS.items(), strict=True):
        for number in range(each):
            texts.append(forms[number % len(forms)].format(number))
            points.append(centre + rng.normal(size=64) * 0.15)
            topics.append(topic)
    for number in range(noise):
        texts.append(f"something else {number}")
        points.append(rng.normal(size=64))
        topics.append("")
    return [f"s{at}" for at in range(len(texts))], texts, np.array(points, np.float32), topics


def found(discovery: Discovery) -> list[set[str]]:
    return [set(cluster.members) for cluster in discovery.clusters]


def test_planted_topics_are_found_and_named_in_both_languages():
    ids, texts, points, topics = planted()
    discovery = discover(ids, texts, points)
    assert sorted(map(sorted, found(discovery))) == sorted(
        sorted(id for id, topic in zip(ids, topics, strict=True) if topic == one) for one in TOPICS
    )
    assert sorted(re.split(" · | ", cluster.name)[0] for cluster in discovery.clusters) == ["parcel", "refund", "发票"]
    assert (discovery.known, discovery.alone) == ((), ())
    assert discovery.silhouette is not None
    assert discovery.silhouette > 0.6
    for cluster in discovery.clusters:
        assert (cluster.size, len(cluster.members), len(cluster.examples)) == (40, 40, 8)
        assert [id for id, _ in cluster.examples] == list(cluster.members[:8])
        assert {texts[ids.index(id)] for id, _ in cluster.examples} == {text for _, text in cluster.examples}


def test_texts_of_no_topic_stay_out():
    ids, texts, points, topics = planted(noise=30)
    discovery = discover(ids, texts, points)
    noise = {id for id, topic in zip(ids, topics, strict=True) if not topic}
    assert len(noise & set(discovery.alone)) >= 27
    assert len(set(discovery.alone) - noise) <= 3


def test_what_the_model_knows_stays_out():
    ids, texts, points, topics = planted()
    known = [0.9 if topic == "refund" else 0.1 for topic in topics]
    discovery = discover(ids, texts, points, known=known)
    assert discovery.known == tuple(id for id, topic in zip(ids, topics, strict=True) if topic == "refund")
    assert sorted(cluster.size for cluster in discovery.clusters) == [40, 40]


def test_every_id_stands_in_exactly_one_place_and_the_same_input_gives_the_same_page():
    ids, texts, points, topics = planted(each=15, noise=20)
    known = [0.7 if topic == "parcel" else 0.0 for topic in topics]
    first, second = (discover(ids, texts, points, known=known, min_size=5) for _ in range(2))
    assert first == second
    assert first.to_html() == second.to_html()
    places = [*first.known, *first.alone, *(id for cluster in first.clusters for id in cluster.members)]
    assert sorted(places) == sorted(ids)
    assert all(cluster.size >= 5 for cluster in first.clusters)


def test_more_texts_than_the_tree_holds_join_its_clusters(monkeypatch: pytest.MonkeyPatch):
    ids, texts, points, _ = planted(each=60)
    whole = discover(ids, texts, points)
    monkeypatch.setattr("duomo.learn.discover.TREE_ROWS", 90)
    assert sorted(map(sorted, found(discover(ids, texts, points)))) == sorted(map(sorted, found(whole)))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_texts_give_no_cluster(count: int):
    ids, texts, points, _ = planted()
    discovery = discover(ids[:count], texts[:count], points[:count])
    assert discovery == Discovery((), (), tuple(ids[:count]), None)
    assert "No cluster was found" in discovery.to_html()


def test_equal_texts_are_one_cluster():
    discovery = discover([str(n) for n in range(30)], ["hello there"] * 30, np.ones((30, 8), np.float32))
    assert [(cluster.size, cluster.examples) for cluster in discovery.clusters] == [(30, (("0", "hello there"),))]


def test_what_does_not_fit_together_is_refused():
    points = np.ones((2, 3), np.float32)
    with pytest.raises(InputError, match=r"1 ids, 2 texts, embeddings \(2, 3\) and 2 scores"):
        discover(["a"], ["a", "b"], points, known=[0.0, 0.0])
    with pytest.raises(InputError, match="an embedding is not finite"):
        discover(["a", "b"], ["a", "b"], points * np.nan)
    with pytest.raises(InputError, match="a cluster has at least 2 texts"):
        discover(["a", "b"], ["a", "b"], points, min_size=1)


def test_the_page_is_whole_in_itself_and_shows_texts_as_texts():
    ids, _, points, _ = planted(each=10)
    attack = "<script>alert(1)</script>"
    discovery = discover(ids, [attack] * 30, points, min_size=5)
    page = discovery.to_html()
    assert '<h1><span class="t" lang="en">New intents</span><span class="t" lang="zh">新意图</span></h1>' in page
    assert page.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "default-src &#x27;none&#x27;" in page
    assert json.loads(json.dumps(discovery.as_dict()))["clusters"][0]["examples"][0][1] == attack
    assert attack in discovery.to_text()


def test_views_side_by_side_weigh_the_same():
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(50, 4)), rng.normal(size=(50, 9)) * 1000 + 5000
    both = side_by_side(small.astype(np.float32), large.astype(np.float32))
    assert both.shape == (50, 13)
    np.testing.assert_allclose(np.linalg.norm(both[:, :4], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both[:, 4:], axis=1), 1, rtol=1e-5)


def test_chinese_rows_do_not_stand_by_a_view_that_reads_english_alone():
    rng = np.random.default_rng(0)
    texts = ["where is it", "退款", "refund me", "发票在哪里"]
    dense = {name: rng.normal(size=(4, 3)).astype(np.float32) for name in ("text.minilm", "text.e5", "image.shape")}
    embeddings = text_embeddings(Features(("text",), np.ones((4, 1), np.bool_), dense), texts)
    assert embeddings.shape == (4, 6)
    np.testing.assert_array_equal(embeddings[:, :3], side_by_side(dense["text.e5"]))
    np.testing.assert_array_equal(embeddings[[1, 3], 3:], np.zeros((2, 3)))
    np.testing.assert_array_equal(embeddings[[0, 2], 3:], side_by_side(dense["text.minilm"][[0, 2]]))
    pictures = text_embeddings(
        Features(("image",), np.ones((4, 1), np.bool_), {"image.shape": dense["image.shape"]}), texts
    )
    np.testing.assert_array_equal(pictures, side_by_side(dense["image.shape"]))
    with pytest.raises(InputError, match="no dense view"):
        text_embeddings(Features((), np.ones((4, 0), np.bool_), {}), texts)


def test_of_cuts_as_good_as_each_other_the_one_with_fewer_clusters_is_taken():
    """Two topics, each in two wordings: the silhouettes of two and of four clusters differ by less than 3 %."""
    rng = np.random.default_rng(0)
    axes = np.eye(32)
    centres = [axes[0] + 0.5 * axes[1], axes[0] - 0.5 * axes[1], axes[2] + 0.5 * axes[3], axes[2] - 0.5 * axes[3]]
    points = np.concatenate([centre + rng.normal(size=(20, 32)) * 0.075 for centre in centres])
    discovery = discover([str(at) for at in range(80)], [""] * 80, points.astype(np.float32))
    assert len(discovery.clusters) == 2
