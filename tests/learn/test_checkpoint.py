import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from duomo.learn.checkpoint import Stages, write_whole
from duomo.learn.model import Model
from tests.learn.synthetic import assert_same_weights, fitted, rows, task

ROOT = Path(__file__).parents[2]
ARRAYS = {"weights": np.arange(12, dtype=np.float32).reshape(3, 4), "nothing": np.zeros((0, 5), np.float32)}
FACTS = {"best": 0.1 + 0.2, "worst": float("inf"), "epochs": [1, 2], "name": "意图"}


def written(folder: Path, name: str = "linear/text/intent") -> tuple[Stages, Path]:
    stages = Stages(folder, identity="one")
    stages.save(name, ARRAYS, FACTS)
    (file,) = folder.iterdir()
    return stages, file


def test_a_stage_is_read_back_as_it_was_written(tmp_path):
    stages, _ = written(tmp_path)

    arrays, facts = stages.load("linear/text/intent")

    assert arrays.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype
    assert facts == FACTS


def test_stages_of_another_identity_or_name_are_not_taken(tmp_path):
    stages, file = written(tmp_path)

    assert Stages(tmp_path, identity="two").load("linear/text/intent") is None
    assert stages.load("linear/text/other") is None
    other = Stages(tmp_path, identity="one")
    file.rename(other._path("linear/text/other"))
    assert other.load("linear/text/other") is None


def test_names_that_look_alike_are_different_stages(tmp_path):
    stages = Stages(tmp_path, identity="one")
    names = [
        "linear/a/b",
        "linear/a-b",
        "linear-a/b",
        "linear/" + "意" * 100,
        "linear/" + "图" * 100,
        "../../x",
        "A",
        "a",
    ]
    for number, name in enumerate(names):
        stages.save(name, {}, {"number": number})

    assert [stages.load(name)[1]["number"] for name in names] == list(range(len(names)))
    assert {file.parent for file in tmp_path.rglob("*")} == {tmp_path}


def test_no_byte_of_a_stage_can_be_lost_or_changed_unnoticed(tmp_path):
    stages, file = written(tmp_path)
    whole = file.read_bytes()
    for end in range(0, len(whole), 7):
        file.write_bytes(whole[:end])
        assert stages.load("linear/text/intent") is None
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 4
        file.write_bytes(changed)
        found = stages.load("linear/text/intent")
        if found is not None:  # only what says nothing may differ, such as a space of the header
            np.testing.assert_array_equal(found[0]["weights"], ARRAYS["weights"])
            assert found[1] == FACTS
    file.write_bytes(whole)
    assert stages.load("linear/text/intent") is not None


@pytest.mark.parametrize("said", ["[]", "{}", "not JSON", '{"identity": "one"}', '{"identity": "one", "facts": {}}'])
def test_a_header_of_another_form_is_no_stage(tmp_path, said):
    stages, file = written(tmp_path)
    file.write_bytes(save(ARRAYS, {"duomo": said}))

    assert stages.load("linear/text/intent") is None


def test_without_a_folder_or_the_right_to_write_nothing_is_kept(tmp_path):
    Stages(None, identity="one").save("a", ARRAYS, {})
    Stages(tmp_path / "x", identity="one", writes=False).save("a", ARRAYS, {})

    assert Stages(None, identity="one").load("a") is None
    assert not (tmp_path / "x").exists()


def test_writing_replaces_the_file_in_one_step(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    old = path.open("rb")

    write_whole(path, b"new and longer")

    with old:
        assert old.read() == b"old"  # whoever had it open still reads all of it
    assert path.read_bytes() == b"new and longer"
    assert os.listdir(tmp_path) == ["file"]


def test_a_finished_training_is_read_back_and_broken_stages_are_done_again(tmp_path):
    given, of = rows(60), task(epochs=2, folds=2)
    stages = Stages(tmp_path, identity="one")
    first = fitted(given, of, stages=stages)
    ran: list[str] = []

    again = fitted(
        given, of, stages=stages, progress=lambda entry: ran.append(entry["stage"]) if "epoch" in entry else None
    )
    assert ran == []
    assert_same_weights(first, again)

    files = sorted(tmp_path.iterdir())
    for number, file in enumerate(files):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if number % 2 else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert_same_weights(first, fitted(given, of, stages=stages, progress=lambda entry: ran.append(entry["stage"])))
    assert {"mlp/text", "early", "intermediate"} <= set(ran)


def test_the_identity_of_a_training_is_all_that_decides_its_weights():
    given = rows(20)
    known: set[str] = set()

    def of(described, part, labels=given.labels, groups=given.groups, **rest) -> str:
        return Model(described)._identity(part, labels, groups, **rest)

    known.add(of(task(), given.features))
    assert of(task(), given.features) in known
    dense = {**given.features.dense, "text.net": given.features.dense["text.net"] + 1e-6}
    ngrams = given.features.sparse["text.ngrams"]
    fewer, later = ngrams.starts.copy(), ngrams.values.copy()
    fewer[1] += 1
    later[0] = 2
    others = [
        of(task(seed=1), given.features),
        of(task(fusion="late"), given.features),
        of(task(), replace(given.features, dense=dense)),
        of(task(), replace(given.features, sparse={"text.ngrams": replace(ngrams, starts=fewer)})),
        of(task(), replace(given.features, sparse={"text.ngrams": replace(ngrams, values=later)})),
        of(task(), replace(given.features, present=~given.features.present)),
        of(task(), given.features, labels={"intent": ["a"] * 20}),
        of(task(), given.features, groups=("g",) * 20),
        of(task(), given.features, untouched=np.arange(3)),
        of(task(), given.features, taught=np.arange(3)),
    ]
    assert len({*known, *others}) == 11


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.learn.killed", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", ["supervised", "semi-supervised", "self-supervised"])
def test_a_run_killed_again_and_again_ends_with_the_same_bits(killed, mode):
    found = killed[mode]

    assert found["kills"] >= 5
    assert len(set(found["hashes"])) == 1
    wanted = {"supervised": "mlp/", "semi-supervised": "/round", "self-supervised": "align/"}[mode]
    assert any(wanted in stage for stage in found["stages"]), found["stages"]
