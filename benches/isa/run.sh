#!/usr/bin/env bash
# What Mesa's compilers for AMD's cards make of every kernel, without a card: registers, spills, waves, code, and the share of
# multiplications in the loop of sums. Writes benches/results/isa-mesaVERSION.md, with which tests/isa.rs compares.
#
# usage: run.sh           with the driver that is installed, and with that of Debian's backports, which knows newer cards
#        run.sh FILE.json with the driver that this manifest names
# needs: cargo, and RADV (Debian: mesa-vulkan-drivers); for the newer driver Debian 12 with its archive
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

tables() { # MANIFEST [FOLDER OF ITS LIBRARIES]
    ENTOPTIC_ISA_TABLES=write ENTOPTIC_RADV="$1" LD_LIBRARY_PATH="${2:-${LD_LIBRARY_PATH:-}}" \
        cargo test --locked --test isa -- --nocapture kernels_
}

if [ $# -gt 0 ]; then
    tables "$1"
    exit
fi

installed=$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name 'radeon_icd*.json' 2>/dev/null | head -n 1 || true)
if [ -n "$installed" ]; then tables "$installed"; else echo "no RADV is installed" >&2; fi

# The newer driver is unpacked into a folder of its own, which this machine's is not touched by.
folder=$PWD/target/isa
libraries=$folder/usr/lib/$(uname -m)-linux-gnu
if [ ! -e "$folder/radeon.json" ]; then
    mkdir -p -- "$folder"/{lists/partial,archives/partial,debs}
    # The archive that this machine uses already.
    mirror=$(grep -rhoE '[a-z]+://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ' || true)
    for suite in bookworm bookworm-backports; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} $suite main"
    done >"$folder/sources.list"
    apt=(apt-get -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder" -qq)
    "${apt[@]}" update
    (cd -- "$folder/debs" && "${apt[@]}" download {mesa-vulkan-drivers,libdrm-amdgpu1,libdrm2}/bookworm-backports)
    for package in "$folder"/debs/*.deb; do dpkg-deb -x "$package" "$folder"; done
    sed -E "s#(\"library_path\": *\")[^\"]*#\1$libraries/libvulkan_radeon.so#" \
        "$folder"/usr/share/vulkan/icd.d/radeon_icd*.json >"$folder/radeon.json"
fi
tables "$folder/radeon.json" "$libraries"
