#!/usr/bin/env bash
# Entoptic and other engines one after the other, on the same machine and, where they can, the same Vulkan adapter: ResNet50, 299
# pixels, batch 1. Prints a table for each. Some ten minutes on two cores without a GPU; close what else is running.
#
# usage: run.sh [FOLDER]    where Python's packages and the converted network are kept (5 GB; default: ~/.cache/entoptic-peers)
# needs: cargo, python3 with venv, clang (for tinygrad)
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

. benches/peers/venv.sh
cargo bench --locked --bench nets --no-run

# Each process from its start: wall time and memory of the whole, after what it prints of its passes.
measure() {
    printf '\n## %s\n\n' "$1"
    shift
    "$python" - "$@" <<'PYTHON'
import resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
print(f"\nThe whole process: {seconds:.1f} s, at most {peak} MiB resident; exit code {code}.")
PYTHON
}

measure "Entoptic" cargo bench --locked --quiet --bench nets -- resnet50
measure "ncnn, Vulkan, half precision" "$python" benches/peers/ncnn_vulkan.py "$folder/ncnn"
measure "ncnn, Vulkan" "$python" benches/peers/ncnn_vulkan.py "$folder/ncnn" --fp32
measure "tinygrad, WebGPU on Vulkan" "$python" benches/peers/tinygrad_webgpu.py --repeats 1
measure "PyTorch" "$python" benches/peers/pytorch.py resnet50
measure "Entoptic again" cargo bench --locked --quiet --bench nets -- resnet50
