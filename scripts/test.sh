#!/usr/bin/env bash
# Sets up, then checks format, lints, tests, documentation, and the shaders with whatever validators are on the PATH.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

# The text of a shader with its `#import name` lines replaced by shaders/shared/name.wgsl.
expand() {
    awk '
        /^#import / {
            file = "shaders/shared/" $2 ".wgsl"
            if (seen[file]++) next
            while ((status = (getline line < file)) > 0) print line
            if (status < 0) { print FILENAME ": no fragment named " $2 > "/dev/stderr"; exit 1 }
            next
        }
        { print }
    ' "$1"
}

# Each shader through a validator: check_shaders COMMAND...
# The standard wants the line that enables subgroups, which naga does not know yet.
check_shaders() {
    local shader
    for shader in shaders/*.wgsl; do
        expand "$shader" >"$folder/shader.wgsl"
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
if have "${CHROMEDRIVER:-chromedriver}"; then
    say "the page of a comparison in a browser"
    cargo test --locked --test report_browser -- --ignored
else
    say "NOT TESTED: the page of a comparison in a browser; there is no chromedriver, scripts/report_browser.sh installs it"
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
