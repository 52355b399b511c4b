#!/usr/bin/env bash
# Sets up, builds, and makes a picture of a golf ball with the small network in this repository.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

picture="$PWD/golf-ball.png"
say "building"
cargo build --release --locked
say "making a picture of a golf ball as a small ResNet50 sees it"
cargo run --release --locked --quiet -- generate --model resnet50 --weights demo --class "golf ball" --seed 1 --out "$picture"
say "the picture: $picture"
