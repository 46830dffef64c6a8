"""A trained model in a turn: the shipped one, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest

from duomo.demo import UNDERSTANDING
from duomo.errors import Conflict, InputError
from duomo.media.text import normalise
from duomo.models.embed import MultilingualE5, Vectors
from duomo.models.encoders import Models
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Workspace
from duomo.support import predict, registry, turn
from duomo.support.alarms import alarms
from duomo.support.answer import Answerer, Remembering
from duomo.support.conversation import IncomingFile, store_message
from duomo.support.export_samples import SPLITS, export
from duomo.support.perceive import Senses, perceive_part
from duomo.support.policy import save_policy
from duomo.support.policy_sections import Learning
from duomo.support.predict import Reader, load_files
from duomo.support.turn import Desk
from duomo.testing import FakeEmbedder
from duomo.types import Message
from tests.support.conftest import Customer, FakeRetriever, calibration, passage
from tests.support.learning import lines
from tests.support.test_turn import Ears, file_of, part_ids, png, unrepaired

REFUND = passage("Refunds arrive within 5 days.", article="en/refund-times", title="When the refund arrives")
POLICY = """
teams: [billing]
table:
  - {wish: person, do: hand_over}
  - {wish: emergency, do: hand_over, priority: urgent}
  - {name: money, intent: refund_status, do: hand_over, team: billing, priority: high}
  - {do: answer}
"""


class Counting(MultilingualE5):
    """The real encoder; remembers what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode(self, texts: list[str], *, kind: str) -> Vectors:  # type: ignore[override]
        self.asked += texts if kind == "query" else []
        return super().encode(texts, kind=kind)  # type: ignore[arg-type]


class Remembers(Reader):
    """Reads, and remembers what it was given to read."""

    def __init__(self, home: Path, models: Models) -> None:
        super().__init__(home, models)
        self.turns: list[predict.Turn] = []

    async def read(self, workspace_id: str, row: Row, turn: predict.Turn) -> predict.Understood | None:
        self.turns.append(turn)
        return await super().read(workspace_id, row, turn)


@pytest.fixture(scope="module")
def encoder() -> Counting:
    return Counting()


@pytest.fixture
async def model(db: Database, home: Path, workspace: Workspace) -> dict[str, object]:
    row = await registry.register(db, home, workspace.id, UNDERSTANDING / "model", origin="folder", name="shop")
    async with db.transaction(workspace.id) as tx:
        await registry.deploy(tx, str(row["id"]), "active", by="agent")
    return row


@pytest.fixture
def desk(db: Database, blobs: Blobs, home: Path, encoder: Counting) -> Desk:
    encoder.asked.clear()
    text = Remembering(encoder)
    answerer = Answerer(FakeRetriever(REFUND), text, calibration=calibration())
    return Desk(db, blobs, answerer, Reader(home, Models(text=text)))


async def said_by_bot(customer: Customer) -> Message:
    (message,) = [m for m in await customer.messages() if m.author == "bot"]
    return message


async def predictions(customer: Customer) -> list[dict[str, object]]:
    async with customer.db.transaction(customer.workspace.id) as tx:
        cursor = await tx.connection.execute(
            "SELECT role, pattern, language, text, heads FROM predictions WHERE conversation_id = %s ORDER BY role",
            (customer.conversation_id,),
        )
        return await cursor.fetchall()


async def test_a_turn_says_what_is_wanted_and_by_which_versions(
    customer: Customer, desk: Desk, model: dict[str, object]
) -> None:
    message_id = await customer.says("When is the money for my returned kettle back on my card?")
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    decision = (await said_by_bot(customer)).decision
    assert decision["model"] == {
        "id": str(model["id"]), "fingerprint": model["fingerprint"], "name": "shop", "role": "active",
    }  # fmt: skip
    understood = decision["understood"]
    assert (understood["message_id"], understood["pattern"], decision["language"]) == (message_id, "text", "en")
    intent = understood["heads"]["intent"]
    assert intent["label"] == "refund_status"
    assert intent["shares"] == {"text": 1.0}
    assert set(intent) == {"label", "confidence", "set", "abstain", "shares", "conflict", "out_of_scope", "top"}
    assert math.isclose(intent["top"][0][1], intent["confidence"], abs_tol=1e-3)
    assert decision["facts"]["intent"] == "refund_status"
    assert decision["policy"]["version"] == 0
    [stored] = await predictions(customer)
    assert (stored["role"], stored["heads"], stored["text"]) == ("active", understood["heads"], understood["text"])


async def test_the_text_is_encoded_once_for_the_model_and_for_the_search(
    customer: Customer, desk: Desk, model: dict[str, object], encoder: Counting
) -> None:
    said = "Ｗhere is  my parcel？"
    await customer.says(said)
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    assert encoder.asked.count(normalise(said)) == 1


async def test_the_policy_decides_on_the_intent(customer: Customer, desk: Desk, model: dict[str, object]) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await save_policy(tx, POLICY)
    await customer.says("我退的货，钱什么时候退回来？")
    outcome = await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    assert outcome is not None
    assert (outcome.kind, outcome.handoff, outcome.team, outcome.priority) == ("handoff", "policy", "billing", "high")
    assert (await said_by_bot(customer)).decision["policy"] == {
        "version": 1, "row": 3, "name": "money", "do": "hand_over", "team": "billing", "priority": "high",
        "reason": "policy",
    }  # fmt: skip
    async with customer.db.transaction(customer.workspace.id) as tx:
        row = await tx.one("conversation", id=customer.conversation_id)
    assert row is not None
    assert (row["status"], row["team"], row["priority"], row["handoff_reason"]) == ("open", "billing", "high", "policy")


async def test_without_a_model_everything_still_works(customer: Customer, desk: Desk) -> None:
    await customer.says("what does delivery cost")
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    said = await said_by_bot(customer)
    assert (said.kind, said.decision["model"], said.decision["understood"]) == ("answer", None, None)
    assert await predictions(customer) == []


@pytest.mark.parametrize(("text", "outcome"), [("hello!", "greeting"), ("转人工", "handoff")])
async def test_nothing_is_learned_from_a_greeting_or_a_bare_call_for_a_person(
    customer: Customer, desk: Desk, model: dict[str, object], text: str, outcome: str
) -> None:
    await customer.says(text)
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    said = await said_by_bot(customer)
    assert (said.decision["outcome"], said.decision["understood"]) == (outcome, None)
    assert await predictions(customer) == []


async def test_a_model_whose_files_are_gone_does_not_stop_a_conversation(
    customer: Customer, desk: Desk, model: dict[str, object], home: Path
) -> None:
    folder = registry.folder_of(home, customer.workspace.id, str(model["fingerprint"]))
    (folder / "model.onnx").unlink()
    await customer.says("what does delivery cost")
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    said = await said_by_bot(customer)
    assert (said.kind, said.decision["model"]) == ("answer", None)
    async with customer.db.transaction(customer.workspace.id) as tx:
        [alarm] = await alarms(tx)
    assert (alarm["kind"], alarm["data"], alarm["cleared_at"]) == ("model", {"name": "shop", "role": "active"}, None)


@pytest.mark.usefixtures("model")
async def test_where_the_canary_cannot_be_opened_the_active_model_reads_and_it_is_tried_again(
    customer: Customer, desk: Desk, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await another_model(customer, home, tmp_path, "canary", share=1.0)
    graph = registry.folder_of(home, customer.workspace.id, str(row["fingerprint"])) / "model.onnx"
    graph.rename(graph.with_suffix(".lost"))
    await customer.says("Where is my parcel?")
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    assert [p["role"] for p in await predictions(customer)] == ["active"]
    graph.with_suffix(".lost").rename(graph)
    monkeypatch.setattr(predict, "TRY_AGAIN_S", 0.0)
    await customer.says("And my refund?")
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    assert [p["role"] for p in await predictions(customer)] == ["active", "canary"]


async def another_model(
    customer: Customer, home: Path, tmp_path: Path, role: registry.Role, *, share: float | None = None
) -> dict[str, object]:
    """The shop's model under another fingerprint."""
    folder = tmp_path / "other"
    folder.mkdir()
    for file in (UNDERSTANDING / "model").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace('"duomo": "', '"duomo": "another of '), "utf-8")
    row = await registry.register(customer.db, home, customer.workspace.id, folder, origin="folder", name="other")
    async with customer.db.transaction(customer.workspace.id) as tx:
        await registry.deploy(tx, str(row["id"]), role, share=share, by="agent")
    return row


async def test_a_picture_is_seen_by_the_model_though_the_turn_encodes_nothing(
    customer: Customer, desk: Desk, model: dict[str, object], blobs: Blobs, home: Path
) -> None:
    await customer.says("", file_of(blobs, customer.workspace, png()))
    reader = Reader(home, Models())  # another process has other models in memory
    senses = Senses(customer.db, blobs, Ears(read="E21 overheat"), unrepaired, reader)
    [part_id] = await part_ids(customer)
    await perceive_part(senses, customer.workspace.id, part_id)
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    [stored] = await predictions(customer)
    assert (stored["pattern"], stored["text"]) == ("text+image", "E21 overheat")
    shares = stored["heads"]["intent"]["shares"]  # type: ignore[index]
    assert set(shares) == {"text", "image"}
    assert math.isclose(sum(shares.values()), 1.0, abs_tol=1e-3)


async def test_a_file_that_was_not_encoded_for_the_model_is_missing_to_it(
    customer: Customer, desk: Desk, model: dict[str, object], blobs: Blobs
) -> None:
    await customer.says("看一下", file_of(blobs, customer.workspace, png()))
    [part_id] = await part_ids(customer)
    await perceive_part(Senses(customer.db, blobs, Ears(read="E21"), unrepaired), customer.workspace.id, part_id)
    async with customer.db.transaction(customer.workspace.id) as tx:
        assert await load_files(tx, [m.id for m in await customer.messages()]) == {}
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    [stored] = await predictions(customer)
    assert stored["pattern"] == "text"


async def test_a_shadow_listens_and_changes_nothing(
    customer: Customer, desk: Desk, model: dict[str, object], home: Path, tmp_path: Path
) -> None:
    await another_model(customer, home, tmp_path, "shadow")
    await customer.says("Where is my parcel?")
    await turn.run_turn(desk, customer.workspace.id, customer.conversation_id)
    assert [p["role"] for p in await predictions(customer)] == ["active", "shadow"]
    assert (await said_by_bot(customer)).decision["model"]["name"] == "shop"


async def test_the_model_reads_along_where_a_person_answers(
    customer: Customer, desk: Desk, model: dict[str, object], agent: str
) -> None:
    await customer.says("hello")
    await customer.act("take_over", agent_id=agent)
    await customer.says("My refund has not arrived yet")
    assert ("listen", customer.conversation_id) in await customer.jobs()
    assert await turn.listen(desk, customer.workspace.id, customer.conversation_id)
    last = (await customer.messages())[-1]
    assert last.author == "customer"
    assert last.decision["understood"]["heads"]["intent"]["label"] == "refund_status"
    assert await turn.run_turn(desk, customer.workspace.id, customer.conversation_id) is None


async def test_a_model_learns_from_the_very_texts_that_it_reads(
    customer: Customer, desk: Desk, blobs: Blobs, home: Path, model: dict[str, object], tmp_path: Path
) -> None:
    unsure = Answerer(
        FakeRetriever(replace(REFUND, signals={**REFUND.signals, "cosine": 0.5})), FakeEmbedder(),
        calibration=calibration(),
    )  # fmt: skip
    reader = Remembers(home, Models())
    desk = replace(desk, answerer=unsure, reader=reader)

    async def asks(text: str, *files: IncomingFile) -> None:
        await customer.says(text, *files)
        for part_id in await part_ids(customer) if files else ():
            screen = "14:32 5G 87% " + " ".join(f"line {i} of the order" for i in range(40))
            await perceive_part(
                Senses(customer.db, blobs, Ears(read=screen), unrepaired), customer.workspace.id, part_id
            )
        if not await turn.run_turn(desk, customer.workspace.id, customer.conversation_id):
            await turn.listen(desk, customer.workspace.id, customer.conversation_id)

    await asks("Ｗhat about my  refund?")
    await asks(REFUND.title)  # the option that it was asked back with
    await asks("and how long?")
    await asks("see here", file_of(blobs, customer.workspace, png()))
    assert await customer.status() == "open"
    await asks("still no parcel")
    await asks("it was the blue one")  # read together with the one before, which nobody has answered
    async with customer.db.transaction(customer.workspace.id) as tx:
        await store_message(tx, customer.conversation_id, author="agent", kind="text", text="Yes.", language="en")
    await asks("where is it?")

    await export(customer.db, blobs, customer.workspace.id, tmp_path, learning=Learning())

    samples = [sample for split in SPLITS for sample in lines(tmp_path, split)]
    learned = [(normalise(sample["text"]), sample.get("history", [])) for sample in samples]
    assert learned == [(normalise(one.text), list(one.history)) for one in reader.turns]
    assert sorted(text for text, _ in learned) == sorted(str(one["text"]) for one in await predictions(customer))
    assert [text for text, _ in learned[:3]] == [
        "What about my refund?",
        "What about my refund? When the refund arrives",
        "and how long?",
    ]
    assert learned[3][0].startswith("see here line of the order line of")
    assert [text for text, _ in learned[4:]] == [
        "still no parcel", "still no parcel\nit was the blue one", "where is it?",
    ]  # fmt: skip


async def test_one_model_is_active_however_many_are_activated_at_once(
    db: Database, workspace: Workspace, model: dict[str, object]
) -> None:
    async def activate() -> None:
        async with db.transaction(workspace.id) as tx:
            await registry.deploy(tx, str(model["id"]), "active", by="agent")

    await asyncio.gather(*(activate() for _ in range(6)))
    async with db.transaction(workspace.id) as tx:
        assert list(await registry.current(tx)) == ["active"]
        assert sum(row["ended_at"] is None for row in await registry.history(tx)) == 1
        with pytest.raises(Conflict, match="Activate another"):
            await registry.deploy(tx, str(model["id"]), "shadow", by="agent")


async def test_a_folder_that_is_no_exported_model_is_refused_with_what_to_do(
    db: Database, home: Path, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="Name the folder that `duomo export --onnx` wrote"):
        await registry.register(db, home, workspace.id, tmp_path, origin="folder", name="x")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="trained but not exported"):
        await registry.register(db, home, workspace.id, tmp_path, origin="folder", name="x")
