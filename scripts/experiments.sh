#!/usr/bin/env bash
# The experiments of the source on the two demo networks: joint, difference, match, a photograph's representation, training.
# Prints a table and writes a sheet of pictures. usage: scripts/experiments.sh [FOLDER OF PHOTOGRAPHS]
set -euo pipefail
photographs=${1:+$(cd -- "$1" && pwd)}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

say "ten pictures in each of five or six ways, then 1000 training steps: about ten minutes on two cores without a GPU"
cargo bench --locked --bench experiments -- ${photographs:+--photographs "$photographs"} --out "$PWD/target/experiments"
