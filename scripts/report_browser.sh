#!/usr/bin/env bash
# Looks at the page of a comparison in Chromium: tests/report_browser.rs. Installs Chromium and chromedriver where they are
# missing and the system is Debian's or Ubuntu's.
#
#   scripts/report_browser.sh                  the tests
#   scripts/report_browser.sh --pictures DIR   also a report of ten classes by the networks in the program, and pictures of it
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

need_chromium() {
    if have "${CHROMEDRIVER:-chromedriver}"; then return; fi
    have apt-get || die "chromedriver is not on the PATH; install Chromium with its driver, or name it in CHROMEDRIVER"
    say "installing Chromium and chromedriver"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium chromium-driver
}

photographs() {
    local folder entoptic all='tench,English springer,cassette player,chain saw,church,French horn,garbage truck,gas pump,golf ball,parachute'
    folder=$(mktemp -d)
    trap 'rm -rf -- "$folder"' EXIT
    cargo build --locked --release
    entoptic=(target/release/entoptic --quiet)
    "${entoptic[@]}" generate --model resnet50 --class "$all" --out "$folder/resnet50"
    "${entoptic[@]}" generate --model googlenet --class "$all" --out "$folder/googlenet"
    "${entoptic[@]}" generate --model resnet50 --model googlenet --class "$all" --out "$folder/joint"
    "${entoptic[@]}" difference --model googlenet --minus resnet50 --class "$all" --out "$folder/difference"
    "${entoptic[@]}" compare --model resnet50 --model googlenet --model inception_v3 --axes inception5a:0,4 \
        --pictures "$folder"/{resnet50,googlenet,joint,difference} --out "$folder/report"
    mkdir -p "$1"
    ENTOPTIC_REPORT="$folder/report/index.html" ENTOPTIC_PICTURES=$(cd -- "$1" && pwd) \
        cargo test --locked --test report_browser both_schemes -- --ignored
}

need_cargo
need_vulkan
need_chromium
cargo test --locked --test report_browser -- --ignored --nocapture --test-threads=2
if [ "${1:-}" = --pictures ]; then photographs "${2:?a folder}"; fi
