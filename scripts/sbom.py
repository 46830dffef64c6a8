#!/usr/bin/env python3
"""Write sbom.json (CycloneDX 1.6): locked packages, vendored web files, weights. Run it after scripts/lock.sh."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def build() -> dict[str, Any]:
    """The bill of materials, in a fixed order, without a date: the same input gives the same file."""
    components = [*_packages(), *_vendored(), *_weights()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "duomo", "licenses": [_license("Apache-2.0")]}},
        "components": sorted(components, key=lambda c: (c["type"], c["name"])),
    }


def _packages() -> list[dict[str, Any]]:
    """Those that serve; as optional those that only training needs. Torch has no hash: requirements/torch.in."""
    core, training = _locked("core.lock"), _locked("finetune.lock")
    return [{**package, **({} if package in core else {"scope": "optional"})} for package in training]


def _locked(name: str) -> list[dict[str, Any]]:
    lock = (ROOT / "requirements" / name).read_text()
    found = []
    for entry in re.split(r"\n(?=[a-z0-9])", lock, flags=re.IGNORECASE):
        if match := re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", entry):
            package, version = match.groups()
            any_build = "sys_platform == 'none'" in entry  # what is installed is another file of this version
            hashes = [] if any_build else re.findall(r"sha256:([0-9a-f]{64})", entry)
            found.append(
                {"type": "library", "name": package, "version": version, "purl": f"pkg:pypi/{package}@{version}",
                 "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes]}
            )  # fmt: skip
    return found


def _vendored() -> list[dict[str, Any]]:
    listed = json.loads((ROOT / "src/duomo/web/vendor/VENDOR.json").read_text())
    return [
        {
            "type": "file",
            "name": entry["file"],
            "version": entry["version"],
            "licenses": [_license(entry["licence"])],
            "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
            "description": entry["npm"],
        }
        for entry in listed
    ]


def _weights() -> list[dict[str, Any]]:
    listed = json.loads((ROOT / "src/duomo/models/weights/manifest.json").read_text())
    return [
        {
            "type": "machine-learning-model",
            "name": name,
            "licenses": [_license(weight["license"])],
            "hashes": [{"alg": "SHA-256", "content": weight["sha256"]}],
            "description": f"from {weight['upstream']}",
        }
        for name, weight in listed.items()
    ]


def _license(name: str) -> dict[str, Any]:
    return {"expression": name} if " OR " in name or " AND " in name else {"license": {"id": name}}


if __name__ == "__main__":
    (ROOT / "sbom.json").write_text(json.dumps(build(), indent=1) + "\n")
    sys.exit(0)
