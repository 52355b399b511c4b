#!/usr/bin/env bash
# What takes too long for every change: 5,000 random shapes against the oracle, and the thorough self-test of every adapter.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

say "properties"
ENTOPTIC_PROPERTIES=${ENTOPTIC_PROPERTIES:-5000} cargo test --release --locked --test properties
say "self-test"
cargo run --release --locked -- doctor --all-adapters --thorough --report "${1:-doctor.json}"
