"""What the documents say can be done: commands parse, links lead somewhere, variables are read by something."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from duomo.cli import _parser
from duomo.settings import Settings, variable

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(document: Path) -> list[str]:
    """Lines of code blocks that begin with `duomo`."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("duomo ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_commands_in_documents_are_commands_of_duomo(document: Path) -> None:
    for command in commands(document):
        words = shlex.split(command, comments=True)
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
