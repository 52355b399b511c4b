#!/usr/bin/env bash
# Sets up, then checks format, lints, tests, documentation, and the shaders with whatever validators are on the PATH.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

# Each text that a driver is given through a validator, as tests/shaders.rs writes them: check_shaders COMMAND...
# The standard wants the line that enables subgroups, which naga does not know yet.
check_shaders() {
    local shader
    for shader in "${CARGO_TARGET_DIR:-target}"/tmp/shaders/*.wgsl; do
        cp -- "$shader" "$folder/shader.wgsl"
        if [ "$1" = tint ] && grep -q subgroupBroadcast "$shader"; then
            sed -i '1i enable subgroups;' "$folder/shader.wgsl"
        fi
        "$@" "$folder/shader.wgsl" >"$folder/report" 2>&1 || { cat "$folder/report"; die "$shader: $1 refuses it"; }
    done
}

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT

say "format"
cargo fmt --check
say "lints"
cargo clippy --locked --all-targets -- -D warnings
say "tests"
cargo test --locked
# tests/driver_faults.rs compiles a Vulkan layer, which is of no use to Metal and DX12.
if [ "$(uname -s)" != Linux ] || ! have "${RUSTC:-rustc}"; then
    say "NOT TESTED: a driver that loses the device, refuses kernels or runs out of memory; that needs Linux and rustc"
fi
if have "${CHROMEDRIVER:-chromedriver}"; then
    say "the page of a comparison in a browser"
    cargo test --locked --test report_browser -- --ignored
else
    say "NOT TESTED: the page of a comparison in a browser; there is no chromedriver, scripts/report_browser.sh installs it"
fi
say "examples"
for example in examples/*.rs; do
    example=$(basename -- "$example" .rs)
    cargo run --locked --quiet --example "$example" -- "$folder/$example.png" >"$folder/report" 2>&1 ||
        { cat "$folder/report"; die "the example $example fails"; }
done
scripts/python.sh
# What a driver happens to do right, another may not: browsers bring SwiftShader along.
other_driver=
for manifest in /usr/lib/chromium/vk_swiftshader_icd.json /opt/google/chrome/vk_swiftshader_icd.json; do
    if [ -r "$manifest" ]; then other_driver=$manifest; fi
done
if [ -n "$other_driver" ]; then
    say "the self-test on SwiftShader"
    env -u ENTOPTIC_ADAPTER VK_DRIVER_FILES="$other_driver" VK_ICD_FILENAMES="$other_driver" \
        cargo run --locked --quiet -- doctor >"$folder/doctor" 2>"$folder/report" ||
        { cat "$folder/report" "$folder/doctor"; die "the self-test fails on SwiftShader"; }
    grep ' rows right' "$folder/doctor"
else
    say "NOT TESTED: the kernels on a second driver; Chromium would bring SwiftShader"
fi
say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
if have naga; then
    say "shaders, by naga"
    check_shaders naga
fi
if have tint; then
    say "shaders, by tint"
    check_shaders tint --format wgsl -o /dev/null
fi
say "all passed"
