"""What is installed is named with its hash; weights and vendored files are the ones that were looked at."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("core.lock", "train.lock", "finetune.lock", "dev.lock")
TRAINING = {"torch", "sklearn", "scipy", "onnx", "onnxscript", "pyarrow", "safetensors", "yaml", "threadpoolctl",
            "transformers", "peft", "tensorflow"}  # fmt: skip
LOADABLE = {".onnx", ".json", ".txt", ".safetensors"}  # formats that hold data, never code


def sbom() -> object:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "scripts" / "sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def locked(name: str) -> dict[str, str]:
    """Entries of a lock by package and version."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / name).read_text())
    return {entry.split(" ")[0]: entry for entry in entries if "==" in entry}


def extra(name: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split("[<>=]", requirement)[0] for requirement in project["optional-dependencies"][name]}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_carries_a_hash(name: str) -> None:
    packages = locked(name)
    assert packages
    assert [package for package, entry in packages.items() if "--hash=sha256:" not in entry] == []


def test_each_lock_holds_the_one_before_and_torch_is_installed_from_none() -> None:
    for smaller, larger in pairwise(LOCKS):
        assert locked(smaller).items() <= locked(larger).items(), larger
    for name in LOCKS[1:]:
        assert "; sys_platform == 'none'" in locked(name)["torch==2.13.0"], name
    torch = re.findall("^torch.*$", (ROOT / "requirements" / "torch.in").read_text(), re.MULTILINE)
    assert torch == ["torch==2.13.0"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert torch[0] in project["optional-dependencies"]["train"]


def test_the_core_holds_no_package_of_training() -> None:
    core = {package.split("==")[0] for package in locked("core.lock")}
    shared = {"pyyaml"}  # faster-whisper asks for it as well
    assert (extra("train") | extra("finetune") | extra("tensorflow")) & core <= shared


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["train", "task.yaml", "samples.jsonl", "--out", "model"], 3),
        (["check", "samples.jsonl"], 3),
        (["predict", "model", "samples.jsonl"], 3),
    ],
)
def test_without_the_extra_commands_parse_and_training_says_what_to_install(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    # PYTHONPATH's folder comes before the installed packages, and each of its modules is "not installed"
    for name in TRAINING:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n")
    found = subprocess.run(
        [sys.executable, "-m", "duomo.cli", *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    if code:
        assert "python3 bootstrap.py train" in found.stderr
        assert "Traceback" not in found.stderr


def test_the_bill_of_materials_is_that_of_this_version() -> None:
    assert json.loads((ROOT / "sbom.json").read_text()) == sbom(), "run scripts/sbom.py"


def test_vendored_web_files_have_the_hashes_that_are_written_beside_them() -> None:
    vendor = ROOT / "src/duomo/web/vendor"
    listed = json.loads((vendor / "VENDOR.json").read_text())
    ours = {"lit.entry.js"}  # what lit.js is bundled from
    assert {entry["file"] for entry in listed} == {file.name for file in vendor.glob("*.js")} - ours
    for entry in listed:
        assert hashlib.sha256((vendor / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert (vendor / entry["licence_file"]).exists()


def test_no_weight_is_in_a_format_that_can_run_code() -> None:
    weights = ROOT / "src/duomo/models/weights"
    assert {file.suffix for file in weights.iterdir() if file.is_file()} - LOADABLE - {".md", ""} == set()
    for name, weight in json.loads((weights / "manifest.json").read_text()).items():
        assert re.fullmatch("[0-9a-f]{64}", weight["sha256"]), name
        for part in weight["parts"]:
            assert not part["file"].endswith((".pkl", ".pickle", ".pt", ".pth")), name


def test_no_code_of_ours_reads_a_pickle() -> None:
    readers = re.compile(r"\b(pickle|joblib|shelve|dill)\b|torch\.load|allow_pickle=True")
    found = [str(f) for f in (ROOT / "src").rglob("*.py") if readers.search(f.read_text(encoding="utf-8"))]
    assert found == []
