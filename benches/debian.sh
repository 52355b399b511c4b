#!/usr/bin/env bash
# The speed of the networks with the Mesa of another Debian release, in a folder of its own that this machine's is not touched by.
#
# usage: debian.sh SUITE [ARGUMENTS OF cargo bench --bench nets]    e.g. debian.sh trixie (Mesa 25.0)
# needs: cargo, debootstrap, root
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

suite=${1:?a release of Debian: trixie has Mesa 25.0}
shift
root=target/debian/$suite
if [ ! -e "$root/ready" ]; then
    rm -rf -- "$root"
    mkdir -p -- "$root"
    debootstrap --variant=minbase --include=mesa-vulkan-drivers,libvulkan1 "$suite" "$root" >"$root.log"
    touch "$root/ready"
fi
bench=$(cargo bench --locked --bench nets --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
cp -- "$bench" "$root/nets"
mount -t proc entoptic-proc "$root/proc" # for the clock of a thread and the resident set
trap 'umount "$root/proc"' EXIT
chroot "$root" /nets "$@"
