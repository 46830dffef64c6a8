"""The next model, trained by its own process. Samples are plain vectors, so no encoder is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from duomo.learn.candidate import Job, run
from duomo.learn.export import export_onnx
from duomo.learn.model import Model
from duomo.learn.samples import save_samples
from duomo.learn.task import Head, Task
from duomo.models.understanding import load
from duomo.types import Sample
from tests.learn.synthetic import QUICK

KINDS = ("a", "b", "c", "oos", "fresh")
TASK = Task((Head("intent", out_of_scope="oos"),), training=replace(QUICK, epochs=2))


def turns(
    n: int, *, kinds: tuple[str, ...] = KINDS, seed: int = 0, name: str = "t", labels: bool = True
) -> list[Sample]:
    random = np.random.default_rng(seed)
    made = []
    for row in range(n):
        kind = kinds[row % len(kinds)]
        lab = 3 * np.eye(5)[KINDS.index(kind)] + random.normal(size=5)
        vector, labelled = tuple(np.round(lab, 4).tolist()), {"intent": kind} if labels else {}
        made.append(Sample(f"{name}{row}", features={"lab": vector}, group=f"{name}-{row // 2}", labels=labelled))
    return made


def wrong(samples: list[Sample]) -> list[Sample]:
    labels = [sample.labels["intent"] for sample in samples]
    return [replace(s, labels={"intent": labels[(row * 7 + 3) % len(labels)]}) for row, s in enumerate(samples)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("base") / "samples.jsonl"
    save_samples(file, turns(80, kinds=KINDS[:4], name="base"))
    return file


@pytest.fixture(scope="module")
def active(base) -> Path:
    """What answers now: it has learned from few samples and does not know `fresh`."""
    model = Model(TASK).fit(turns(40, kinds=KINDS[:4], name="base"))
    export_onnx(model, base.parent / "onnx")
    return base.parent / "onnx"


def job_of(
    folder: Path, train: list[Sample], heldout: list[Sample], unlabelled: list[Sample] | None = None, **how
) -> Job:
    (folder / "samples").mkdir(parents=True)
    (folder / "out").mkdir()
    save_samples(folder / "samples" / "train.jsonl", train)
    save_samples(folder / "samples" / "heldout.jsonl", heldout)
    save_samples(folder / "samples" / "unlabelled.jsonl", unlabelled or [])
    facts = {
        sample.id: {"language": ("zh", "en")[row % 2], "team": "repair", "labelled_at": "2026-01-02"}
        for row, sample in enumerate([*heldout, *train])
    }
    (folder / "samples" / "facts.json").write_text(json.dumps(facts))
    return Job(folder / "samples", folder / "out", folder / "cache", mode="supervised", resamples=200, **how)


@pytest.fixture(scope="module")
def result(base, active, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    job = job_of(folder, turns(60, seed=1), turns(60, seed=2, name="h"), base=base, active=active)
    return run(job)


def test_labels_that_people_gave_often_enough_become_the_models(result, tmp_path, base, active):
    assert result["labels"] == {"intent": {"known": ("a", "b", "c"), "new": ("fresh",), "lost": (), "few": {}}}

    rare = [replace(turns(1, seed=5)[0], id=f"r{n}", group=f"r{n}", labels={"intent": "rare"}) for n in range(2)]
    found = run(job_of(tmp_path, [*turns(40, kinds=KINDS[:4], seed=1), *rare], [], base=base, active=active))

    assert found["labels"]["intent"] == {"known": ("a", "b", "c"), "new": (), "lost": (), "few": {"rare": 2}}
    assert load(tmp_path / "out" / "onnx").heads["intent"].labels == ("a", "b", "c")


def test_the_candidate_is_measured_beside_the_active_one_on_what_neither_has_seen(result):
    head = result["comparison"]["heads"]["intent"]

    assert (head["n"], head["held_out"], head["groups"]) == (60, 60, 30)
    accuracy = head["figures"]["accuracy"]
    assert accuracy["second"] > accuracy["first"] + 0.1  # a fifth of the rows has a label that the active one lacks
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert {"out_of_scope_recall", "ece"} <= set(head["figures"])
    assert head["unknown"] == {"n": 12, "right": head["unknown"]["right"]}
    assert head["unknown"]["right"] >= 9
    assert 0 <= head["wrong_answers"]["second"] <= 1
    assert {(part["kind"], part["name"], part["n"]) for part in head["slices"]} == {
        ("pattern", "features.lab", 60), ("language", "zh", 30), ("language", "en", 30), ("team", "repair", 60),
        *(("label", kind, 12) for kind in KINDS),
    }  # fmt: skip
    assert 0 < head["mcnemar_p"] < 0.2


def test_a_worse_model_is_seen_to_be_worse(base, active, tmp_path):
    job = job_of(tmp_path, wrong(turns(400, kinds=KINDS[:4], seed=1)), turns(60, kinds=KINDS[:4], seed=2, name="h"),
                 active=active)  # fmt: skip

    accuracy = run(job)["comparison"]["heads"]["intent"]["figures"]["accuracy"]

    assert accuracy["high"] < -0.2


def test_with_few_held_out_rows_the_training_rows_count_as_models_judged_them_that_had_not_seen_them(
    base, active, tmp_path
):
    train = turns(40, seed=1)
    seen = {"t0", "t1"}
    job = job_of(tmp_path, train, turns(4, seed=2, name="h"), base=base, active=active, seen_before="2026-01-01")
    facts = json.loads((job.samples / "facts.json").read_text())
    for id in seen:
        facts[id]["labelled_at"] = "2025-12-31"
    (job.samples / "facts.json").write_text(json.dumps(facts))

    head = run(job)["comparison"]["heads"]["intent"]

    assert (head["n"], head["held_out"]) == (4 + 38, 4)
    assert not seen & {*head["fixed"], *head["broken"]}


def test_the_first_model_of_a_workspace_is_measured_alone(tmp_path):
    found = run(job_of(tmp_path, turns(80, kinds=KINDS[:3]), turns(30, kinds=KINDS[:3], seed=2, name="h")))

    head = found["comparison"]["heads"]["intent"]
    assert found["comparison"]["against"] is False
    assert head["most_frequent"] == pytest.approx(1 / 3)
    assert head["figures"]["accuracy"]["low"] > 0.5
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_held_out_rows_teach_nothing(base, active, tmp_path):
    """Their labels could be anything: the same model comes out."""
    train, heldout = turns(40, seed=1), turns(20, seed=2, name="h")

    one = run(job_of(tmp_path / "1", train, heldout, base=base, active=active))
    other = run(job_of(tmp_path / "2", train, wrong(heldout), base=base, active=active))

    assert one["fingerprint"] == other["fingerprint"]
    assert one["comparison"] != other["comparison"]


def test_wrong_labels_of_turns_come_back_and_those_of_base_samples_do_not(base, active, tmp_path):
    train = turns(60, seed=1)
    for row in (2, 7, 12):
        train[row] = replace(train[row], labels={"intent": "a"})  # it is a "c"

    found = run(job_of(tmp_path, train, [], base=base, active=active))

    suspects = {row["id"]: (row["given"], row["suggested"]) for row in found["suspects"]}
    assert ("a", "c") in [suspects.get(id) for id in ("t2", "t7", "t12")]
    assert not any(id.startswith("base") for id in suspects)


def test_what_is_usual_goes_with_the_model(result):
    assert set(result["reference"]["modalities"]) == {"features.lab"}
    assert result["reference"]["heads"]["intent"]["confidence"] > 0.4


def test_the_report_tells_labels_slices_and_the_comparison(result, tmp_path, base, active):
    job = job_of(tmp_path, turns(60, seed=1), turns(60, seed=2, name="h"), base=base, active=active)
    run(job)

    page = (job.out / "report.html").read_text()
    for part in ('id="labels"', 'id="slices"', 'id="comparison"', "fresh", "哪里变好"):
        assert part in page
    assert json.loads((job.out / "result.json").read_text())["fingerprint"] == result["fingerprint"]


@pytest.mark.timeout(900)
def test_killed_at_any_moment_and_started_again_it_ends_with_the_same_bits(base, active, tmp_path, result):
    job = job_of(tmp_path, turns(60, seed=1), turns(60, seed=2, name="h"), base=base, active=active)
    job.write(tmp_path / "job.json")
    stages = []
    for stage in ("training", "training", "exporting", "comparing"):
        child = subprocess.Popen([sys.executable, "-m", "duomo.learn.candidate", str(tmp_path / "job.json")])
        while child.poll() is None:
            said = json.loads((job.out / "progress.json").read_text()) if (job.out / "progress.json").exists() else {}
            if said.get("stage") == stage:
                os.kill(child.pid, signal.SIGKILL)
                stages.append(stage)
                break
            time.sleep(0.002)
        child.wait()
        (job.out / "progress.json").unlink(missing_ok=True)
    assert not (job.out / "result.json").exists()

    subprocess.run([sys.executable, "-m", "duomo.learn.candidate", str(tmp_path / "job.json")], check=True)

    assert len(stages) >= 2
    assert json.loads((job.out / "result.json").read_text())["fingerprint"] == result["fingerprint"]


def test_what_cannot_be_learned_from_is_told_in_a_sentence(tmp_path):
    job = job_of(tmp_path, turns(4, kinds=("a",)), [])
    job.write(tmp_path / "job.json")

    done = subprocess.run(
        [sys.executable, "-m", "duomo.learn.candidate", str(tmp_path / "job.json")], capture_output=True, text=True
    )

    assert done.returncode == 2
    assert done.stderr.startswith("head intent: 1 labels have 3 labelled turns or more (fewer: none); two at least")
