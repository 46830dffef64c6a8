"""What is installed is named with its hash; weights and vendored files are the ones that were looked at."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADABLE = {".onnx", ".json", ".txt", ".safetensors"}  # formats that hold data, never code


def sbom() -> object:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "scripts" / "sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def test_every_locked_package_carries_a_hash() -> None:
    for name in ("core.lock", "dev.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / name).read_text())
        packages = [entry for entry in entries if "==" in entry]
        assert packages
        assert [entry.split("==")[0] for entry in packages if "--hash=sha256:" not in entry] == []


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
