"""A model judged on samples, by what is there of them, by language, and beside another model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from duomo.errors import InputError
from duomo.learn.evaluate import Evaluation, compare, evaluate, subsets
from duomo.types import Sample
from tests.learn.spelled import LABELS, Spelled, some


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(Spelled(), some(), resamples=100)


def values(rows: Mapping, *names: str) -> dict[str, float]:
    return {name: round(rows[name]["value"], 4) for name in names}


def test_every_head_is_judged_on_the_rows_that_label_it(evaluation):
    found = evaluation.as_json()
    assert {name: detail["n"] for name, detail in found["details"].items()} == {"intent": 7, "topics": 2, "mood": 3}
    assert values(found["heads"]["intent"], "accuracy", "in_scope_accuracy", "out_of_scope_recall") == {
        "accuracy": round(5 / 7, 4),
        "in_scope_accuracy": round(4 / 6, 4),
        "out_of_scope_recall": 1.0,
    }
    assert values(found["heads"]["topics"], "accuracy", "recall_micro") == {"accuracy": 0.5, "recall_micro": 1.0}
    assert values(found["heads"]["mood"], "mae", "coverage") == {"mae": round(2 / 3, 4), "coverage": round(2 / 3, 4)}


def test_every_leaf_under_heads_and_by_tables_is_a_figure_with_its_interval(evaluation):
    found = evaluation.as_json()
    tables = [{"all": found["heads"]}, *(found[name] for name in found if name.startswith("by_"))]
    figures = [
        figure for table in tables for heads in table.values() for row in heads.values() for figure in row.values()
    ]
    assert len(figures) > 100
    assert {frozenset(figure) - {"reason"} for figure in figures} == {frozenset({"value", "low", "high"})}
    assert all((figure["value"] is None) == ("reason" in figure) for figure in figures)


def test_the_json_form_holds_numbers_that_json_knows(evaluation):
    assert json.loads(json.dumps(evaluation.as_json(), allow_nan=False)) == evaluation.as_json()


def test_rows_are_told_apart_by_the_modalities_that_they_have(evaluation):
    found = evaluation.as_json()
    assert {kind: rows["intent"]["accuracy"]["value"] for kind, rows in found["by_pattern"].items()} == {
        "text+features.lab": 0.75,
        "text": 1.0,
        "features.lab": 0.0,
    }
    assert found["rows"]["by_pattern"]["text"] == {"intent": 2, "topics": 2, "mood": 1}


def test_modalities_are_taken_away_from_every_row_that_has_them(evaluation):
    found = evaluation.as_json()
    assert {kind: rows["intent"]["accuracy"]["value"] for kind, rows in found["by_forced_pattern"].items()} == {
        "text": pytest.approx(5 / 6),
        "features.lab": pytest.approx(2 / 5),
        "text+features.lab": 0.75,
    }
    assert found["rows"]["by_forced_pattern"]["features.lab"] == {"intent": 5, "mood": 2}


def test_rows_with_a_text_are_told_apart_by_its_language(evaluation):
    found = evaluation.as_json()["rows"]["by_language"]
    assert found == {"en": {"intent": 5, "mood": 3}, "zh": {"intent": 1, "topics": 2}}


def test_the_most_confident_errors_come_first_with_their_sample(evaluation):
    errors = evaluation.heads["intent"].errors
    assert [(e.sample.id, e.true, e.predicted, e.pattern) for e in errors] == [
        ("4", "parcel", "card", "text+features.lab"),
        ("7", "card", "parcel", "features.lab"),
    ]
    assert [e.sample.id for e in evaluation.heads["mood"].errors] == ["3"]
    assert [(e.sample.id, e.true, e.predicted) for e in evaluation.heads["topics"].errors] == [
        ("6", "card", "card, parcel")
    ]


def test_labels_most_often_taken_for_another_are_named(evaluation):
    assert evaluation.heads["intent"].confused() == [("card", "parcel", 1), ("parcel", "card", 1)]


def test_of_up_to_four_modalities_every_subset_is_tried_and_of_more_the_ends():
    assert subsets("ab") == [("a",), ("b",), ("a", "b")]
    assert len(subsets("abcd")) == 15
    assert [len(kept) for kept in subsets("abcde")] == [1] * 5 + [4] * 5 + [5]


def test_a_file_without_labels_is_refused_with_what_is_missing():
    with pytest.raises(InputError, match="none of the 1 samples has a label for intent or mood or topics"):
        evaluate(Spelled(), [Sample("1", text="card")])


def test_a_label_of_another_type_is_refused_with_its_sample():
    with pytest.raises(InputError, match=r"sample x: head mood is of type number, its label is 'good'"):
        evaluate(Spelled(), [Sample("x", text="card", labels={"mood": "good"})])


def test_a_label_that_the_model_does_not_know_is_an_error_and_has_its_own_row():
    samples = [*some(), Sample("9", text="card", labels={"intent": "loan"})]
    detail = evaluate(Spelled(), samples, resamples=10).heads["intent"]
    assert (detail.labels, detail.support) == ((*LABELS, "other", "loan"), (2, 2, 2, 1, 1))
    assert detail.measured.figures["accuracy"].value == pytest.approx(5 / 8)


def test_one_labelled_row_is_enough():
    found = evaluate(Spelled(), some()[:1], resamples=10).as_json()
    assert found["heads"]["intent"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["heads"]["topics"] == {}


def test_two_models_are_compared_row_by_row():
    samples = [
        Sample(f"{i}", text=("card", "parcel")[i % 2], labels={"intent": ("card", "parcel")[i % 2]}) for i in range(40)
    ]
    head = compare(Spelled(blind="parcel"), Spelled(), samples, names=("a", "b"), resamples=500).heads["intent"]
    assert (head.n, len(head.fixed), head.broken, head.mcnemar) == (40, 20, [], pytest.approx(2 / 2**20))
    accuracy = head.figures["accuracy"]
    assert (accuracy.first, accuracy.second, accuracy.value) == (0.5, 1.0, 0.5)
    assert accuracy.low == pytest.approx(0.35, abs=0.03)
    assert accuracy.high == pytest.approx(0.65, abs=0.03)
    assert accuracy.p == pytest.approx(1 / 501)


def test_a_model_is_not_different_from_itself():
    comparison = compare(Spelled(), Spelled(), some(), resamples=50).as_json()
    assert comparison["heads"]["mood"]["n"] == 3  # NaN is not a label
    head = comparison["heads"]["intent"]
    assert (head["fixed"], head["broken"], head["mcnemar_p"]) == ([], [], 1.0)
    assert {(f["value"], f["low"], f["high"], f["p"]) for f in head["figures"].values()} == {(0.0, 0.0, 0.0, 1.0)}


def test_damage_is_measured_on_rows_that_have_what_is_damaged_beside_the_same_rows_unharmed():
    evaluation = evaluate(Spelled(), some(), resamples=20, corruptions=["text_cut", "image_blur"])
    found = evaluation.as_json()
    assert list(found["by_corruption"]) == ["none", "text_cut"]
    assert found["by_corruption"]["none"] == found["heads"]
    assert found["rows"]["by_corruption"]["text_cut"]["intent"] < 7
    assert found["by_corruption"]["text_cut"]["mood"]["mae"]["value"] > found["heads"]["mood"]["mae"]["value"]


def test_no_more_rows_are_damaged_than_wished_for():
    evaluation = evaluate(Spelled(), some(), resamples=20, corruptions=["text_cut"], damaged_rows=4)
    assert {row.n <= 4 for kind in evaluation.by_corruption.values() for row in kind.values()} == {True}
