#!/usr/bin/env bash
# Runs every command of docs/guide.md, in its order: all lines of its blocks marked `sh`. What they make lies in target/guide.
# usage: scripts/guide.sh [PHOTOGRAPH]
#   PHOTOGRAPH  what the guide calls photo.jpg [a picture of this repository, in place of one]
set -euo pipefail
[ $# -lt 1 ] || photograph=$(realpath -- "$1")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

say "building"
cargo build --release --locked
PATH="$PWD/target/release:$PATH"
# The guide is about the small networks in the program, whatever has been fetched.
export XDG_CACHE_HOME="$PWD/target/guide/cache"
rm -rf target/guide
mkdir -p target/guide
cp -- "${photograph:-docs/pictures/church.png}" target/guide/photo.jpg
# shellcheck disable=SC2016 # the backquotes are those of the blocks
sed -n '/^```sh$/,/^```$/{/^```/!p}' docs/guide.md >target/guide/commands.sh
[ -s target/guide/commands.sh ] || die "docs/guide.md has no commands"
cd target/guide
# Shown before they are run; the first that fails ends it.
bash -euo pipefail -v commands.sh
say "every command of the guide has run; see target/guide"
