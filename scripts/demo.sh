#!/usr/bin/env bash
# Sets up, builds, and makes and shows pictures of three classes in five ways. Options go to `entoptic demo`.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

say "building"
cargo build --release --locked
say "fifteen pictures, as the networks in this repository see three classes"
cargo run --release --locked --quiet -- demo "$@"
