#!/usr/bin/env bash
# MobileNetV2 and EfficientNet-B0 at 224 pixels with Entoptic, ncnn and tinygrad on the same Vulkan adapter, in turns: kernel launches and
# seconds of a forward pass, and with the gradient of the picture where an engine has one. Prints one table.
#
# usage: networks.sh [FOLDER] [REPEATS]    where packages and converted networks are kept (5 GB; default: ~/.cache/entoptic-peers)
# needs: cargo, python3 with venv, clang (for tinygrad). Close what else is running.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

. benches/peers/venv.sh
cargo build --release --locked
"$python" benches/peers/networks.py "$folder/networks" --repeats "${2:-5}"
