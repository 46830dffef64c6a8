"""A network of every operator leaves torch and says the same."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file

from duomo.errors import ModelUnavailable
from duomo.learn import export
from duomo.learn.core import Core
from duomo.learn.export import Export, export_onnx, export_tensorflow, parity, probe, weights_to_int8
from duomo.models.features import Features
from duomo.models.understanding import HeadInfo, Scores, Understanding, load
from tests.learn.small_core import HEADS, MODALITIES, VIEWS, SmallModel, small_core


@pytest.fixture(scope="module")
def core() -> Core:
    return small_core()


@pytest.fixture(scope="module")
def exported(core, tmp_path_factory) -> Export:
    return export_onnx(SmallModel(core), tmp_path_factory.mktemp("exported"), int8=True)


def every_pattern(core: Core, repeat: int = 3) -> Features:
    rows = probe(core, 8 * repeat, seed=5)
    present = np.array([[bool(bits >> k & 1) for k in range(3)] for bits in range(8)] * repeat)
    return replace(rows, present=present)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_each_graph_predicts_what_torch_predicts(core, exported, precision):
    features = every_pattern(core, 60)
    wanted, found = core.scores(features), load(exported.folder, precision=precision).core.scores(features)
    closest = {"fp32": 1e-4, "int8": 0.2}[precision]
    for name, head in HEADS.items():
        same = parity(head, wanted[name], found[name])
        assert same.difference < closest
        assert same.equal >= {"fp32": 1.0, "int8": 0.99}[precision]


def test_the_exported_folder_decides_as_the_torch_model_does(core, exported):
    features = every_pattern(core)
    served = load(exported.folder)
    assert (served.modalities, served.views, served.heads) == (MODALITIES, VIEWS, HEADS)
    trained = Understanding(core, HEADS, MODALITIES, VIEWS)
    for one, other in zip(served.predict(features), trained.predict(features), strict=True):
        for name in HEADS:
            same_value = (
                pytest.approx(other.heads[name].label, rel=1e-4) if name == "price" else other.heads[name].label
            )
            assert one.heads[name].label == same_value
            assert one.heads[name].shares == pytest.approx(other.heads[name].shares, abs=1e-3)
            assert one.heads[name].conflict == pytest.approx(other.heads[name].conflict, abs=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_any_number_of_rows_may_be_asked_at_once(core, exported, rows):
    features = every_pattern(core).take(np.arange(rows))
    found = load(exported.folder).core.scores(features)
    for name, scores in core.scores(features).items():
        assert_allclose(found[name].fused, scores.fused, atol=1e-4)


def test_a_text_without_a_known_ngram_is_answered(core, exported):
    features = every_pattern(core).take([7])
    empty = replace(features, sparse={"text.ngrams": replace(features.sparse["text.ngrams"], columns=np.full(0, 0),
                    values=np.zeros(0, dtype=np.float32), starts=np.array([0, 0]))})  # fmt: skip
    found, wanted = load(exported.folder).core.scores(empty), core.scores(empty)
    assert_allclose(found["price"].fused, wanted["price"].fused, atol=1e-4)


def test_what_stands_in_a_missing_modality_reaches_no_output_of_the_graph(core, exported):
    features = every_pattern(core)
    poisoned = {
        view.name: np.where(features.present[:, [MODALITIES.index(view.modality)]], features.dense[view.name], 1e6)
        for view in VIEWS
        if not view.sparse
    }
    served = load(exported.folder)
    clean, dirty = served.core.scores(features), served.core.scores(replace(features, dense=poisoned))
    for name in HEADS:
        assert_array_equal(dirty[name].fused, clean[name].fused)
        assert_array_equal(dirty[name].unimodal, clean[name].unimodal)


def test_a_changed_graph_or_vocabulary_is_never_opened(core, exported, tmp_path):
    for name in exported.files:
        for file in exported.folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        damaged = bytearray((tmp_path / name).read_bytes())
        damaged[len(damaged) // 2] ^= 1
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ModelUnavailable, match=f"{name} has SHA-256"):
            load(tmp_path)


def test_the_manifest_states_files_and_how_far_each_graph_is_from_torch(exported):
    stated = json.loads((exported.folder / "manifest.json").read_text())
    assert set(stated["files"]) == {"model.onnx", "model.int8.onnx", "vocabulary.0.npy"}
    assert stated["graphs"] == {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    assert stated["parity"]["compared_on"] == "256 random rows"
    assert stated["parity"]["fp32"]["price"] == exported.as_dict()["parity"]["fp32"]["price"]
    assert "fp32 price: 100.00% of 256 random rows are predicted as torch does" in exported.to_text()


def test_a_graph_tells_nothing_of_the_machine_that_made_it(exported):
    graph = (exported.folder / "model.onnx").read_bytes()
    assert str(Path(export.__file__).parent).encode() not in graph
    assert b"site-packages" not in graph


def test_the_same_model_gives_the_same_bytes(core, exported, tmp_path):
    export_onnx(SmallModel(core), tmp_path, int8=True)
    for name in exported.files:
        assert (tmp_path / name).read_bytes() == (exported.folder / name).read_bytes()


def test_large_weights_take_a_quarter_in_int8(exported):
    graph = onnx.load(exported.folder / "model.onnx")
    floats = sum(np.prod(w.dims) * 4 for w in graph.graph.initializer if w.data_type == onnx.TensorProto.FLOAT)
    small = weights_to_int8(graph)
    left = sum(np.prod(w.dims) * 4 for w in small.graph.initializer if w.data_type == onnx.TensorProto.FLOAT)
    rounded = sum(np.prod(w.dims) for w in small.graph.initializer if w.data_type == onnx.TensorProto.INT8)
    assert left < 0.15 * floats
    assert rounded == pytest.approx(floats / 4, rel=0.15)


def test_an_int8_graph_that_strays_is_left_out_with_a_note(core, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(export.LEAST_EQUAL, "int8", 1.1)
    monkeypatch.setattr(export, "to_graph", lambda _: onnx.load(exported.folder / "model.onnx"))
    found = export_onnx(SmallModel(core), tmp_path, int8=True)
    assert found.notes[0].startswith("int8 is left out: only ")
    assert not (tmp_path / "model.int8.onnx").exists()
    assert set(found.files) == {"model.onnx", "vocabulary.0.npy"}


def test_a_graph_that_predicts_otherwise_is_an_error_and_no_export(core, exported, tmp_path, monkeypatch):
    other = small_core(seed=1)
    other.vocabularies = core.vocabularies
    monkeypatch.setattr(export, "to_graph", lambda _: onnx.load(exported.folder / "model.onnx"))
    with pytest.raises(ModelUnavailable, match="Do not serve it"):
        export_onnx(SmallModel(other), tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_parity_sees_a_missing_voice_and_another_prediction():
    head = HeadInfo("h", "class", ("a", "b"), (0.5, 0.5))
    nan = np.float32(np.nan)
    one = Scores(np.array([[0, -1]], dtype=np.float32), np.array([[[0, -1], [nan, nan]]], dtype=np.float32))
    assert parity(head, one, one) == export.Parity(0.0, 1.0, 1)
    silent = Scores(np.array([[-1, 0.25]], dtype=np.float32), np.full((1, 2, 2), nan))
    assert parity(head, one, silent) == export.Parity(np.inf, 0.0, 1)


def test_the_network_for_tensorflow_is_described_with_rows_to_compare_on(core, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "to_graph", lambda _: onnx.load(exported.folder / "model.onnx"))
    found = export_tensorflow(SmallModel(core), tmp_path)
    graph = json.loads((tmp_path / "graph.json").read_text())
    assert [one["signature"] for one in graph["inputs"]] == [
        "present", "text_e5", "text_ngrams_columns", "text_ngrams_values", "image_net", "audio_ear",
    ]  # fmt: skip
    assert [one["signature"] for one in graph["outputs"]][:4] == [
        "my_intent_v1_fused", "my_intent_v1_unimodal", "my_intent_v1_out_of_scope", "fused",
    ]  # fmt: skip
    weights = load_file(tmp_path / "weights.safetensors")
    named = {name for node in graph["nodes"] for name in node["inputs"] if name}
    produced = {name for node in graph["nodes"] for name in node["outputs"]}
    assert named - produced - {one["name"] for one in graph["inputs"]} == set(weights) & named
    probes = load_file(tmp_path / "probe.safetensors")
    assert_allclose(probes["price.fused"], core.scores(probe(core))["price"].fused, atol=1e-5)
    if importlib.util.find_spec("tensorflow") is None:
        assert "pip install 'duomo[tensorflow]'" in found.to_text()
        assert found.difference is None
    else:
        assert found.difference < 1e-4


def test_a_model_that_reads_words_alone_is_exported(tmp_path):
    plan = small_core(("gated",)).plan
    fusions = {
        name: replace(
            fusion, within={"text": {"ngrams": 1.0}}, late=(1.0, 0.0, 0.0),
            patterns={bits: {"only/text": 1.0} for bits in range(8)},
        )
        for name, fusion in plan.fusions.items()
    }  # fmt: skip
    core = Core(replace(plan, fusions=fusions, networks={}))
    core.vocabularies = small_core(("gated",)).vocabularies

    assert export_onnx(SmallModel(core), tmp_path).parity["fp32"]["my intent.v1"].equal == 1.0
