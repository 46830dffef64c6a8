"""The tutorial, run from its first block to its last as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from duomo.cli import main

TUTORIAL = Path(__file__).resolve().parent.parent / "docs" / "tutorial"


def blocks() -> list[tuple[str, str]]:
    """(language and file name, text) of every block of code, in their order."""
    text = (TUTORIAL / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```([^\n]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(line: str, printed: pytest.CaptureFixture[str]) -> str:
    """One line of the shell. Ours run in this process: importing torch for each would take most of the time."""
    if not line.startswith("duomo "):
        return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout
    words, _, target = line.partition(" > ")
    printed.readouterr()
    assert main(words.split()[1:]) == 0, line
    told = printed.readouterr().out
    if target:
        Path(target).write_text(told, encoding="utf-8")
    return told


def apart_from_torch(code: str, folder: Path) -> str:
    """Run where torch is "not installed"."""
    (folder / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n")
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.timeout(600)
def test_every_block_of_the_tutorial_runs_and_says_what_the_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, empty = tmp_path / "shop", tmp_path / "empty"
    subprocess.run([sys.executable, TUTORIAL / "make_samples.py", shop], check=True)
    empty.mkdir()
    monkeypatch.chdir(shop)
    monkeypatch.setenv("DUOMO_HOME", str(tmp_path / "home"))
    said: dict[str, str] = {}
    names: dict[str, object] = {}
    for kind, text in blocks():
        if kind == "yaml":
            Path("task.yaml").write_text(text, encoding="utf-8")
        elif kind == "sh":
            for line in text.splitlines():
                said[" ".join(line.split()[:2])] = run(line, capsys)
        elif kind == "python serve.py":
            said["serve.py"] = apart_from_torch(text, empty)
        elif kind == "python":
            exec(compile(text, "tutorial", "exec"), names)
            said["python"] = capsys.readouterr().out

    assert "train.jsonl:1 image media/t000.png: the picture is damaged" in said["duomo check"]
    assert "leaks between splits: 3\n" in said["duomo check"]
    assert "over only/image" in said["duomo train"]
    assert "(class, 45 rows in 6 groups)" in said["duomo evaluate"]
    assert said["duomo label-errors"] == "t016\tintent: noise → refund\n"
    assert len(said["duomo select-to-label"].splitlines()) == 5
    assert "loyalty points" in said["duomo discover"]
    assert "会员积分" in said["duomo discover"]
    assert "'label': 'delivery'" in said["serve.py"]
    assert said["python"].startswith("broken_screen\n")
    assert '"id": "u000"' in Path("predicted.jsonl").read_text(encoding="utf-8").splitlines()[0]
    for page in ("report.html", "why.html", "groups.html"):
        assert "<html" in Path(page).read_text(encoding="utf-8"), page
