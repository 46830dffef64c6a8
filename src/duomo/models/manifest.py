"""`model.json` of a trained model and `manifest.json` of an exported one: what lies in the folder, how to read it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from duomo.errors import ConfigError, ModelUnavailable
from duomo.models.features import View
from duomo.models.heads import HeadInfo, PatternTrust, Trust

FORMAT = 1
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    Attributes:
        duomo: version that wrote it.
        task, metrics, data: JSON as the trainer states it: the task, what the model reached, the data's fingerprint.
        files: file inside the folder -> SHA-256 of its bytes.
        graphs: precision -> file; empty for a model that is not exported.
        vocabularies: sparse view -> .npy file with the columns the model knows, ascending.
        parity: how far each exported file is from the torch model, as `learn/export.py` measured it.
    """

    duomo: str
    task: Mapping[str, Any]
    modalities: tuple[str, ...]
    views: tuple[View, ...]
    heads: Mapping[str, HeadInfo]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    graphs: Mapping[str, str] = field(default_factory=dict)
    vocabularies: Mapping[str, str] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """
        Raises:
            ModelUnavailable: no such file, or it is cut off.
            ConfigError: another format, or an entry is missing or of the wrong kind.
        """
        try:
            stated = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelUnavailable(f"{file} cannot be read ({error.strerror}). Name the folder of a model.") from error
        except ValueError as error:
            raise ModelUnavailable(f"{file} is cut off or not JSON ({error}). Write the model again.") from error
        if not isinstance(stated, dict) or stated.get("format") != FORMAT:
            found = stated.get("format") if isinstance(stated, dict) else type(stated).__name__
            raise ConfigError(f"{file} has format {found!r}, this version reads {FORMAT}. Train or export again.")
        try:
            return _from_json(stated)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{file}: {type(error).__name__} {error}. Train or export the model again.") from error

    def as_dict(self) -> dict[str, Any]:
        stated = asdict(self)
        heads = {name: _head_to_json(head) for name, head in self.heads.items()}
        return {"format": FORMAT, **stated, "heads": heads}

    def write(self, file: Path) -> None:
        """Replace the file at once: whoever reads meanwhile sees the former or this one."""
        text = json.dumps(self.as_dict(), ensure_ascii=False, indent=1, allow_nan=False)
        fresh = file.with_name(file.name + ".writing")
        fresh.write_text(text + "\n", encoding="utf-8")
        os.replace(fresh, file)

    def hashed(self, folder: Path, names: list[str]) -> Manifest:
        """The same with the hashes of these files in the folder."""
        return replace(self, files={name: sha256(folder / name) for name in sorted(names)})

    def check(self, folder: Path) -> None:
        """
        Raises:
            ModelUnavailable: a file is missing or has other bytes.
        """
        for name, wanted in self.files.items():
            if not (folder / name).is_file():
                raise ModelUnavailable(f"{folder / name} is missing. Copy the whole folder, or write the model again.")
            found = sha256(folder / name)
            if found != wanted:
                raise ModelUnavailable(
                    f"{folder / name} has SHA-256 {found[:12]}…, expected {wanted[:12]}…. It is damaged or from "
                    "another model: copy the whole folder, or write the model again."
                )


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _head_to_json(head: HeadInfo) -> dict[str, Any]:
    trust = {
        "patterns": {pattern: asdict(one) for pattern, one in head.trust.patterns.items()},
        "default": asdict(head.trust.default),
        "method": head.trust.method,
        "coverage": head.trust.coverage,
    }
    return {**{name: value for name, value in asdict(head).items() if name != "name"}, "trust": trust}


def _from_json(stated: Mapping[str, Any]) -> Manifest:
    used = {*stated.get("graphs", {}).values(), *stated.get("vocabularies", {}).values()}
    for name in used | set(stated.get("files", {})):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"the file {name!r} lies outside the folder")
    if unchecked := used - set(stated.get("files", {})):
        raise ValueError(f"no hash for {', '.join(sorted(unchecked))}")
    return Manifest(
        duomo=stated["duomo"],
        task=stated["task"],
        modalities=tuple(stated["modalities"]),
        views=tuple(View(**view) for view in stated["views"]),
        heads={name: _head_from_json(name, head) for name, head in stated["heads"].items()},
        **{name: stated.get(name, {}) for name in ("metrics", "data", "files", "graphs", "vocabularies", "parity")},
    )


def _head_from_json(name: str, stated: Mapping[str, Any]) -> HeadInfo:
    if stated["type"] not in ("class", "multilabel", "number"):
        raise ValueError(f"head {name} has type {stated['type']!r}, allowed: class, multilabel, number")
    trust = stated["trust"]
    labels, prior = tuple(stated["labels"]), tuple(float(share) for share in stated["prior"])
    if len(prior) != (2 if stated["type"] == "number" else len(labels)):
        raise ValueError(f"head {name} has {len(labels)} labels and a prior of {len(prior)}")
    return HeadInfo(
        name=name,
        type=stated["type"],
        labels=labels,
        prior=prior,
        out_of_scope=stated.get("out_of_scope"),
        out_of_scope_threshold=stated.get("out_of_scope_threshold"),
        trust=Trust(
            default=PatternTrust(**trust["default"]),
            patterns={pattern: PatternTrust(**one) for pattern, one in trust["patterns"].items()},
            method=trust.get("method", "lac"),
            coverage=trust.get("coverage", 0.9),
        ),
    )
