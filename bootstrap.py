#!/usr/bin/env python3
"""For a machine that has only Python: start Duomo, train a model of your own, run the tests.

    python3 bootstrap.py run [--home DIR] [--port N] [--no-demo]
    python3 bootstrap.py train [TASK.yaml SAMPLES --out DIR ...]      without arguments: only install the toolkit
    python3 bootstrap.py finetune [TASK.yaml SAMPLES --out DIR ...]   the same, with encoders from Hugging Face
    python3 bootstrap.py test [pytest arguments]

Each first makes `.venv` beside this file and installs exactly what the hashed lock of that verb in `requirements/`
names; when nothing changed since the last time, that takes no time. Training needs torch as well (`torch.in`): without
a GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets its much smaller build for processors.
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
LOCKS = {"run": "core.lock", "train": "train.lock", "finetune": "finetune.lock", "test": "dev.lock"}
WITHOUT_TORCH = ("core.lock",)


def main() -> int:
    verb, *rest = sys.argv[1:] or [""]
    if verb not in LOCKS:
        print(__doc__)
        return 0 if verb in ("-h", "--help") else 2
    if sys.version_info < (3, 11):
        print(f"this is Python {sys.version.split()[0]}, wanted is 3.11 or newer. Install it and try again.")
        return 3
    if not prepare(ROOT / "requirements" / LOCKS[verb]):
        return 3
    if verb in ("train", "finetune"):
        if not rest:
            say(f"the training toolkit is there. Next: {BIN / 'duomo'} train TASK.yaml SAMPLES --out DIR")
            return 0
        module = ["duomo.cli", "train"]
    else:
        os.chdir(ROOT)
        module = ["duomo.cli", "run"] if verb == "run" else ["pytest"]
    command = [str(part) for part in (PYTHON, "-m", *module, *rest)]
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(PYTHON, command)


def prepare(lock: Path) -> bool:
    """Make the environment hold what `lock` names. Returns: whether it does."""
    stamp = ENVIRONMENT / "installed-from"
    torch = [] if lock.name in WITHOUT_TORCH else [lock.with_name("torch.in")]
    decides = [lock, ROOT / "pyproject.toml", *torch]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in decides)).hexdigest()
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
    size = "with torch about 2 GB" if torch else "about 600 MB"
    say(f"installing the packages of {lock.name}; the models come with them ({size}, once)")
    # The locks name what we install instead of opencv-python, so dependencies are not resolved a second time. Torch's
    # are: a build for GPUs brings their libraries.
    failed = pip("--require-hashes", "--no-deps", "-r", lock)
    for requirements in torch:
        failed = failed or pip("-r", requirements)
    if failed or pip("--no-deps", "--no-build-isolation", "--editable", ROOT):
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
