#!/usr/bin/env bash
# Write the hashed locks anew from pyproject.toml: `pip install uv`, then `scripts/lock.sh`, then read the difference.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --override requirements/overrides.in \
        --custom-compile-command scripts/lock.sh "$@"
}
core="pyproject.toml requirements/build.in"
learn="$core requirements/torch-needs.in --extra train"
lock $core -o requirements/core.lock
lock $learn -c requirements/core.lock -o requirements/train.lock
lock $learn --extra finetune -c requirements/train.lock -o requirements/finetune.lock
lock $learn --extra finetune --extra dev -c requirements/finetune.lock -o requirements/dev.lock
