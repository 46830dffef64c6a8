"""What the documents say can be done: commands parse, links lead somewhere, variables are read by something."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from duomo.cli import _parser
from duomo.learn.task import _HEAD, _MODALITY, _TASK_KEYS, _TRAINING, Task, parse_task
from duomo.settings import Settings, variable

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
TASK = ROOT / "docs" / "howto" / "task.md"


def blocks(document: Path, language: str = r"[^\n]*") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[str]:
    """Lines of code blocks that begin with `duomo`."""
    return [line for block in blocks(document) for line in block.splitlines() if line.startswith("duomo ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_commands_in_documents_are_commands_of_duomo(document: Path) -> None:
    for command in commands(document):
        words = shlex.split(command.partition(" > ")[0], comments=True)  # without where its output goes
        if "--help" not in words:
            _parser().parse_args(words[1:])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_both_readmes_have_the_same_commands_and_pictures() -> None:
    english, chinese = DOCUMENTS[:2]
    pictures = re.compile(r"!\[[^]]*\]\(([^)]+)\)")
    bare = re.compile(r'\s*(#.*|".*")')  # without comments and questions, which are in another language
    assert [bare.sub("", c) for c in commands(english)] == [bare.sub("", c) for c in commands(chinese)]
    assert pictures.findall(english.read_text("utf-8")) == pictures.findall(chinese.read_text("utf-8"))


def test_variables_in_documents_are_settings() -> None:
    known = {variable(field.name) for field in fields(Settings)} | {"DUOMO_VENV"}
    for document in DOCUMENTS:
        assert set(re.findall(r"\bDUOMO_[A-Z_]+\b", document.read_text(encoding="utf-8"))) <= known, document


def documented(heading: str) -> dict[str, str]:
    """Key -> default, of the table under a heading of the page about task.yaml."""
    section = TASK.read_text("utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("The task", set(_TASK_KEYS)),
        ("A head: `heads.NAME`", set(_HEAD)),
        ("A modality: `modalities.NAME`", set(_MODALITY)),
        ("Training: `training.KEY`", set(_TRAINING)),
    ],
)
def test_every_key_of_a_task_is_documented_and_no_other(heading: str, keys: set[str]) -> None:
    assert set(documented(heading)) == keys


def test_documented_defaults_are_the_defaults() -> None:
    task = parse_task("heads: {intent: class}\nmodalities: [text]")
    parts = {
        "The task": task,
        "A head: `heads.NAME`": task.heads[0],
        "A modality: `modalities.NAME`": task.modalities["text"],
        "Training: `training.KEY`": task.training,
    }
    given = {"heads", "modalities", "training", "labels"}  # described in words
    for heading, part in parts.items():
        for key, said in documented(heading).items():
            if key not in given:
                value = getattr(part, key)
                wanted = "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
                assert float(said) == value if isinstance(value, float) else said.strip("`") == wanted, key


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_tasks_in_documents_are_accepted(document: Path) -> None:
    for block in blocks(document, "yaml"):
        if block.startswith(("table:", "rollout:")):  # a policy: tests/support/test_policy.py, test_rollout.py
            continue
        # a piece that shows one key stands for a task with that key
        task = parse_task(block if "heads:" in block else f"heads: {{intent: class}}\n{block}", source=document.name)
        assert isinstance(task, Task)


def test_the_preset_article_is_the_network_that_its_page_spells_out() -> None:
    import torch

    from duomo.learn.fusion import FusionNetwork, Shape

    names: dict[str, type] = {}
    exec(blocks(ROOT / "docs" / "howto" / "article.md", "python")[0], names)
    task = parse_task(blocks(ROOT / "docs" / "howto" / "article.md", "yaml")[0])
    assert (task.fusion, task.operator, task.training.hidden, task.training.dropout) == (
        "intermediate",
        "concat",
        128,
        0,
    )
    torch.manual_seed(0)
    founding = names["Article"](7)
    ours = FusionNetwork(
        Shape("intermediate", "concat", (300, 2048, 512), {"intent": 7}, 128, 0.0, plain=True), replicas=1, seed=0
    )
    layers = [(founding.text, ours.adapters[0]), (founding.image, ours.adapters[1]), (founding.audio, ours.adapters[2])]
    layers += [(founding.fuse, ours.operator.mix), (founding.head, next(iter(ours.heads.values())))]
    with torch.no_grad():
        for theirs, mine in layers:
            mine.weight.copy_(theirs.weight.T[None])
            mine.bias.copy_(theirs.bias)
    z = [torch.randn(16, size) for size in (300, 2048, 512)]
    found = ours(z, torch.ones(16, 3, dtype=torch.bool)).heads["intent"][0]
    torch.testing.assert_close(found, founding(*z), rtol=1e-5, atol=1e-5)
