#!/usr/bin/env bash
# Write the hashed locks anew from pyproject.toml: `pip install uv`, then `scripts/lock.sh`, then read the difference.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --override requirements/overrides.in \
        --custom-compile-command scripts/lock.sh "$@"
}
lock pyproject.toml requirements/build.in -o requirements/core.lock
lock pyproject.toml requirements/build.in --extra dev -o requirements/dev.lock -c requirements/core.lock
