#!/usr/bin/env bash
# Builds the program and prints its size, with the networks inside of it and without; fails when the rest is above 15 MB.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

most=15000000
cargo build --release --locked --quiet
program=$(wc -c <"${CARGO_TARGET_DIR:-target}/release/entoptic")
networks=$(cat weights/demo-*.safetensors | wc -c)
rest=$((program - networks))
printf '%d bytes: %d of networks, %d of program (at most %d)\n' "$program" "$networks" "$rest" "$most"
[ "$rest" -le "$most" ] || die "the program has grown beyond $most bytes; see docs/dependencies.md for what brings how much"
