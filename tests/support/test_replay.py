"""Past turns once more, against a real knowledge, real policies and small exported models."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from duomo.cli import main, replaying
from duomo.errors import NotFound
from duomo.knowledge.ingest import Models, ingest, remove
from duomo.knowledge.retrieve import Retriever
from duomo.knowledge.sources import Source
from duomo.models.encoders import Models as Networks
from duomo.models.encoders import default_views
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support import policy, registry, replay, turn
from duomo.support.answer import Answerer
from duomo.support.predict import Reader
from duomo.support.replay import Past, Replay, Setup
from duomo.support.scratch import PREFIX, scratch
from duomo.testing import FakeEmbedder
from tests.support.conftest import calibration, new_customer
from tests.support.exported import export

FEES = "Delivery fees: delivery to Hong Kong costs 35 yuan, delivery elsewhere is free."
RETURNS = "Returns: a parcel is returned within seven days, and the money comes back in three."
ASKED = ("what does delivery to Hong Kong cost", "within how many days is a parcel returned", "qqq zzz xxx")
STRICT = """
teams:
  orders: {zh: 订单, en: Orders, intents: [a]}
table:
  - {name: danger, wish: emergency, do: hand_over}
  - {name: person, wish: person, do: hand_over}
  - {name: everything to people, do: hand_over, team: orders}
"""


def files(texts: Mapping[str, str]) -> list[Source]:
    def reads(text: str) -> Callable[[], bytes]:
        return lambda: f"# {text.partition(':')[0]}\n\n{text}".encode()

    return [Source(f"en/{name}.md", reads(text), within="kb") for name, text in texts.items()]


@dataclass
class Shop:
    """A workspace in which customers have been answered."""

    db: Database
    workspace: Workspace
    blobs: Blobs
    home: Path

    def __post_init__(self) -> None:
        self.encoder = FakeEmbedder()
        self.answerer = Answerer(Retriever(self.db, self.encoder), self.encoder, calibration=calibration(answer=0.5))
        self.reader = Reader(self.home, Networks(text=self.encoder, english=self.encoder))
        self.desk = turn.Desk(self.db, self.blobs, self.answerer, self.reader)

    def models(self) -> Models:
        return Models(self.encoder)

    async def knows(self, **texts: str) -> None:
        await ingest(self.db, self.workspace.id, files(texts), models=self.models(), blobs=self.blobs)

    async def uses(self, folder: Path) -> str:
        row = await registry.register(
            self.db, self.home, self.workspace.id, folder, origin="folder", name=folder.parent.name
        )
        async with self.db.transaction(self.workspace.id) as tx:
            await registry.deploy(tx, str(row["id"]), "active", by="agent")
        return str(row["fingerprint"])

    async def comes(self, *questions: str) -> None:
        for question in questions:
            customer = await new_customer(self.db, self.workspace)
            await customer.says(question)
            await turn.run_turn(self.desk, self.workspace.id, customer.conversation_id)

    async def past(self, **how: Any) -> list[Past]:
        return await replay.past_turns(self.db, self.workspace.id, **how)

    async def now(self, **other: Any) -> Setup:
        async with self.db.transaction(self.workspace.id) as tx:
            model, held = await replay.what_holds(tx)
        plain = {"model": model, "policy": held, "searched": self.workspace.id}
        return Setup(self.answerer, other.pop("reader", self.reader), **{**plain, **other})

    async def replayed(self, **other: Any) -> Replay:
        past = await self.past()
        return await replay.replay(self.db, self.blobs, self.workspace.id, past, await self.now(**other))

    async def label(self, past: Past, kind: str, value: Any) -> None:
        message = past.asked[-1].id if kind == "head" else past.said.id
        async with self.db.transaction(self.workspace.id) as tx:
            await tx.connection.execute(
                "INSERT INTO labels (id, conversation_id, message_id, kind, head, value, origin) "
                "VALUES (%s, %s, %s, %s, %s, %s::jsonb, 'review')",
                (str(uuid.uuid4()), past.said.conversation_id, message, kind, "intent" if kind == "head" else "",
                 json.dumps(value)),
            )  # fmt: skip

    async def as_it_was(self) -> list[replay.Made]:
        return await replay.as_it_was(
            self.db, self.blobs, self.workspace.id, await self.past(), answerer=self.answerer, calibration="test",
            reader=Reader(self.home, Networks(text=self.encoder, english=self.encoder)), models=self.models,
        )  # fmt: skip

    async def articles(self) -> list[str]:
        async with self.db.transaction(self.workspace.id) as tx:
            cursor = await tx.connection.execute("SELECT id, text FROM articles ORDER BY id")
            return [f"{row['id']} {row['text']}" for row in await cursor.fetchall()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that read the text's vector, each with its own opinions."""
    (view, *_) = default_views("text")
    top = tmp_path_factory.mktemp("models")
    return {name: export(top / name / "onnx", seed=seed, view=view) for seed, name in enumerate(("first", "second"))}


@pytest.fixture
async def shop(db: Database, workspace: Workspace, blobs: Blobs, home: Path, folders: dict[str, Path]) -> Shop:
    made = Shop(db, workspace, blobs, home)
    await made.knows(fees=FEES, returns=RETURNS)
    await made.uses(folders["first"])
    await made.comes(*ASKED)
    return made


async def scratches(db: Database) -> list[str]:
    async with db.transaction(None) as tx:
        return [row["name"] for row in await tx.all("workspace_names") if row["name"].startswith(PREFIX)]


async def test_small_talk_and_bare_calls_for_a_person_are_not_understood_afterwards_either(shop: Shop) -> None:
    await shop.comes("hello!", "talk to a person")
    counts = (await shop.replayed()).counts()
    assert (counts["turns"] - counts["same"], counts["understood_now"]) == (0, 0)


async def test_with_what_held_then_nothing_changes(shop: Shop) -> None:
    found = await shop.replayed()
    assert found.counts() == {
        "turns": 3, "same": 3, "other_intent": 0, "other_source": 0, "other_decision": 0, "understood_now": 0,
        "unknown": 0, "unseen": 0,
    }  # fmt: skip
    assert [(one.after.do, one.after.sources) for one in found.turns[:2]] == [
        ("answer", ("en/fees",)),
        ("answer", ("en/returns",)),
    ]
    assert all(one.before.intent for one in found.turns)


async def test_another_model_is_told_right_and_wrong_by_what_people_said(shop: Shop, folders: dict[str, Path]) -> None:
    other = replay.OneModel(shop.home, Networks(text=shop.encoder, english=shop.encoder), folders["second"])
    first = await shop.replayed(reader=other, model=other.row)
    differing = [one for one in first.turns if "intent" in one.changed]
    assert differing
    assert first.counts()["other_intent"] == len(differing)
    await shop.label(differing[0].past, "head", differing[0].after.intent)
    told = (await shop.replayed(reader=other, model=other.row)).labelled()["intent"]
    assert (told["before"].k, told["after"].k, told["mended"], told["broken"]) == (0, 1, 1, 0)


async def test_turns_that_no_model_had_read_are_understood_and_no_change(shop: Shop) -> None:
    async with shop.db.transaction(shop.workspace.id) as tx:
        await tx.connection.execute("UPDATE messages SET decision = decision - 'understood' - 'model'")
    counts = (await shop.replayed()).counts()
    assert (counts["understood_now"], counts["same"]) == (3, 3)


async def test_a_policy_that_calls_people_is_counted_with_intervals(shop: Shop) -> None:
    found = await shop.replayed(policy=policy.Policy.parse(STRICT))
    handed = found.handed_over()
    were = [one.before.do for one in found.turns].count("hand_over")
    assert (handed["before"].k, handed["after"].k, handed["to_people"], handed["from_people"]) == (were, 3, 3 - were, 0)
    low, high = handed["after"].interval
    assert 0.4 < low < 0.5
    assert high == pytest.approx(1.0)
    assert found.changed[0].after.team == "orders"
    await shop.label(found.turns[0].past, "handoff", True)
    told = (await shop.replayed(policy=policy.Policy.parse(STRICT))).labelled()["handoff"]
    assert (told["before"].k, told["after"].k) == (0, 1)


async def test_that_no_article_is_right_is_kept_to_by_citing_none(shop: Shop) -> None:
    answered, taken_back, _ = await shop.past()
    for past, value in ((answered, ""), (taken_back, ""), (taken_back, None)):
        await shop.label(past, "source", value)
    told = (await shop.replayed(policy=policy.Policy.parse(STRICT))).labelled()["source"]
    assert (told["before"], told["after"], told["mended"]) == (replay.Share(1, 0), replay.Share(1, 1), 1)


async def test_new_articles_are_tried_in_a_copy_that_nobody_sees_afterwards(shop: Shop) -> None:
    before = await shop.articles()
    better = "Hong Kong delivery cost: what does delivery to Hong Kong cost? Delivery to Hong Kong does cost 40 yuan."
    async with scratch(shop.db, shop.workspace.id) as copy:
        await ingest(shop.db, copy, files({"hongkong": better}), models=shop.models(), blobs=shop.blobs)
        found = await shop.replayed(searched=copy)
        assert len(await scratches(shop.db)) == 1
    assert found.turns[0].changed == ("source",)
    assert found.turns[0].after.sources[0] == "en/hongkong"
    assert found.turns[1].changed == ()
    assert await shop.articles() == before
    assert await scratches(shop.db) == []


async def test_a_copy_finds_what_the_knowledge_itself_finds(shop: Shop) -> None:
    async with scratch(shop.db, shop.workspace.id) as copy:
        there, here = await shop.replayed(searched=copy), await shop.replayed()
    assert [one.after for one in there.turns] == [one.after for one in here.turns]


async def test_what_a_killed_replay_left_goes_with_the_next_one(shop: Shop) -> None:
    async with await psycopg.AsyncConnection.connect(shop.db.dsn, autocommit=True) as owner:
        for name, settings in (("left", '{"scratch": true}'), (mine := f"mine-{uuid.uuid4().hex[:8]}", "{}")):
            await owner.execute("INSERT INTO workspaces (name, settings) VALUES (%s, %s)", (PREFIX + name, settings))
        async with scratch(shop.db, shop.workspace.id), scratch(shop.db, shop.workspace.id):  # two at one time
            names = await scratches(shop.db)
            assert len(names) == 3
            assert PREFIX + "left" not in names
            assert PREFIX + mine in names
        await owner.execute("DELETE FROM workspaces WHERE name = %s", (PREFIX + mine,))


async def test_two_setups_are_compared_with_each_other(shop: Shop) -> None:
    strict = await shop.now(policy=policy.Policy.parse(STRICT))
    past = await shop.past()
    found = await replay.replay(shop.db, shop.blobs, shop.workspace.id, past, strict, against=strict)
    assert found.counts()["same"] == 3


async def test_turns_are_chosen_by_time_conversation_and_number(shop: Shop) -> None:
    every = await shop.past()
    assert [past.text for past in every] == list(ASKED)
    assert [past.text for past in await shop.past(limit=1)] == [ASKED[2]]
    last = every[-1]
    assert [past.text for past in await shop.past(since=last.said.created_at)] == [ASKED[2]]
    chosen = await shop.past(conversation_id=last.said.conversation_id)
    assert [past.said.id for past in chosen] == [last.said.id]


async def test_a_past_answer_is_made_again_from_the_versions_it_names(shop: Shop) -> None:
    made = await shop.as_it_was()
    assert [(one.missing, one.differs, one.notes) for one in made] == [((), (), ())] * 3


async def test_articles_that_changed_or_went_since_are_brought_back_for_it(shop: Shop) -> None:
    await shop.knows(fees="Delivery fees: all delivery costs 99 yuan now, to Hong Kong too.", late="Late: a new one.")
    await remove(shop.db, shop.workspace.id, "en/returns")
    assert (await shop.replayed()).counts()["same"] < 3
    now = await shop.articles()
    made = await shop.as_it_was()
    assert [(one.missing, one.differs) for one in made] == [((), ())] * 3
    assert made[0].notes == ("2 articles that have changed since were read again from their text",)
    assert await shop.articles() == now
    assert await scratches(shop.db) == []


async def test_another_model_and_policy_since_do_not_change_what_was(shop: Shop, folders: dict[str, Path]) -> None:
    await shop.uses(folders["second"])
    async with shop.db.transaction(shop.workspace.id) as tx:
        await policy.save_policy(tx, STRICT)
    assert all(one.same for one in await shop.as_it_was())


async def test_what_is_missing_is_named(shop: Shop, folders: dict[str, Path]) -> None:
    async with shop.db.transaction(shop.workspace.id) as tx:
        fingerprint = (await registry.current(tx))["active"]["fingerprint"]
        await tx.connection.execute(
            "UPDATE messages SET decision = decision - 'knowledge' WHERE id = %s", ((await shop.past())[0].said.id,)
        )
    shutil.rmtree(registry.folder_of(shop.home, shop.workspace.id, fingerprint))
    made = await shop.as_it_was()
    assert [one.missing for one in made] == [
        ("it names no version of the knowledge",),
        (f"the model first ({fingerprint[:12]})",),
        (f"the model first ({fingerprint[:12]})",),
    ]


async def test_a_decision_that_would_be_another_today_is_told_with_what_differs(shop: Shop) -> None:
    async with shop.db.transaction(shop.workspace.id) as tx:
        await tx.connection.execute(
            "UPDATE messages SET decision = jsonb_set(decision, '{confidence}', '0.111') WHERE id = %s",
            ((await shop.past())[0].said.id,),
        )
    (first, *_) = await shop.as_it_was()
    assert [one.split(" → ")[0] for one in first.differs] == ["knowledge: 0.111"]


async def test_a_model_is_called_by_name_or_by_the_beginning_of_its_fingerprint(shop: Shop) -> None:
    async with shop.db.transaction(shop.workspace.id) as tx:
        row = (await registry.current(tx))["active"]
        assert (await replay.model_called(tx, "first"))["id"] == row["id"]
        assert (await replay.model_called(tx, row["fingerprint"][:10]))["id"] == row["id"]
        with pytest.raises(NotFound):
            await replay.model_called(tx, "nothing")
        with pytest.raises(NotFound):
            await replay.policy_of_version(tx, 7)


# The command ------------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def duomo(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with small encoders. Gives: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("DUOMO_HOME", str(shop.home))
    monkeypatch.setenv("DATABASE_URL", shop.db.dsn)

    def engine(db: Database, settings: Any, folder: Path | None) -> tuple[Answerer, Reader, str]:
        networks = Networks(text=shop.encoder, english=shop.encoder)
        reader = Reader(shop.home, networks) if folder is None else replay.OneModel(shop.home, networks, folder)
        answerer = Answerer(Retriever(db, shop.encoder), shop.encoder, calibration=calibration(answer=0.5))
        return answerer, reader, "test"

    monkeypatch.setattr(replaying, "_engine", engine)
    monkeypatch.setattr(replaying.service, "_knowledge_models", shop.models)

    def run(*arguments: Any) -> tuple[int, str, str]:
        code = main(["replay", *map(str, arguments), "--workspace", shop.workspace.name])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


async def in_thread(run: Run, *arguments: Any) -> tuple[int, str, str]:
    return await asyncio.to_thread(run, *arguments)


async def test_the_command_tells_what_changed_and_no_texts_unless_asked(
    duomo: Run, tmp_path: Path, shop: Shop, folders: dict[str, Path]
) -> None:
    (tmp_path / "strict.yaml").write_text(STRICT)
    code, out, _ = await in_thread(duomo, "--policy", tmp_path / "strict.yaml")
    assert code == 0
    assert "3 turns of 3 conversations, with model first" in out
    assert "→ hand_over (orders, normal)" in out
    assert ASKED[0] not in out
    assert ASKED[0] in (await in_thread(duomo, "--policy", tmp_path / "strict.yaml", "--show-texts"))[1]
    found = json.loads((await in_thread(duomo, "--model", folders["second"], "--json"))[1])
    assert found["with"]["model"]["name"] == "onnx"
    assert found["counts"]["turns"] == 3
    assert (await in_thread(duomo, "--policy", 3))[0] == 2
    assert (await in_thread(duomo, "--as-it-was", "--policy", 3))[0] == 2


async def test_the_command_tries_articles_and_makes_answers_again(duomo: Run, tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "en").mkdir()
    article = tmp_path / "en/hongkong.md"
    article.write_text("# Hong Kong\n\nWhat does delivery to Hong Kong cost? Delivery to Hong Kong does cost 40 yuan.")
    code, out, told = await in_thread(duomo, "--articles", tmp_path)
    assert (code, "1 articles added" in told) == (0, True)
    assert "source en/fees → en/hongkong" in out
    assert (await in_thread(duomo, "--as-it-was"))[1] == "3 turns: 3 made again exactly, 0 otherwise, 0 not possible\n"
