"""Conversations become samples: what is in them, and what must never be."""

import json
import uuid

from duomo.learn.samples import load_samples
from duomo.learn.task import Head
from duomo.support import conversation
from duomo.support.export_samples import export, held_out, set_consent
from duomo.support.policy_sections import Learning
from tests.support.learning import answer, attach, contact_who_is, conversation_of, label, lines, new_turn


async def learner(db, workspace, **how):
    return await conversation_of(db, workspace, await contact_who_is(db, workspace, **{"apart": False, **how}))


async def test_a_turn_is_a_sample_with_its_text_its_files_and_its_labels(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    first = await customer.says("It arrived like this")
    picture = await attach(customer, blobs, first, b"first", mime="image/webp", artifact=("ocr", "E21"))
    await attach(customer, blobs, first, b"second", mime="image/webp", artifact=("picture_kind", "photo"))
    last = await customer.says("so what?")
    sound = await attach(customer, blobs, last, b"voice", mime="audio/ogg", artifact=("transcript", "the lid broke"))
    await answer(customer)
    await label(customer, last, "damaged_on_arrival")
    await label(customer, last, "high", head="urgency")

    done = await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    group = lines(tmp_path, "train")[0]["group"]
    assert lines(tmp_path, "train") == [
        {
            "id": last,
            "text": "It arrived like this\nso what?\nthe lid broke E21",
            "image": f"media/{picture}.webp",
            "audio": f"media/{sound}.ogg",
            "group": group,
            "labels": {"intent": "damaged_on_arrival", "urgency": "high"},
        }
    ]
    assert sorted(path.name for path in (tmp_path / "media").iterdir()) == sorted([f"{picture}.webp", f"{sound}.ogg"])
    assert (tmp_path / "media" / f"{picture}.webp").read_bytes() == b"first"
    assert (lines(tmp_path, "unlabelled"), lines(tmp_path, "heldout")) == ([], [])
    assert {name: done.counts[name] for name in ("turns", "train", "unlabelled", "held_out", "pictures", "sounds")} == {
        "turns": 1, "train": 1, "unlabelled": 0, "held_out": 0, "pictures": 1, "sounds": 1,
    }  # fmt: skip
    (sample,) = load_samples(tmp_path / "train.jsonl", heads=[Head("intent"), Head("urgency")])
    assert sample.labels == {"intent": "damaged_on_arrival", "urgency": "high"}


async def test_the_newest_label_holds_and_a_second_opinion_never_does(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    message = await new_turn(customer, "Where is it?", labels={"intent": "refund_status"})
    await label(customer, message, "track_order", origin="recheck")
    await label(customer, message, "invoice", origin="second")

    await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert [line["labels"] for line in lines(tmp_path, "train")] == [{"intent": "track_order"}]


async def test_personal_data_is_masked_in_texts_voices_pictures_and_earlier_turns(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    await new_turn(customer, "I am lin@example.com")
    message = await customer.says("call 13812345678")
    await attach(customer, blobs, message, b"v", mime="audio/ogg", artifact=("transcript", "card 4111 1111 1111 1111"))
    await attach(customer, blobs, message, b"p", mime="image/webp", artifact=("ocr", "沪A·12345"))
    await answer(customer)
    apart = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=True))
    await new_turn(apart, "or me at 13812345678", labels={"intent": "invoice"})

    await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    written = "".join(path.read_text() for path in tmp_path.glob("*.json*"))
    for secret in ("lin@example.com", "13812345678", "4111", "12345"):
        assert secret not in written
    last = lines(tmp_path, "unlabelled")[1]
    assert last["text"] == "call [phone]\ncard [card] [plate]"
    assert last["history"] == ["I am [email]"]


async def test_a_number_that_the_cut_of_a_screenshot_goes_through_is_masked(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    message = await customer.says("look")
    read = f"{'order page ' * 26}call 13812345678"
    await attach(customer, blobs, message, b"p", mime="image/webp", artifact=("ocr", read))
    await answer(customer)

    await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert lines(tmp_path, "unlabelled")[0]["text"] == f"look {'order page ' * 26}call [phone]"


async def test_a_corrected_transcript_is_what_is_learned_from(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    message = await customer.says("listen")
    await attach(customer, blobs, message, b"v", mime="audio/ogg", artifact=("transcript", "return my kettle"))
    await answer(customer)
    [heard] = [part.artifacts[0] for m in await customer.messages() for part in m.parts]
    async with db.transaction(workspace.id) as tx:
        await conversation.correct_artifact(
            tx, conversation_id=customer.conversation_id, artifact_id=heard.id, text="return my cattle", by="agent"
        )

    done = await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert lines(tmp_path, "unlabelled")[0]["text"] == "listen\nreturn my cattle"
    assert done.counts["corrections"] == 1


async def test_who_said_no_is_left_out_and_under_asked_so_is_who_was_never_asked(db, workspace, blobs, tmp_path):
    texts = {None: "never asked", True: "said yes", False: "said no"}
    for may_train, text in texts.items():
        await new_turn(await learner(db, workspace, may_train=may_train), text)

    everybody = await export(db, blobs, workspace.id, tmp_path / "all", learning=Learning())
    asked = await export(db, blobs, workspace.id, tmp_path / "asked", learning=Learning(consent="asked"))

    assert [line["text"] for line in lines(tmp_path / "all", "unlabelled")] == ["never asked", "said yes"]
    assert [line["text"] for line in lines(tmp_path / "asked", "unlabelled")] == ["said yes"]
    assert (everybody.counts["left_out"], asked.counts["left_out"]) == ({"consent": 1}, {"consent": 2})


async def test_a_customer_may_change_their_mind(db, workspace, blobs, tmp_path):
    contact = await contact_who_is(db, workspace, apart=False)
    await new_turn(await conversation_of(db, workspace, contact), "a question")

    async def exported_after(value: bool | None) -> list[str]:
        async with db.transaction(workspace.id) as tx:
            assert await set_consent(tx, contact, value)
            assert not await set_consent(tx, str(uuid.uuid4()), value)
        await export(db, blobs, workspace.id, tmp_path, learning=Learning())
        return [line["text"] for line in lines(tmp_path, "unlabelled")]

    assert [await exported_after(value) for value in (False, True, None)] == [[], ["a question"], ["a question"]]


async def test_what_is_older_than_the_policy_keeps_is_left_out(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    old = await new_turn(customer, "long ago", labels={"intent": "invoice"})
    await new_turn(customer, "today")
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute("UPDATE messages SET created_at = now() - interval '31 days' WHERE id = %s", (old,))

    done = await export(db, blobs, workspace.id, tmp_path, learning=Learning(retention_days=30))

    assert lines(tmp_path, "train") == []
    assert [line["text"] for line in lines(tmp_path, "unlabelled")] == ["today"]
    assert done.counts["left_out"] == {"retention": 1}


async def test_what_is_older_is_no_context_and_no_part_of_a_later_turn(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    old = [await new_turn(customer, "long ago"), await customer.says("never answered")]
    await new_turn(customer, "today")
    await new_turn(customer, "again")
    async with db.transaction(workspace.id) as tx:
        for id in old:
            await tx.connection.execute(
                "UPDATE messages SET created_at = now() - interval '31 days' WHERE id = %s", (id,)
            )

    done = await export(db, blobs, workspace.id, tmp_path, learning=Learning(retention_days=30))

    found = [(line["text"], line.get("history")) for line in lines(tmp_path, "unlabelled")]
    assert found == [("today", None), ("again", ["today"])]
    assert done.counts["left_out"] == {"retention": 2}


async def test_without_media_no_picture_and_no_voice_leaves_the_tables(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    message = await customer.says("look")
    await attach(customer, blobs, message, b"p", mime="image/webp", artifact=("ocr", "E21"))
    await answer(customer)
    await export(db, blobs, workspace.id, tmp_path, learning=Learning())
    assert len(list((tmp_path / "media").iterdir())) == 1

    await export(db, blobs, workspace.id, tmp_path, learning=Learning(media=False))

    assert lines(tmp_path, "unlabelled")[0]["text"] == "look E21"
    assert "image" not in lines(tmp_path, "unlabelled")[0]
    assert list((tmp_path / "media").iterdir()) == []


async def test_a_fixed_fifth_of_the_customers_is_held_out_whatever_is_labelled(db, workspace, blobs, tmp_path):
    apart = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=True))
    known = await new_turn(apart, "known", labels={"intent": "invoice"}, team="billing")
    unknown = await new_turn(apart, "unknown")
    await new_turn(await learner(db, workspace), "mine", labels={"intent": "invoice"})

    await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert [line["id"] for line in lines(tmp_path, "heldout")] == [known, unknown]
    assert [line["text"] for line in lines(tmp_path, "train")] == ["mine"]
    assert lines(tmp_path, "unlabelled") == []
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert len(facts) == 3
    assert facts[known].pop("labelled_at") > "2026"
    assert (facts[known], facts[unknown]) == (
        {"language": "en", "team": "billing"},
        {"language": "en", "team": None, "labelled_at": None},
    )
    share = sum(held_out(str(uuid.UUID(int=n))) for n in range(10_000)) / 10_000
    assert 0.19 < share < 0.21


async def test_a_question_that_nobody_has_answered_waits_unless_it_is_labelled(db, workspace, blobs, tmp_path):
    await new_turn(await learner(db, workspace), "open", answered=False)
    await new_turn(await learner(db, workspace), "labelled", answered=False, labels={"intent": "invoice"})

    done = await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert [line["text"] for line in lines(tmp_path, "train")] == ["labelled"]
    assert done.counts["left_out"] == {"unanswered": 1}


async def test_small_talk_is_left_out_unless_somebody_labelled_it(db, workspace, blobs, tmp_path):
    for text, labels in (("hello!", None), ("转人工", None), ("talk to a person", {"intent": "other"})):
        await new_turn(await learner(db, workspace), text, labels=labels or {})

    done = await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert [line["text"] for line in lines(tmp_path, "train")] == ["talk to a person"]
    assert lines(tmp_path, "unlabelled") == []
    assert done.counts["left_out"] == {"small_talk": 2}


async def test_the_identity_follows_what_is_labelled_and_nothing_else(db, workspace, blobs, tmp_path):
    customer = await learner(db, workspace)
    message = await new_turn(customer, "Where is it?", labels={"intent": "track_order"})
    first = await export(db, blobs, workspace.id, tmp_path / "1", learning=Learning())
    await new_turn(await learner(db, workspace), "another question")
    await new_turn(await learner(db, workspace, apart=True), "one more")
    same = await export(db, blobs, workspace.id, tmp_path / "2", learning=Learning())
    await label(customer, message, "delivery_time")
    other = await export(db, blobs, workspace.id, tmp_path / "3", learning=Learning())

    assert first.identity == same.identity != other.identity


async def test_a_folder_of_ones_own_keeps_its_files(db, workspace, blobs, tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "holiday.jpg").write_bytes(b"mine")

    await export(db, blobs, workspace.id, tmp_path, learning=Learning())

    assert (tmp_path / "media" / "holiday.jpg").read_bytes() == b"mine"
