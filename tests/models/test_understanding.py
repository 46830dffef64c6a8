"""Decisions made of scores, checked against figures worked out by hand."""

import json
import subprocess
import sys
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from numpy.testing import assert_allclose

from duomo.errors import ConfigError, InputError, ModelUnavailable
from duomo.models import heads, shapley
from duomo.models.features import SparseRows, View
from duomo.models.manifest import Manifest
from duomo.models.understanding import (
    HeadInfo,
    HeadPrediction,
    PatternTrust,
    Prediction,
    Scores,
    Trust,
    Understanding,
    graph_inputs,
    load,
    positions,
)
from tests.models.linear_core import LinearCore, features, poisoned

DIMS = {"text": 3, "image": 2, "audio": 2}
INTENT = HeadInfo("intent", "class", ("refund", "repair", "other"), (0.5, 0.3, 0.2))
TAGS = HeadInfo("tags", "multilabel", ("angry", "urgent"), (0.2, 0.4))
PRICE = HeadInfo("price", "number", (), (20.0, 5.0))


def model(**heads_given: HeadInfo) -> Understanding:
    random = np.random.default_rng(1)
    chosen = heads_given or {"intent": INTENT, "tags": TAGS, "price": PRICE}
    width = {name: max(1, len(head.labels)) for name, head in chosen.items()}
    weights = {
        name: {m: random.standard_normal((dim, width[name])).astype(np.float32) for m, dim in DIMS.items()}
        for name in chosen
    }
    return Understanding(LinearCore(chosen, weights), chosen, tuple(DIMS))


def scores(fused, unimodal=None, out_of_scope=None) -> Scores:
    fused = np.asarray(fused, dtype=np.float32)
    alone = np.full((len(fused), 3, fused.shape[1]), np.nan) if unimodal is None else np.asarray(unimodal)
    beyond = None if out_of_scope is None else np.asarray(out_of_scope, dtype=np.float32)
    return Scores(fused, alone.astype(np.float32), beyond)


def test_patterns_name_the_present_modalities_in_the_models_order():
    present = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 0, 1]], dtype=bool)
    assert heads.pattern_keys(present, tuple(DIMS)).tolist() == ["text+audio", "", "text+image+audio", "text+audio"]


def test_each_availability_pattern_has_its_own_temperature_and_others_the_default():
    trust = Trust(default=PatternTrust(temperature=2.0), patterns={"text": PatternTrust(temperature=4.0)})
    head = HeadInfo("intent", "class", ("a", "b"), (0.5, 0.5), trust=trust)
    chances = heads.probabilities(np.array([[4.0, 0.0], [4.0, 0.0]]), ["text", "audio"], head)
    assert_allclose(chances[:, 0], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2))])


def test_a_prediction_set_holds_every_label_likely_enough_and_may_be_empty():
    head = HeadInfo("intent", "class", ("a", "b", "c"), (0.4, 0.3, 0.3), trust=Trust(PatternTrust(conformal=0.6)))
    chances = np.array([[0.45, 0.45, 0.1], [0.9, 0.05, 0.05], [0.34, 0.33, 0.33]])
    assert heads.prediction_sets(chances, ["text"] * 3, head).tolist() == [
        [True, True, False],
        [True, False, False],
        [False, False, False],
    ]


def test_adaptive_sets_add_labels_by_likelihood_until_the_mass_is_reached():
    assert_allclose(heads.nonconformity(np.array([[0.2, 0.5, 0.3]]), "aps"), [[1.0, 0.5, 0.8]])


def test_without_a_threshold_every_label_may_be_right():
    assert heads.prediction_sets(np.array([[0.9, 0.05, 0.05]]), ["text"], INTENT).tolist() == [[True, True, True]]


def test_conflict_is_none_where_modalities_agree_and_one_where_they_contradict_each_other():
    sure = np.log([[0.999999, 5e-7, 5e-7], [5e-7, 0.999999, 5e-7]])
    silent = [np.nan] * 3
    alone = np.array([[sure[0], sure[0], silent], [sure[0], sure[1], silent], [sure[0], silent, silent]])
    present = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0]], dtype=bool)
    assert_allclose(heads.conflict(alone, present, tuple(DIMS), INTENT), [0, 1, 0], atol=1e-4)


def test_conflict_of_three_modalities_is_the_generalised_divergence():
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    entropy = lambda p: -(p * np.log(p)).sum(-1)  # noqa: E731
    expected = (entropy(chances.mean(0)) - entropy(chances).mean()) / np.log(3)
    found = heads.conflict(np.log(chances)[None], np.ones((1, 3), dtype=bool), tuple(DIMS), INTENT)
    assert_allclose(found, [expected])


def test_a_row_far_from_every_label_is_answered_with_the_out_of_scope_label():
    head = HeadInfo("intent", "class", ("a", "b"), (0.5, 0.5), out_of_scope="none", out_of_scope_threshold=1.0)
    one = Understanding(LinearCore({}, {}), {"intent": head}, tuple(DIMS))
    output = one.decide("intent", scores([[0, -5], [0, -5]], out_of_scope=[3.0, 0.0]), np.ones((2, 3), dtype=bool))
    assert output.is_out_of_scope.tolist() == [True, False]
    assert_allclose(output.out_of_scope, [1 / (1 + np.exp(-2)), 1 / (1 + np.e)], rtol=1e-6)


def test_predictions_have_the_documented_line_form():
    trust = Trust(PatternTrust(conformal=0.6, abstain_below=0.9))
    intent = HeadInfo("intent", "class", ("a", "b"), (0.5, 0.5), "none", 1.0, trust)
    tags = HeadInfo("tags", "multilabel", ("x", "y"), (0.5, 0.5), trust=trust)
    price = HeadInfo("price", "number", (), (0.0, 1.0), trust=Trust(PatternTrust(conformal=2.5)))
    chosen = {"intent": intent, "tags": tags, "price": price}
    weights = {
        "intent": {"text": np.array([[np.log(3.0), 0.0]])},
        "tags": {"text": np.array([[np.log(4.0), -np.log(9.0)]])},
        "price": {"text": np.array([[7.0]])},
    }
    core = LinearCore(chosen, weights, {"intent": np.array([2.0])})
    given = features([[1], [1], [0]], dims={"text": 1})
    given.dense["text"][:, 0] = [1, 0.4, 0]
    lines = [line.as_dict() for line in Understanding(core, chosen, ("text",)).predict(given, ids=["p", "q", "r"])]
    assert json.loads(json.dumps(lines))[0]["id"] == "p"
    beyond = lines[0]["heads"]["intent"]
    assert (beyond["label"], beyond["set"], beyond["abstain"]) == ("none", ["none"], False)
    expected = {"label": "a", "confidence": pytest.approx(3**0.4 / (1 + 3**0.4)), "set": ["a"], "abstain": True}
    assert lines[1]["heads"]["intent"] == {**expected, "shares": {"text": 1.0}}
    assert lines[0]["heads"]["tags"] == {
        "label": ["x"],
        "confidence": {"x": pytest.approx(0.8), "y": pytest.approx(0.1)},
        "set": ["x"],
        "abstain": True,
        "shares": {"text": 1.0},
    }
    assert lines[0]["heads"]["price"] == {
        "label": pytest.approx(7.0),
        "confidence": 0.9,
        "set": pytest.approx([4.5, 9.5]),
        "abstain": False,
        "shares": {"text": 1.0},
    }
    assert lines[2]["heads"]["price"]["abstain"] is True
    assert lines[2]["heads"]["price"]["shares"] == {}


def test_a_number_without_a_measured_interval_is_unbounded_in_json():
    line = model(price=PRICE).predict(features([[1, 1, 1]], dims=DIMS))[0].as_dict()
    assert line["heads"]["price"]["set"] == [None, None]
    json.dumps(line, allow_nan=False)


def test_shares_are_those_of_the_formula_added_up_set_by_set():
    one, given = model(), features([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dims=DIMS)
    outputs = one.predict_features(given)

    def value(name, row, members):
        head = one.heads[name]
        if not members:
            prior = head.prior[0 if head.type == "number" else outputs[name].probabilities[row].argmax()]
            return prior if head.type == "number" else np.log(prior / (1 - prior))
        chances = one.predict_features(given.take([row]).only(members))[name].probabilities[0]
        if head.type == "number":
            return chances[0]
        p = chances[outputs[name].probabilities[row].argmax()]
        return np.log(p / (1 - p))

    for name, found in one.shapley(given).items():
        expected = np.zeros((4, 3))
        for row in range(4):
            players = [m for k, m in enumerate(DIMS) if given.present[row, k]]
            for k, m in enumerate(DIMS):
                if m not in players:
                    continue
                others = [other for other in players if other != m]
                for size in range(len(others) + 1):
                    weight = factorial(size) * factorial(len(players) - size - 1) / factorial(len(players))
                    for rest in combinations(others, size):
                        gain = value(name, row, [*rest, m]) - value(name, row, list(rest))
                        expected[row, k] += weight * gain
        assert_allclose(found, expected, atol=1e-5)


def test_shares_sum_to_one_over_the_present_modalities_and_nothing_has_none():
    given = features([[1, 1, 1], [1, 0, 1], [0, 0, 0]], dims=DIMS)
    for shares in model().shares(given).values():
        assert_allclose(shares.sum(axis=1), [1, 1, 0])
        assert shares[1, 1] == 0


def test_all_sets_of_all_rows_are_asked_in_one_batch():
    one = model()
    one.shares(features([[1, 1, 1], [1, 0, 1], [0, 1, 0]], dims=DIMS))
    assert one.core.calls == 1


def test_what_stands_in_a_missing_modality_changes_neither_prediction_nor_shares():
    given = features([[1, 0, 1], [0, 1, 0]], dims=DIMS)
    assert model().predict(poisoned(given)) == model().predict(given)


def test_rows_are_scored_alike_alone_and_among_more_than_one_batch_of_others(monkeypatch):
    given = features(np.tile([[1, 1, 1], [1, 0, 0]], (5, 1)), dims=DIMS)
    whole = model().predict(given)
    monkeypatch.setattr("duomo.models.understanding.BATCH", 3)
    for cut, line in zip(model().predict(given), whole, strict=True):
        assert cut.heads["intent"].confidence == pytest.approx(line.heads["intent"].confidence, abs=1e-6)
        assert cut.heads["intent"].shares == pytest.approx(line.heads["intent"].shares, abs=2e-4)


def test_sampled_values_agree_with_exact_ones_and_lose_nothing(monkeypatch):
    random = np.random.default_rng(3)
    present = np.ones((1, 9), dtype=bool)
    weights, pairs = random.standard_normal(9), np.triu(random.standard_normal((9, 9)), 1)

    def answer(plan):
        mask = plan.present.astype(float)
        return plan.combine(mask @ weights + np.einsum("qi,ij,qj->q", mask, pairs, mask))[0]

    sampled = answer(shapley.plan(present))
    exact = weights + (pairs.sum(axis=0) + pairs.sum(axis=1)) / 2
    assert sampled.sum() == pytest.approx(weights.sum() + pairs.sum())
    assert_allclose(sampled, exact, atol=1e-9)  # each order with its reverse is exact for interactions of two
    monkeypatch.setattr(shapley, "EXACT", 9)
    shapley.coalitions.cache_clear()
    assert_allclose(answer(shapley.plan(present)), exact)
    shapley.coalitions.cache_clear()


def test_features_of_other_modalities_are_refused_with_both_lists():
    with pytest.raises(InputError, match="features have the modalities text, the model was trained on text, image"):
        model().predict(features([[1]], dims={"text": 3}))


def test_no_rows_give_no_predictions():
    assert model().predict(features(np.zeros((0, 3)), dims=DIMS)) == []


def test_sparse_rows_become_positions_in_the_vocabulary_and_unknown_columns_vanish():
    rows = SparseRows(np.array([0, 3, 3, 4]), np.array([2, 5, 9, 7]), np.array([1, 2, 3, 4], dtype=np.float32))
    columns, values = positions(rows, np.array([2, 7, 9]))
    assert columns.tolist() == [[1, 3], [0, 0], [2, 0]]
    assert values.tolist() == [[1, 3], [0, 0], [4, 0]]


def test_a_vector_of_another_length_than_in_training_is_refused():
    views = [View("text", "text", 5, "e5", "1")]
    with pytest.raises(InputError, match="text has 3 numbers a row, the model was trained on 5"):
        graph_inputs(features([[1, 1, 1]], dims=DIMS), views, {})


def manifest() -> Manifest:
    trust = Trust(PatternTrust(1.1, 0.7, 0.2, 90), {"text": PatternTrust(1.5, None, 0.4, 30)}, "aps", 0.95)
    return Manifest(
        duomo="1",
        task={"heads": {"intent": "class"}},
        modalities=("text", "image"),
        views=(View("text.e5", "text", 384, "e5", "abc"), View("text.ngrams", "text", 8, "n", "1", sparse=True)),
        heads={"intent": HeadInfo("intent", "class", ("a", "b"), (0.5, 0.5), "none", 1.5, trust), "price": PRICE},
        metrics={"accuracy": 0.9},
        data={"rows": 3},
    )


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    manifest().write(tmp_path / "model.json")
    assert Manifest.read(tmp_path / "model.json") == manifest()


def test_a_damaged_manifest_says_what_is_wrong_and_what_to_do(tmp_path):
    file = tmp_path / "model.json"
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        Manifest.read(file)
    manifest().write(file)
    whole = file.read_text()
    file.write_text(whole[:200])
    with pytest.raises(ModelUnavailable, match="cut off or not JSON"):
        Manifest.read(file)
    file.write_text(whole.replace('"format": 1', '"format": 7'))
    with pytest.raises(ConfigError, match="has format 7, this version reads 1"):
        Manifest.read(file)
    stated = json.loads(whole)
    del stated["heads"]["intent"]["trust"]
    file.write_text(json.dumps(stated))
    with pytest.raises(ConfigError, match="KeyError 'trust'"):
        Manifest.read(file)
    file.write_text(json.dumps({**json.loads(whole), "files": {"../secret": "0"}}))
    with pytest.raises(ConfigError, match="lies outside the folder"):
        Manifest.read(file)


def test_a_changed_missing_or_cut_file_is_never_used(tmp_path):
    (tmp_path / "weights").write_bytes(b"12345")
    hashed = manifest().hashed(tmp_path, ["weights"])
    hashed.check(tmp_path)
    (tmp_path / "weights").write_bytes(b"1234")
    with pytest.raises(ModelUnavailable, match="has SHA-256"):
        hashed.check(tmp_path)
    (tmp_path / "weights").unlink()
    with pytest.raises(ModelUnavailable, match="is missing"):
        hashed.check(tmp_path)


def test_a_folder_without_the_wanted_graph_is_refused(tmp_path):
    manifest().write(tmp_path / "manifest.json")
    with pytest.raises(ConfigError, match=r"has no int8 graph, only none\. Run `duomo export --onnx --int8`"):
        load(tmp_path, precision="int8")


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    given = manifest().hashed(tmp_path, ["model.onnx"])
    stated = {**given.as_dict(), "graphs": {"fp32": "model.onnx"}}
    (tmp_path / "manifest.json").write_text(json.dumps(stated))
    with pytest.raises(ModelUnavailable, match="does not open"):
        load(tmp_path)


def test_serving_imports_neither_torch_nor_scikit_learn():
    code = "import sys, duomo.models.understanding; print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_prediction_is_a_plain_value():
    head = HeadPrediction("a", 0.9, ["a"], False, {"text": 1.0}, 0.1)
    assert Prediction("1", {"intent": head}).as_dict() == {
        "id": "1",
        "heads": {"intent": {"label": "a", "confidence": 0.9, "set": ["a"], "abstain": False, "shares": {"text": 1.0}}},
    }


def test_a_modality_that_is_missing_has_no_voice_in_the_conflict_even_if_the_core_gives_it_one():
    alone = np.log([[[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]]])
    assert heads.conflict(alone, np.array([[True, False, True]]), tuple(DIMS), INTENT).tolist() == [0]


def test_a_person_decides_where_nothing_is_present():
    outputs = model().predict_features(features([[0, 0, 0], [1, 0, 0]], dims=DIMS))
    assert [output.abstain.tolist() for output in outputs.values()] == [[True, False]] * 3
