"""The scenarios' tasks are configuration that the toolkit takes as it stands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import duomo
from duomo.learn.model import Model
from duomo.learn.task import load_task
from duomo.types import Sample

SCENARIOS = Path(duomo.__file__).parent / "scenarios"
TASKS = sorted(SCENARIOS.glob("*/learn/*.yaml"))


def test_three_scenarios_bring_tasks():
    assert {path.parents[1].name for path in TASKS} == {"customer_service", "education", "medical"}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_a_task_is_read_without_a_mistake_and_stands_in_the_readme_beside_it(path):
    task = load_task(path)
    assert task.heads
    assert task.modalities
    assert f"`{path.name}`" in (path.parent / "README.md").read_text(encoding="utf-8")


def test_a_scenario_is_words_and_no_code():
    inside = {path.suffix for path in SCENARIOS.glob("*/learn/**/*") if path.is_file()}
    assert inside == {".yaml", ".md"}


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("medical/learn/*")), ids=lambda path: path.name)
def test_everything_medical_says_that_it_is_no_diagnosis(path):
    assert "never a diagnosis" in path.read_text(encoding="utf-8")


def test_a_patient_without_laboratory_values_gets_an_answer_from_what_is_there():
    task = load_task(SCENARIOS / "medical" / "learn" / "intensive_care.yaml")
    random = np.random.default_rng(0)
    samples = []
    for row in range(48):
        ill = row % 2
        features = {
            "blood": tuple(random.normal(2.0 * ill, 1.0, 12)),
            "gases": tuple(random.normal(size=4)),
            "patient": (1.0, 0.0),
        }
        samples.append(
            Sample(
                str(row), features=features, group=f"patient {row // 2}", labels={"intensive_care": ["no", "yes"][ill]}
            )
        )
    without_pictures = {name: options for name, options in task.modalities.items() if name != "image"}
    model = Model(replace(task, modalities=without_pictures), workers=1).fit(samples)
    (answer,) = model.predict([Sample("new", features={"patient": (1.0, 0.0)})])
    assert answer.heads["intensive_care"].label in ("no", "yes")
    assert list(answer.heads["intensive_care"].shares) == ["features.patient"]
