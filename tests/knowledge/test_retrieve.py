"""Retrieval from a real PostgreSQL, with encoders that know nothing but characters."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from duomo.knowledge import retrieve
from duomo.knowledge.retrieve import Candidate, Counted, Query, Retriever, Weights, diversify, rank
from duomo.models.embed import Kind, Vectors
from duomo.store.postgres import Database, Tx, Workspace
from duomo.testing import FakeEmbedder, FakeImageEmbedder

from .conftest import Take

SHOP: dict[str, str | bytes] = {
    "zh/delivery.md": "# 多久能收到货\n\n江苏、浙江一到两天，新疆五到八天。",
    "zh/address.md": "# 修改收货地址\n\n发货前可以在订单里修改收货地址。",
    "zh/invoice.md": "# 开发票\n\n在订单里申请电子发票。",
    "en/delivery.md": "# How long delivery takes\n\nOne or two days nearby, up to eight days to Xinjiang.",
    "en/warranty.md": "# Warranty of the LT-H3\n\nTwelve months. Error E21 means the drain is blocked.",
}


async def ids(retriever: Retriever, workspace: Workspace, query: Query) -> list[str]:
    return [passage.article_id for passage in await retriever.retrieve(workspace.id, query)]


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()


def seen(colour: str) -> Vectors:
    return FakeImageEmbedder().encode(np.asarray(Image.new("RGB", (80, 60), colour)))


async def test_an_empty_workspace_gives_no_passages(retriever: Retriever, workspace: Workspace):
    assert await retriever.retrieve(workspace.id, Query("退货", "zh")) == []


async def test_a_question_finds_its_article_with_the_evidence(take: Take, retriever: Retriever, workspace: Workspace):
    await take(SHOP)
    best, *_ = await retriever.retrieve(workspace.id, Query("怎么修改收货地址", "zh"))
    assert (best.article_id, best.title, best.language, best.position) == ("zh/address", "修改收货地址", "zh", 0)
    assert best.text == "发货前可以在订单里修改收货地址。"
    assert set(best.signals) >= {"cosine", "cosine_en", "bm25", "coverage", "pinyin", "image"}
    assert best.signals["cosine"] > 0
    assert 0.5 < best.signals["coverage"] <= 1


async def test_a_code_is_found_by_its_word_alone(take: Take, retriever: Retriever, workspace: Workspace):
    await take(SHOP)
    assert (await ids(retriever, workspace, Query("E21?", "en")))[0] == "en/warranty"


async def test_a_rare_word_proposes_what_the_vectors_would_never_reach(
    take: Take, db: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    class Blind(FakeEmbedder):
        def encode(self, texts, *, kind: Kind):  # type: ignore[no-untyped-def]
            return np.tile(np.eye(1, 384, dtype=np.float32), (len(texts), 1))

    monkeypatch.setattr(retrieve, "VECTOR_CANDIDATES", 1)
    await take(SHOP)
    found = await Retriever(db, Blind()).retrieve(workspace.id, Query("drain blocked", "en", k=1))
    assert [p.article_id for p in found] == ["en/warranty"]


async def test_a_misheard_question_is_found_by_its_sound_when_it_was_spoken(
    take: Take, db: Database, workspace: Workspace
):
    class Deaf(FakeEmbedder):
        def encode(self, texts, *, kind: Kind):  # type: ignore[no-untyped-def]
            return np.tile(np.eye(1, 384, dtype=np.float32), (len(texts), 1))

    await take(SHOP)
    retriever = Retriever(db, Deaf())
    heard, *_ = await retriever.retrieve(workspace.id, Query("收获递址", "zh", spoken=True))
    assert (heard.article_id, heard.signals["pinyin"]) == ("zh/address", pytest.approx(1.0))
    written = await retriever.retrieve(workspace.id, Query("收获递址", "zh", spoken=False))
    assert {passage.signals["pinyin"] for passage in written} == {0.0}


async def test_a_photo_finds_the_article_with_that_picture_without_any_words(
    take: Take, retriever: Retriever, workspace: Workspace
):
    await take(
        {
            "red.md": "# Red box\n\n![box](red.png)\n\nthe red one",
            "blue.md": "# Blue box\n\n![box](blue.png)\n\nthe blue one",
            "red.png": picture("red"),
            "blue.png": picture("blue"),
        }
    )
    best, *_ = await retriever.retrieve(workspace.id, Query("", "en", images=[seen("blue")]))
    assert (best.article_id, round(best.signals["image"], 2)) == ("blue", 1.0)
    assert best.picture is not None
    best, *_ = await retriever.retrieve(workspace.id, Query("box", "en", images=[seen("red")]))
    assert best.article_id == "red"


async def test_the_customer_s_language_is_preferred_where_the_topic_has_it(
    take: Take, retriever: Retriever, workspace: Workspace
):
    await take(SHOP)
    query = "How long delivery takes to Xinjiang"
    assert (await ids(retriever, workspace, Query(query, "zh")))[0] == "zh/delivery"
    assert "en/delivery" not in await ids(retriever, workspace, Query(query, "zh"))
    assert (await ids(retriever, workspace, Query(query, "zh", prefer_language=False)))[0] == "en/delivery"
    assert (await ids(retriever, workspace, Query(query, "en")))[0] == "en/delivery"


async def test_a_translation_that_no_search_proposed_is_fetched(
    take: Take, retriever: Retriever, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retrieve, "VECTOR_CANDIDATES", 1)
    await take(SHOP)
    found = await ids(retriever, workspace, Query("How long delivery takes", "zh", k=1))
    assert found == ["zh/delivery"]


async def test_an_article_only_in_the_other_language_is_still_given(
    take: Take, retriever: Retriever, workspace: Workspace
):
    await take(SHOP)
    assert (await ids(retriever, workspace, Query("LT-H3 保修", "zh")))[0] == "en/warranty"


async def test_the_english_encoder_serves_english_questions_alone(
    take: Take, db: Database, workspace: Workspace, models
):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    english = FakeEmbedder()
    await take(SHOP, models=replace(models, english=english))
    retriever = Retriever(db, FakeEmbedder(), english)
    best, *_ = await retriever.retrieve(workspace.id, Query("warranty", "en"))
    assert best.signals["cosine_en"] > 0
    best, *_ = await retriever.retrieve(workspace.id, Query("保修 warranty", "zh"))
    assert best.signals["cosine_en"] == 0


async def test_a_workspace_never_sees_another_s_passages(
    take: Take, retriever: Retriever, db: Database, workspace: Workspace
):
    other = await db.create_workspace(f"{workspace.name}-other", {})
    await take({"secret.md": "# Secret\n\nthe secret code is E99"}, workspace_id=other.id)
    await take({"a.md": "# A\n\nnothing here"})
    for query in (Query("secret code E99", "en"), Query("秘密", "zh", spoken=True)):
        assert {p.article_id for p in await retriever.retrieve(workspace.id, query)} <= {"a"}
    assert await ids(retriever, other, Query("secret code E99", "en")) == ["secret"]


async def test_a_small_workspace_is_compared_whole_and_a_large_one_through_the_index(
    take: Take, retriever: Retriever, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    """The vector index gives up among other workspaces' nearer rows; comparing all of a small workspace cannot."""
    asked: list[str] = []
    original = Tx.all

    async def listening(tx: Tx, query: str, **parameters: object) -> list[dict[str, object]]:
        asked.append(query)
        return await original(tx, query, **parameters)

    monkeypatch.setattr(Tx, "all", listening)
    await take(SHOP)
    await retriever.retrieve(workspace.id, Query("退货", "zh"))
    assert "nearest_chunks_exact" in asked
    monkeypatch.setattr(retrieve, "EXACT_BELOW", 1)
    monkeypatch.setattr(retrieve, "EXACT_BESIDE_OTHERS", 1)
    asked.clear()
    await retriever.retrieve(workspace.id, Query("退货", "zh"))
    assert "nearest_chunks" in asked
    assert "nearest_chunks_exact" not in asked


def candidate(identity: str, article: str, **evidence: float) -> Candidate:
    return Candidate(id=identity, article_id=article, language="en", topic=None, **evidence)  # type: ignore[arg-type]


def test_each_article_is_shown_once_before_any_is_shown_twice():
    ranked = [candidate("1", "a"), candidate("2", "a"), candidate("3", "b"), candidate("4", "c")]
    assert [c.id for c in diversify(ranked, k=4, per_article=1)] == ["1", "3", "4", "2"]
    assert [c.id for c in diversify(ranked, k=3, per_article=2)] == ["1", "2", "3"]


def test_evidence_is_summed_by_its_weights_and_ties_are_broken_the_same_way_every_time():
    found = [
        candidate("2", "b", cosine=0.5),
        candidate("1", "a", cosine=0.5),
        candidate("3", "c", cosine=0.4, bm25=1.0),
    ]
    rank(found, Weights(cosine=1.0, words=0.2))
    assert [(c.id, round(c.score, 3)) for c in found] == [("3", 0.6), ("1", 0.5), ("2", 0.5)]


def test_common_words_propose_nothing_while_there_are_rarer_ones():
    words = Counted(["the", "drain", "unheard"])
    words.count({"the": 900, "drain": 3}, documents=1000, length=10)
    assert words.rare() == ["drain"]
    common = Counted(["the"])
    common.count({"the": 900}, documents=1000, length=10)
    assert common.rare() == ["the"]


async def test_one_sentence_in_a_long_chunk_is_found_by_its_own_vector(
    take: Take, retriever: Retriever, workspace: Workspace
):
    filler = " ".join(f"Sentence number {n} speaks of something else entirely." for n in range(12))
    await take(
        {"long.md": f"# Notes\n\n{filler} Gift wrapping costs five yuan.", "short.md": "# Notes\n\nSomething else."}
    )
    (first, *_) = await retriever.retrieve(workspace.id, Query("gift wrapping costs five yuan", "en", k=2))
    assert first.article_id == "long"
    assert first.signals["sentence"] > first.signals["cosine"] + 0.1
