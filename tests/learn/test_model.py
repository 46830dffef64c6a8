"""A model as its users hold it: fit, predict, save, load. Samples are plain vectors, so no encoder is needed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from duomo.errors import ConfigError, InputError, ModelUnavailable
from duomo.learn import engine
from duomo.learn.model import Model
from duomo.learn.task import Head, Task
from duomo.types import Sample
from tests.learn.synthetic import QUICK, assert_same_weights, fitted, rows, task

HEADS = (Head("intent", out_of_scope="oos"), Head("tags", "multilabel"), Head("price", "number"))
TASK = Task(HEADS, training=replace(QUICK, epochs=2))


def samples(n: int = 90, *, seed: int = 0, labels: bool = True) -> list[Sample]:
    """Two plain vectors, one of which one in four samples lacks."""
    random = np.random.default_rng(seed)
    made = []
    for row in range(n):
        kind = row % 3
        lab = 3 * np.eye(4)[kind] + random.normal(size=4)
        features = {"lab": tuple(lab.tolist())}
        if row % 4:
            features["form"] = tuple((2 * np.eye(3)[kind] + random.normal(size=3)).tolist())
        known = {
            "intent": ("a", "b", "oos")[kind],
            "tags": ("x",) * (kind > 0) + ("y",) * (kind == 2),
            "price": kind * 5.0,
        }
        made.append(Sample(f"s{row}", features=features, group=f"c{row // 2}", labels=known if labels else {}))
    return made


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(TASK).fit(samples())


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("saved") / "tickets")


def test_a_prediction_is_a_line_of_json_in_the_documented_form(model):
    lines = [json.loads(json.dumps(one.as_dict(), allow_nan=False)) for one in model.predict(samples(6, seed=1))]

    assert [line["id"] for line in lines] == [f"s{row}" for row in range(6)]
    for line in lines:
        assert list(line) == ["id", "heads"]
        assert list(line["heads"]) == ["intent", "tags", "price"]
        for head in line["heads"].values():
            assert list(head) == ["label", "confidence", "set", "abstain", "shares"]
    intent, tags, price = lines[1]["heads"].values()
    assert intent["label"] in ("a", "b", "oos")
    assert 0 <= intent["confidence"] <= 1
    assert intent["abstain"] in (True, False)
    assert set(intent["shares"]) == {"features.form", "features.lab"}
    assert sum(intent["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert lines[0]["heads"]["intent"]["shares"] == {"features.lab": 1.0}
    assert list(tags["confidence"]) == ["x", "y"]
    assert price["set"][0] <= price["label"] <= price["set"][1]


def test_predictions_are_right_and_strangers_are_answered_so(model):
    fresh = samples(60, seed=2)

    labels = [one.heads["intent"].label for one in model.predict(fresh, shares=False)]

    assert np.mean([said == sample.labels["intent"] for said, sample in zip(labels, fresh, strict=True)]) > 0.85
    assert "oos" in labels
    assert model.predict([]) == []


def test_a_sample_with_nothing_goes_to_a_person(model):
    (said,) = model.predict([Sample("empty")])

    assert all(head.abstain for head in said.heads.values())
    assert all(head.shares == {} for head in said.heads.values())
    assert said.heads["price"].label == pytest.approx(model.heads["price"].prior[0], rel=1e-5)


def test_chances_come_in_the_order_of_the_labels(model):
    chances = model.predict_proba(samples(7, seed=3))

    assert {name: array.shape for name, array in chances.items()} == {"intent": (7, 2), "tags": (7, 2), "price": (7, 1)}
    np.testing.assert_allclose(chances["intent"].sum(1), 1)
    assert model.heads["intent"].labels == ("a", "b")


def test_a_loaded_model_is_the_saved_one(model, folder):
    loaded = Model.load(folder)

    assert_same_weights(model, loaded)
    assert loaded.task == model.task
    assert loaded.heads == model.heads
    assert loaded.views == model.views
    fresh = samples(20, seed=4)
    assert [one.as_dict() for one in loaded.predict(fresh)] == [one.as_dict() for one in model.predict(fresh)]
    assert loaded.oof.keys() == model.oof.keys()
    assert loaded.oof["ids"].tolist() == [f"s{row}" for row in range(90)]
    again = loaded.save(folder.parent / "again")
    assert_same_weights(loaded, Model.load(again))


def test_the_folder_tells_what_happened(folder):
    assert {"model.json", "plan.json", "weights.safetensors", "oof.npz", "task.yaml", "run"} <= {
        f.name for f in folder.iterdir()
    }
    facts = json.loads((folder / "run" / "run.json").read_text())
    assert facts["data"]["count"] == 90
    assert set(facts["reached"]) == {"intent", "tags", "price"}
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["network"].split("/")[0] for line in lines} >= {"early", "intermediate", "mlp"}
    assert all(line["epoch"] >= 1 and line["train_loss"] >= 0 for line in lines)


@pytest.mark.parametrize("name", ["weights.safetensors", "plan.json", "task.yaml", "oof.npz"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_a_folder_that_was_tampered_with_is_refused(folder, tmp_path, name, how):
    copy = copied(folder, tmp_path)
    whole = (copy / name).read_bytes()
    if how == "gone":
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if how == "changed" else whole[:-10])

    with pytest.raises(ModelUnavailable, match=name):
        Model.load(copy)


@pytest.mark.parametrize("name", ["weights.safetensors", "plan.json", "task.yaml"])
def test_weights_are_not_read_without_a_hash(folder, tmp_path, name):
    copy = copied(folder, tmp_path)
    manifest = json.loads((copy / "model.json").read_text())
    del manifest["files"][name]
    (copy / "model.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelUnavailable, match=f"no hash for {name}"):
        Model.load(copy)


def test_scores_without_a_hash_are_left_out(folder, tmp_path):
    copy = copied(folder, tmp_path)
    manifest = json.loads((copy / "model.json").read_text())
    del manifest["files"]["oof.npz"]
    (copy / "model.json").write_text(json.dumps(manifest))

    assert Model.load(copy).oof == {}


def copied(folder, to):
    for file in folder.iterdir():
        if file.is_file():
            (to / file.name).write_bytes(file.read_bytes())
    return to


def test_no_folder_and_another_format_are_no_model(tmp_path):
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        Model.load(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="has format 99"):
        Model.load(tmp_path)


def test_an_untrained_model_says_so():
    with pytest.raises(InputError, match="not trained"):
        Model({"intent": "class"}).predict([Sample("1", features={"lab": (1.0,)})])
    with pytest.raises(InputError):
        Model(TASK).fit([])


def test_a_run_goes_on_in_its_folder_and_not_with_other_data_or_another_task(tmp_path):
    def run(given, of=TASK) -> list[str]:
        told: list[str] = []
        Model(of).fit(
            given, folder=tmp_path, progress=lambda entry: told.append(entry["stage"]) if "epoch" in entry else None
        )
        return told

    first = run(samples())

    assert first
    assert run(samples()) == []
    assert run(samples(seed=1))
    assert run(samples(seed=1), replace(TASK, training=replace(TASK.training, seed=3)))
    whole = samples()
    told: list[str] = []
    Model(TASK).fit(
        whole[:60], validation=whole[60:], folder=tmp_path, progress=lambda entry: told.append(entry["stage"])
    )
    assert told


def test_validation_samples_neither_teach_nor_choose():
    whole = samples(120)
    wrong = [replace(sample, labels={**sample.labels, "intent": "a"}) for sample in whole[90:]]

    right = Model(TASK).fit(whole[:90], validation=whole[90:])
    fooled = Model(TASK).fit(whole[:90], validation=wrong)

    one, other = right.predict_proba(whole[:20])["intent"], fooled.predict_proba(whole[:20])["intent"]
    np.testing.assert_allclose(one, other)
    assert right._metrics["intent"]["untouched"] > 0.7 > fooled._metrics["intent"]["untouched"]


def test_labels_of_unlabelled_samples_are_not_read():
    whole = samples(90)
    of = replace(TASK, heads=(Head("intent"),), training=replace(TASK.training, mode="semi-supervised", epochs=1))
    lied = [replace(sample, labels={"intent": "b"}) for sample in whole[45:]]

    one = Model(of).fit(whole[:45], unlabelled=whole[45:])

    assert_same_weights(one, Model(of).fit(whole[:45], unlabelled=lied))


# --- the data engine


def test_wrong_labels_are_found_out_of_fold_and_in_given_samples():
    given = samples(120)
    wrong = [4, 31, 60, 91]
    flipped = [
        replace(sample, labels={"intent": "ab"[sample.labels["intent"] == "a"]}) if row in wrong else sample
        for row, sample in enumerate(given)
    ]
    model = Model(replace(TASK, heads=(Head("intent"),))).fit(flipped)

    found = [line["id"] for line in engine.label_errors(model)[:4]]

    assert len({f"s{row}" for row in wrong if given[row].labels["intent"] != "oos"} & set(found)) >= 2
    lines = engine.label_errors(model, [replace(given[0], labels={"intent": "b"}), *given[1:40]])
    assert ("s0", "b", "a") in [(line["id"], line["given"], line["suggested"]) for line in lines]


def test_what_to_label_next_comes_within_the_budget(model):
    fresh = samples(30, seed=5, labels=False)

    found = engine.select_to_label(model, fresh, budget=7)

    assert len(found) == 7
    assert len({line["id"] for line in found}) == 7
    assert set(found[0]) == {"id", "head", "value", "entropy", "disagreement"}
    assert {line["head"] for line in found} == {"intent"}
    with pytest.raises(InputError, match="no class head price; the model has intent"):
        engine.select_to_label(model, fresh, budget=7, head="price")


def test_duplicates_are_told_by_modality_even_where_names_begin_alike():
    vector = (1.0, 2.0, 3.0)
    given = [
        Sample("a", features={"lab": vector, "lab.late": (1.0, 0.0)}),
        Sample("b", features={"lab": vector, "lab.late": (0.0, 1.0)}),
        Sample("c", features={"lab": (-3.0, 1.0, 0.5), "lab.late": (0.7, -0.7)}),
    ]

    found = engine.duplicates(given, threshold=0.99)

    assert [(line["a"], line["b"], line["modality"]) for line in found] == [("a", "b", "features.lab")]


def test_label_errors_need_a_class_head():
    given = rows(40).label(price=[float(row) for row in range(40)])

    with pytest.raises(InputError, match="this model has none"):
        engine.label_errors(fitted(given, task(Head("price", "number"), fusion="late")))
