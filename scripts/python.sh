#!/usr/bin/env bash
# Makes a virtual environment below the target folder, builds the Python package into it by maturin, in the profile of tests, and runs
# its tests. Whatever is given goes to pytest.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

python="${PYTHON:-python3}"
target=$(mkdir -p -- "${CARGO_TARGET_DIR:-target}" && cd -- "${CARGO_TARGET_DIR:-target}" && pwd)
environment="$target/python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    { say "NOT TESTED: the Python package; there is no Python from 3.10 on (PYTHON names another)"; exit 0; }
if [ ! -x "$environment/bin/python" ]; then
    # Packages of the machine are seen, so that torch is there where it is installed.
    "$python" -m venv --system-site-packages "$environment" ||
        { say "NOT TESTED: the Python package; $python makes no virtual environments (Debian: python3-venv)"; exit 0; }
fi
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check 'maturin>=1.16,<2' 'numpy>=1.24' pytest pillow
say "the Python package"
# The program that pictures are compared with, and the crates below the package, with the same features: compiled once.
PYO3_BUILD_EXTENSION_MODULE=1 PYO3_PYTHON="$environment/bin/python" cargo build --locked --quiet --workspace
VIRTUAL_ENV="$environment" PATH="$environment/bin:$PATH" \
    "$environment/bin/maturin" develop --quiet --locked --profile dev --features entoptic/default \
    --manifest-path python/Cargo.toml
cd python
ENTOPTIC_PROGRAM="$target/debug/entoptic" exec "$environment/bin/python" -m pytest -q "$@"
