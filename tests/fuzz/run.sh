#!/usr/bin/env bash
# Fuzzes the readers of files by libFuzzer, on one core, each for a quarter of an hour; prints the counts. Needs a C++ compiler
# and unzip, no nightly Rust. usage: tests/fuzz/run.sh [SECONDS EACH] [TARGET...]
# FUZZ_TIMEOUT: seconds that one try may take, 10 unless told; more where the fuzzer is stopped now and then.
set -euo pipefail
seconds=${1:-900}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || targets=(safetensors pickle zip legacy picture recipe onnx pt2)
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

# What `cargo fuzz --sanitizer none` asks of the compiler: counters and comparisons that libFuzzer follows.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --target "$host" --bins

corpus=target/corpus
files=../fixtures/checkpoints
mkdir -p "$corpus"/{safetensors,pickle,zip,legacy,picture,recipe,onnx,pt2}
header='{"__metadata__":{"network":"resnet50"},"a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]},'
header+='"b":{"dtype":"F64","shape":[],"data_offsets":[4,12]}}'
printf '%b\0\0\0\0\0\0\0%s%s' "\\x$(printf %x "${#header}")" "$header" 'twelve bytes' >"$corpus/safetensors/seed"
for archive in "$files"/{tiny,bad}_*zip.pth "$files/tiny_deflated.pth"; do
    cp "$archive" "$corpus/zip/"
    # Some are cut off on purpose.
    unzip -p "$archive" '*/data.pkl' >"$corpus/pickle/$(basename "$archive" .pth)" 2>/dev/null || true
done
cp "$files"/calls_protocol*.pkl "$corpus/pickle/"
cp "$files"/*legacy*.pth "$corpus/legacy/"
head -c 8000 ../../docs/pictures/experiments.jpg >"$corpus/picture/jpeg"
head -c 8000 ../../docs/pictures/church.png >"$corpus/picture/png"
networks=../fixtures/imported
# A graph without its weights, and one with few.
head -c 16000 "$networks/mnasnet0_5.onnx" | tail -c +8 >"$corpus/onnx/external"
head -c 16000 "$networks/densenet.ts.onnx" | tail -c +8 >"$corpus/onnx/inside"
unzip -p "$networks/resnet.pt2" '*/models/model.json' | head -c 16000 >"$corpus/pt2/graph"
printf '{"schema_version":{"major":8},"graph_module":{"graph":{"nodes":[]},"signature":{}}}\0%s' \
    '{"config":{"a":{"path_name":"weight_0","tensor_meta":{"dtype":7,"sizes":[{"as_int":4}],"strides":[{"as_int":1}],"storage_offset":{"as_int":0}}}}}' \
    >"$corpus/pt2/weights"
cp ../../src/synthesis/recipes/*.toml "$corpus/recipe/"

failed=0
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "target/found/$target"
    # Half a GiB for fuzzer and reader together; a try that takes a second is kept as slow-unit-*, a longer one ends it.
    "target/$host/release/$target" "$corpus/$target" -artifact_prefix="target/found/$target/" -dict=words.dict \
        -max_len=16384 -rss_limit_mb=512 -report_slow_units=1 -timeout="${FUZZ_TIMEOUT:-10}" \
        -max_total_time="$seconds" -print_final_stats=1 >"target/found/$target.log" 2>&1 || failed=1
    grep -E "DONE|ERROR|panicked|Test unit written|number_of_executed_units|peak_rss_mb|slowest_unit" \
        "target/found/$target.log" || true
done
exit "$failed"
