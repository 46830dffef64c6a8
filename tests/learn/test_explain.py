"""Explanations of a model in which the effect of every word, patch and second is known."""

import json
import re

import numpy as np
import pytest

from duomo.errors import InputError
from duomo.learn.explain import Served, Similar, explain, nearest
from duomo.learn.faithfulness import faithfulness
from duomo.learn.occlude import FEWEST_WINDOWS, GRID, MOST, Entries, Frames, Patches, Windows, Words, occluder
from duomo.media.video import Clip
from duomo.models.encoders import BETWEEN_TURNS
from duomo.models.features import Features
from duomo.types import Sample
from tests.learn.fake_encoders import model

TEXT = "Please, my lamp is broken: I want a REFUND"


def picture() -> np.ndarray:
    """Bright at the top left, dark elsewhere."""
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[:30, :45] = 255
    return pixels


def sound() -> np.ndarray:
    """Two seconds, loud from 0.5 to 0.75 s."""
    waveform = np.zeros(32000, dtype=np.float32)
    waveform[8000:12000] = 0.8
    return waveform


def everything() -> dict[str, object]:
    frames = tuple(np.full((8, 8, 3), shade, dtype=np.uint8) for shade in (10, 20, 30))
    return {
        "text": TEXT,
        "image": picture(),
        "audio": sound(),
        "video": Clip(frames, (0.0, 1.0, 2.0), np.full(24000, 0.5, dtype=np.float32)),
        "features.lab": np.array([1.0, 2.0, 0.0], dtype=np.float32),
    }


def scores(found, modality):
    return [unit.score for unit in found.units[modality]]


def test_each_words_score_is_what_the_model_says_less_without_it():
    found = explain(model({"1": {"text": TEXT}}), Sample("1"))
    assert (found.label, found.head) == ("money", "intent")
    assert {unit.text: unit.score for unit in found.units["text"] if unit.score} == {
        "REFUND": pytest.approx(3, abs=1e-4),
        "broken": pytest.approx(-2, abs=1e-4),
        "Please": pytest.approx(0.5, abs=1e-4),
    }
    assert all(TEXT[int(unit.start) : int(unit.end)] == unit.text for unit in found.units["text"])


def test_chinese_is_taken_apart_by_words():
    found = explain(model({"1": {"text": "我要申请退款，谢谢 Anna"}}), Sample("1"))
    assert [unit.text for unit in found.units["text"]][-3:] == ["退款", "谢谢", "Anna"]
    assert {unit.text: unit.score for unit in found.units["text"]}["退款"] == pytest.approx(4, abs=1e-4)


def test_earlier_turns_are_taken_away_one_by_one():
    turns = occluder("context", BETWEEN_TURNS.join(["It blinks", "Which lamp?", "The X2"]))
    assert [(unit.kind, unit.start, unit.end, unit.text) for unit in turns.units] == [
        ("turn", 0, 1, "It blinks"),
        ("turn", 1, 2, "Which lamp?"),
        ("turn", 2, 3, "The X2"),
    ]
    assert turns.without([1]) == BETWEEN_TURNS.join(["It blinks", "The X2"])
    assert turns.without([0, 1, 2]) is None


def test_the_bright_patches_and_the_loud_quarter_of_a_second_are_found():
    found = explain(model({"1": {"image": picture(), "audio": sound()}}), Sample("1"))
    patches = np.array(scores(found, "image")).reshape(GRID, GRID)
    assert (patches[:3, :3] > 0.1).all()
    assert (patches[:3, 3:] == 0).all()
    assert found.units["image"][0].box == (0, 0, 15, 10)
    loud = [(unit.start, unit.end) for unit in found.units["audio"] if unit.score > 1]
    assert loud == [(0.5, 0.75)]


def test_frames_seconds_and_entries_have_scores_of_their_own():
    found = explain(model({"1": everything()}), Sample("1"))
    video = [(unit.kind, unit.start, unit.end, round(unit.score, 3)) for unit in found.units["video"]]
    assert video == [
        ("frame", 0.0, 1.0, 0.5), ("frame", 1.0, 2.0, 0.5), ("frame", 2.0, 2.0, 0.5),
        ("sound", 0.0, 1.0, 0.5), ("sound", 1.0, 1.5, 0.25),
    ]  # fmt: skip
    assert scores(found, "features.lab") == pytest.approx([1, -2, 0], abs=1e-3)


def test_contributions_lead_from_the_prior_to_the_support_and_shares_sum_to_one():
    found = explain(model({"1": everything()}), Sample("1"))
    assert found.prior + sum(found.contributions.values()) == pytest.approx(found.support)
    assert found.prior == pytest.approx(0)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.contributions["text"] == pytest.approx(1.5, abs=1e-3)
    assert found.alone["text"].label == "money"
    assert found.alone["features.lab"].label == "repair"
    assert found.confidence == pytest.approx(1 / (1 + np.exp(-found.support)))
    assert [choice.label for choice in found.alternatives] == ["money", "repair"]


def test_another_label_or_head_can_be_asked_about():
    one = model({"1": {"text": TEXT}})
    other = explain(one, Sample("1"), label="repair")
    assert {unit.text: unit.score for unit in other.units["text"]}["REFUND"] == pytest.approx(-3, abs=1e-4)
    price = explain(one, Sample("1"), head="price")
    assert (price.label, price.confidence, price.alternatives, price.prior) == ("0.75", None, (), pytest.approx(10))
    assert {unit.text: unit.score for unit in price.units["text"]}["REFUND"] == pytest.approx(1.5, abs=1e-4)
    with pytest.raises(InputError, match="no head 'tone'; it has intent, price"):
        explain(one, Sample("1"), head="tone")
    with pytest.raises(InputError, match="has no label 'x'; its labels: money, repair"):
        explain(one, Sample("1"), label="x")


def test_a_sample_of_which_nothing_can_be_read_is_refused():
    with pytest.raises(InputError, match="sample 1 has nothing this model reads"):
        explain(model({"1": {}}), Sample("1"))


def test_without_units_only_whole_modalities_are_explained_and_nothing_is_encoded_again():
    one = model({"1": everything()})
    found = explain(one, Sample("1"), units=False)
    assert found.units == {}
    assert one.encoders.asked == 5


def test_a_long_text_and_sound_are_cut_into_at_most_so_many_pieces_without_loss():
    words = Words(" ".join(f"w{number}" for number in range(1000)))
    assert len(words.units) == MOST
    assert words.without([]) == words.text
    assert words.without(range(MOST)) is None
    windows = Windows(np.ones(16000 * 60, dtype=np.float32))
    assert len(windows.units) == FEWEST_WINDOWS
    assert windows.units[-1].end == 60.0
    assert windows.without(range(FEWEST_WINDOWS)).sum() == 0
    assert len(Windows(np.ones(16000 * 10, dtype=np.float32)).units) == 40
    assert len(Entries(np.arange(5000, dtype=np.float32), np.zeros(5000, dtype=np.float32)).units) == MOST


def test_what_is_taken_away_leaves_the_rest_as_it_was():
    words = Words("no, I don't want it")
    assert [unit.text for unit in words.units] == ["no", "I", "don't", "want", "it"]
    assert words.without([1, 3]) == "no, don't it"
    pixels = picture()
    grey = Patches(pixels).without([0])
    assert (grey[:10, :15] == 63).all()
    assert (grey[10:] == pixels[10:]).all()
    assert (pixels == picture()).all()
    vector = np.array([5.0, 6.0, 7.0], dtype=np.float32)
    assert Entries(vector, np.array([1.0, 2.0, 3.0], dtype=np.float32)).without([1]).tolist() == [5, 2, 7]


def test_a_video_without_its_frames_keeps_one_empty_picture():
    clip = Clip((np.full((4, 4, 3), 200, dtype=np.uint8),) * 2, (0.0, 0.5), None)
    left = Frames(clip).without([0, 1])
    assert len(left.frames) == len(left.times) == 1
    assert left.waveform is None


def test_a_picture_smaller_than_the_grid_is_taken_apart_by_pixels():
    assert len(Patches(np.zeros((2, 3, 3), dtype=np.uint8)).units) == 6


def test_the_json_form_has_offsets_boxes_and_seconds():
    found = explain(model({"1": everything()}), Sample("1"), similar=[Similar("7", 0.9, "my lamp", "repair")])
    stated = json.loads(json.dumps(found.as_dict()))
    assert stated["text"] == TEXT
    assert stated["units"]["text"][0] == {
        "kind": "word", "start": 0, "end": 6, "box": None, "text": "Please", "score": pytest.approx(0.5, abs=1e-3),
    }  # fmt: skip
    assert stated["units"]["image"][7]["box"] == [15, 10, 30, 20]
    assert stated["units"]["audio"][2]["start"] == 0.5
    assert stated["similar"] == [{"id": "7", "score": 0.9, "text": "my lamp", "label": "repair"}]
    assert "values" not in stated
    assert "'REFUND' +3.00" in found.to_text()


def test_the_page_shows_every_modality_and_asks_nothing_of_a_network():
    page = explain(model({"1": everything()}), Sample("1"), similar=[Similar("7", 0.9)]).to_html()
    assert '<mark class="tone-for" style="--v:1.00" title="+3.00">REFUND</mark>' in page
    assert page.count('class="heat"') == 1
    assert page.count("<audio") == 2
    assert page.count("<figure") == 3
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "为什么？" in page
    assert "Why?" in page


def test_what_a_customer_wrote_is_never_markup():
    evil = "</style></script><img src=x onerror=alert(1)> refund"
    found = explain(
        model({"<em>1": {"text": evil}}), Sample("<em>1"), similar=[Similar("<dfn>", 0.5, "<u>", "<s>")]
    ).to_html()
    assert "<img src=x" not in found
    # In a long text a piece is several words with what stands between them.
    found += explain(model({"1": {"text": "a <img src=x> b " * 40}}), Sample("1")).to_html()
    assert "<img src=x" not in found
    for raw in ("<em>1", "<dfn>", "<u>", "<s>"):
        assert raw not in found


def test_the_nearest_samples_share_the_modalities_that_are_there():
    reference = Features(
        ("text", "image"),
        np.array([[1, 0], [1, 1], [0, 1]], dtype=bool),
        {
            "text.e5": np.array([[1, 0], [0.6, 0.8], [0, 0]], dtype=np.float32),
            "image.net": np.array([[0, 0], [1, 0], [1, 0]], dtype=np.float32),
        },
    )
    asked = Features(
        ("text", "image"), np.array([[True, False]]),
        {"text.e5": np.array([[1, 0]], dtype=np.float32), "image.net": np.zeros((1, 2), dtype=np.float32)},
    )  # fmt: skip
    samples = [Sample("a", text="A", labels={"intent": "x"}), Sample("b", labels={"intent": None}), Sample("c")]
    assert nearest(asked, reference, samples, head="intent", most=2) == (
        Similar("a", 1.0, "A", "x"),
        Similar("b", pytest.approx(0.6), "", ""),
    )


def many(count: int) -> dict[str, dict[str, object]]:
    random = np.random.default_rng(0)
    filler = ["my", "lamp", "of", "last", "week", "and", "so", "on"]
    return {
        str(number): {
            "text": " ".join(random.permutation([*filler, "refund", "please"])),
            "audio": sound() * random.random(),
        }
        for number in range(count)
    }


@pytest.mark.parametrize("head", ["intent", "price"])
def test_without_what_an_explanation_calls_important_confidence_falls_faster_than_at_random(head):
    values = many(12)
    found = faithfulness(model(values), [Sample(name) for name in values], head=head)
    areas = found.areas()
    assert areas["deletion"] < areas["random_deletion"] - 0.05
    assert areas["insertion"] > areas["random_insertion"] + 0.05
    assert found.deletion_p < 0.01
    assert found.insertion_p < 0.01
    assert found.deletion[0] == pytest.approx(found.insertion[-1])
    assert found.deletion[-1] == pytest.approx(found.insertion[0])


def test_explanations_of_a_model_that_reads_nothing_in_a_sample_prove_nothing():
    values = {str(number): {"text": "words without any effect"} for number in range(8)}
    found = faithfulness(model(values), [Sample(name) for name in values])
    assert (found.deletion_p, found.insertion_p) == (1.0, 1.0)
    with pytest.raises(InputError, match="no samples"):
        faithfulness(model({}), [])


def test_served_models_are_explained_as_trained_ones():
    one = model({"1": {"text": TEXT}})
    assert isinstance(one, Served)
    assert explain(Served(one.understanding, one.encoders), Sample("1")).label == "money"
