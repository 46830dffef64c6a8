"""A turn, from what a customer sent to what is said, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from duomo.media import image
from duomo.models.embed import Pixels, Vectors
from duomo.models.llm import Prompt
from duomo.models.speech import Waveform
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation, turn
from duomo.support.conversation import IncomingFile
from duomo.support.generate import Writer
from duomo.support.perceive import Senses, perceive_part, refuse_part
from duomo.testing import FakeLLM
from duomo.types import Artifact, Language
from tests.support.conftest import Customer, desk, passage

FEES = passage("Delivery to Hong Kong costs ¥35.")


class Ears:
    """Hears a given text and reads a given text."""

    def __init__(self, *, heard: str = "", read: str = "") -> None:
        self.heard, self.read = heard, read

    def voice(self, waveform: Waveform, *, language_hint: Language | None = None) -> list[Artifact]:
        return [Artifact("transcript", self.heard, 0.9, "ears", "1", 5, {"language": language_hint})]

    def picture(self, pixels: Pixels) -> tuple[list[Artifact], Vectors]:
        import numpy as np

        return [Artifact("ocr", self.read, 0.9, "eyes", "1", 5)], np.ones(8, dtype=np.float32)


async def unrepaired(workspace_id: str, text: str, language: Language | None) -> str:
    return text


def file_of(
    blobs: Blobs, workspace: Workspace, data: bytes, *, kind: str = "image", name: str = "a.png"
) -> IncomingFile:
    return IncomingFile(kind, "image/png", name, blobs.put(workspace.id, data), len(data))  # type: ignore[arg-type]


def png() -> bytes:
    import numpy as np

    return image.encode(np.full((40, 60, 3), 200, dtype=np.uint8))


async def part_ids(customer: Customer) -> list[str]:
    return [part.id for message in await customer.messages() for part in message.parts]


async def test_a_question_is_answered_with_a_quote_and_its_source(customer: Customer, blobs: Blobs) -> None:
    await customer.says("what does delivery to Hong Kong cost")
    await turn.run_turn(desk(customer.db, blobs, [FEES]), customer.workspace.id, customer.conversation_id)
    (answer,) = [m for m in await customer.messages() if m.author == "bot"]
    assert (answer.kind, answer.text) == ("answer", "Delivery to Hong Kong costs ¥35. [1]")
    assert [(c.title, c.quote) for c in answer.citations] == [("Delivery fees", "Delivery to Hong Kong costs ¥35.")]
    assert answer.decision["outcome"] == "answer"


async def test_running_a_turn_again_says_nothing_twice(customer: Customer, blobs: Blobs) -> None:
    await customer.says("what does delivery cost")
    work = desk(customer.db, blobs, [FEES])
    both = [turn.run_turn(work, customer.workspace.id, customer.conversation_id) for _ in range(4)]
    said = [outcome for outcome in await asyncio.gather(*both) if outcome]
    await turn.run_turn(work, customer.workspace.id, customer.conversation_id)
    assert len(said) == 1
    assert [kind for kind, _ in await customer.told()] == ["answer"]


async def test_messages_in_quick_succession_get_one_answer(customer: Customer, blobs: Blobs) -> None:
    await customer.says("one question please about fees")
    await customer.says("what does delivery to Hong Kong cost")
    work = desk(customer.db, blobs, [FEES])
    for _ in range(2):  # one job for each message
        await turn.run_turn(work, customer.workspace.id, customer.conversation_id)
    assert await customer.told() == [("answer", "Delivery to Hong Kong costs ¥35. [1]")]
    (decision,) = [m.decision for m in await customer.messages() if m.author == "bot"]
    assert decision["asked"] == "one question please about fees\nwhat does delivery to Hong Kong cost"


async def test_the_bot_is_silent_where_a_person_has_taken_over(customer: Customer, agent: str, blobs: Blobs) -> None:
    await customer.says("what does delivery cost")
    await customer.act("take_over", agent_id=agent)
    assert (
        await turn.run_turn(desk(customer.db, blobs, [FEES]), customer.workspace.id, customer.conversation_id) is None
    )
    assert [m.author for m in await customer.messages() if m.author == "bot"] == []


async def test_taking_over_stops_an_answer_that_is_being_written(customer: Customer, agent: str, blobs: Blobs) -> None:
    taken, shown = asyncio.Event(), asyncio.Event()

    async def pause(seconds: float) -> None:
        shown.set()
        await taken.wait()

    pieces: Sequence[str | float] = ["It costs ¥35 [1]. ", "Delivery ", 1.0, "is to Hong Kong [1]. ", "Really [1]."]
    llm = FakeLLM(pieces, sleep=pause)
    await customer.says("what does delivery cost")
    work = desk(customer.db, blobs, [FEES], writer=Writer(llm))
    running = asyncio.create_task(turn.run_turn(work, customer.workspace.id, customer.conversation_id))
    await shown.wait()
    await customer.act("take_over", agent_id=agent)
    before = await customer.events()
    taken.set()
    assert await running is None
    assert await customer.events() == before  # not a word after the takeover


async def test_a_streamed_answer_ends_as_the_message_its_pieces_belong_to(customer: Customer, blobs: Blobs) -> None:
    await customer.says("what does delivery cost")
    work = desk(customer.db, blobs, [FEES], writer=Writer(FakeLLM("It costs ¥35 [1].")))
    await turn.run_turn(work, customer.workspace.id, customer.conversation_id)
    events = await customer.events()
    (answer,) = [m for m in await customer.messages() if m.author == "bot"]
    assert [(e.kind, e.data) for e in events[1:]] == [
        ("turn", {"state": "working", "waiting_for": []}),
        ("delta", {"message_id": answer.id, "text": "It costs ¥35. [1]"}),
        ("message", {}),
        ("turn", {"state": "done", "waiting_for": []}),
    ]
    assert answer.text == "It costs ¥35. [1]"


async def test_a_turn_waits_for_a_picture_says_so_in_time_and_answers_when_it_is_read(
    customer: Customer, blobs: Blobs, db: Database, workspace: Workspace
) -> None:
    await customer.says("what is this?", file_of(blobs, workspace, png()))
    work = desk(db, blobs, [FEES])
    assert await turn.run_turn(work, workspace.id, customer.conversation_id) is None
    assert [e.data for e in await customer.events() if e.kind == "turn"] == [
        {"state": "waiting", "waiting_for": ["image"]}
    ]
    for _ in range(2):  # the deadline's job may run twice
        await turn.hold(work, workspace.id, customer.conversation_id)
    holding = "I have your message. I am still working on the picture and will answer as soon as it is done."
    assert await customer.told() == [("holding", holding)]
    senses = Senses(db, blobs, Ears(read="delivery fee"), unrepaired)
    (part_id,) = await part_ids(customer)
    jobs = len(await customer.jobs())
    assert await perceive_part(senses, workspace.id, part_id)
    assert (await customer.jobs())[jobs:] == [("turn", customer.conversation_id)]
    await turn.run_turn(work, workspace.id, customer.conversation_id)
    assert [kind for kind, _ in await customer.told()] == ["holding", "answer"]
    assert not await turn.hold(work, workspace.id, customer.conversation_id)  # nothing is missing any more


async def test_what_was_read_takes_part_in_the_search(customer: Customer, blobs: Blobs, workspace: Workspace) -> None:
    await customer.says("", file_of(blobs, workspace, png()))
    (part_id,) = await part_ids(customer)
    await perceive_part(Senses(customer.db, blobs, Ears(read="E21 overheat"), unrepaired), workspace.id, part_id)
    work = desk(customer.db, blobs, [FEES])
    outcome = await turn.run_turn(work, workspace.id, customer.conversation_id)
    assert outcome is not None
    assert outcome.decision["asked"] == "E21 overheat"


async def test_a_file_that_cannot_be_read_is_shown_with_its_reason_and_stops_nothing(
    customer: Customer, blobs: Blobs, workspace: Workspace
) -> None:
    await customer.says("what does delivery cost", file_of(blobs, workspace, b"no picture at all \x00\x01"))
    (part_id,) = await part_ids(customer)
    await perceive_part(Senses(customer.db, blobs, Ears(), unrepaired), workspace.id, part_id)
    (message,) = await customer.messages()
    assert (message.parts[0].state, message.parts[0].error_code) == ("refused", "unsupported_type")
    await turn.run_turn(desk(customer.db, blobs, [FEES]), workspace.id, customer.conversation_id)
    assert [kind for kind, _ in await customer.told()] == ["answer"]


async def test_a_file_alone_that_cannot_be_read_is_asked_for_again(
    customer: Customer, blobs: Blobs, workspace: Workspace
) -> None:
    await customer.says("", file_of(blobs, workspace, png()))
    (part_id,) = await part_ids(customer)
    senses = Senses(customer.db, blobs, Ears(), unrepaired)
    assert await refuse_part(senses, workspace.id, part_id)
    await turn.run_turn(desk(customer.db, blobs, [FEES]), workspace.id, customer.conversation_id)
    assert await customer.told() == [
        ("answer", "The picture you sent could not be read. Please send it again or describe the problem in words.")
    ]


@pytest.mark.parametrize("keep", [False, True])
async def test_the_bytes_as_sent_are_kept_only_where_the_workspace_says_so(
    db: Database, blobs: Blobs, keep: bool
) -> None:
    from tests.support.conftest import new_customer

    workspace = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {"keep_originals": keep})
    customer = await new_customer(db, workspace)
    sent = file_of(blobs, workspace, png())
    await customer.says("", sent)
    (part_id,) = await part_ids(customer)
    await perceive_part(Senses(db, blobs, Ears(read="x"), unrepaired), workspace.id, part_id)
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute("SELECT incoming, original, state FROM parts WHERE id = %s", (part_id,))
        row = await cursor.fetchone()
    assert row == {"incoming": None, "original": sent.blob_key if keep else None, "state": "ready"}


async def test_a_repaired_transcript_keeps_what_was_heard(
    customer: Customer, blobs: Blobs, workspace: Workspace
) -> None:
    from duomo.media.audio import encode_wav

    async def repair(workspace_id: str, text: str, language: Language | None) -> str:
        return text.replace("收获地址", "收货地址")

    import numpy as np

    wave = (0.1 * np.sin(np.arange(16000) / 20)).astype(np.float32)
    await customer.says("", file_of(blobs, workspace, encode_wav(wave), kind="audio", name="note.wav"))
    (part_id,) = await part_ids(customer)
    await perceive_part(Senses(customer.db, blobs, Ears(heard="怎么改收获地址"), repair), workspace.id, part_id)
    (message,) = await customer.messages()
    (stored,) = message.parts[0].artifacts
    assert (stored.artifact.text, stored.original_text) == ("怎么改收货地址", "怎么改收获地址")


async def test_a_customers_correction_is_answered_again_and_an_agents_is_not(
    customer: Customer, blobs: Blobs, workspace: Workspace
) -> None:
    await customer.says("", file_of(blobs, workspace, png()))
    (part_id,) = await part_ids(customer)
    await perceive_part(Senses(customer.db, blobs, Ears(read="E21"), unrepaired), workspace.id, part_id)
    work = desk(customer.db, blobs, [FEES])
    await turn.run_turn(work, workspace.id, customer.conversation_id)
    (message, _) = await customer.messages()
    artifact = message.parts[0].artifacts[0].id
    jobs = len(await customer.jobs())

    async def correct(text: str, by: str) -> None:
        async with customer.db.transaction(workspace.id) as tx:
            await conversation.correct_artifact(
                tx, conversation_id=customer.conversation_id, artifact_id=artifact, text=text, by=by,  # type: ignore[arg-type]
            )  # fmt: skip

    await correct("E22", "agent")
    assert len(await customer.jobs()) == jobs
    await correct("E23", "customer")
    assert (await customer.jobs())[jobs:] == [("turn", customer.conversation_id)]
    again = {"message_id": message.id, "seq": (await customer.events())[-1].seq}
    for _ in range(2):
        await turn.run_turn(work, workspace.id, customer.conversation_id, again=again)
    answers = [m for m in await customer.messages() if m.kind == "answer"]
    assert [m.decision["asked"] for m in answers] == ["E21", "E23"]


async def test_a_correction_gives_the_bot_another_try_until_a_person_has_the_conversation(
    customer: Customer, blobs: Blobs, workspace: Workspace
) -> None:
    await customer.says("", file_of(blobs, workspace, png()))
    (part_id,) = await part_ids(customer)
    await perceive_part(Senses(customer.db, blobs, Ears(read="3000"), unrepaired), workspace.id, part_id)
    await turn.run_turn(desk(customer.db, blobs), workspace.id, customer.conversation_id)
    assert await customer.status() == "open"
    (message, *_) = await customer.messages()
    artifact, jobs = message.parts[0].artifacts[0].id, len(await customer.jobs())

    async def correct(text: str) -> str:
        async with customer.db.transaction(workspace.id) as tx:
            await conversation.correct_artifact(
                tx, conversation_id=customer.conversation_id, artifact_id=artifact, text=text, by="customer"
            )
        return await customer.status()

    assert await correct("three days") == "pending"
    assert (await customer.jobs())[jobs:] == [("turn", customer.conversation_id)]
    async with customer.db.transaction(workspace.id) as tx:
        await conversation.act(
            tx, conversation_id=customer.conversation_id, action="hand_off", by="customer", reason="requested"
        )
    assert await correct("four days") == "open"


async def test_a_job_that_failed_for_good_calls_a_person(customer: Customer, blobs: Blobs) -> None:
    await customer.says("what does delivery cost")
    assert await turn.give_up(customer.db, customer.workspace.id, customer.conversation_id)
    text = "Something went wrong while I worked on your message, so a person will take over. Please wait a moment."
    assert await customer.told() == [("handoff", text)]
    assert await customer.status() == "open"


async def test_the_language_of_the_answer_follows_the_customer(customer: Customer, blobs: Blobs) -> None:
    await customer.says("转人工")
    await turn.run_turn(desk(customer.db, blobs), customer.workspace.id, customer.conversation_id)
    assert await customer.told() == [("handoff", "好的，正在为您转接人工客服，请稍候。")]
    assert await customer.status() == "open"


async def test_a_short_question_is_read_with_the_one_before(customer: Customer, blobs: Blobs) -> None:
    work = desk(customer.db, blobs, [FEES])
    for text in ("what does delivery to Macau cost", "and for Hong Kong?"):
        await customer.says(text)
        await turn.run_turn(work, customer.workspace.id, customer.conversation_id)
    retriever = work.answerer._retriever
    assert [q.text for q in retriever.asked][-1].startswith(  # type: ignore[attr-defined]
        "what does delivery to Macau cost and for Hong Kong?"
    )


async def test_a_server_that_stops_midway_is_replaced_by_a_quote(customer: Customer, blobs: Blobs) -> None:
    from duomo.errors import LLMUnavailable

    class Cut(FakeLLM):
        async def stream(self, prompt: Prompt) -> AsyncIterator[str]:
            yield "It costs ¥35 [1]. And "
            raise LLMUnavailable("the language model's answer was cut")

    await customer.says("what does delivery cost")
    await turn.run_turn(
        desk(customer.db, blobs, [FEES], writer=Writer(Cut())), customer.workspace.id, customer.conversation_id
    )
    (answer,) = [m for m in await customer.messages() if m.author == "bot"]
    assert (answer.text, answer.decision["llm"]) == (
        "Delivery to Hong Kong costs ¥35. [1]", "the language model's answer was cut",
    )  # fmt: skip
