#!/usr/bin/env bash
# Loads the three networks at full size from files that PyTorch wrote, as .pth, as legacy .pth and as .safetensors, and checks
# that the logits of each are the same and that reading takes at most 1.3 times the file. Prints the table.
# usage: scripts/full_size_weights.sh [FOLDER]    (FOLDER: keeps the files, 770 MiB; they are made where they are missing)
# needs: python with torch 2.8, torchvision 0.23, safetensors; PYTHON names another than python3
set -euo pipefail
folder=${1:-}
[ -z "$folder" ] || { mkdir -p "$folder" && folder=$(cd -- "$folder" && pwd); }
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

if [ -z "$folder" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf -- "$folder"' EXIT
fi
if [ ! -e "$folder/resnet50.safetensors" ]; then # the last one that is written
    "${PYTHON:-python3}" tests/fixtures/make_networks.py --out "$folder"
fi

# Built as the tests are: memory does not depend on it.
bench=(cargo bench --locked --quiet --profile dev --bench loading --)
echo "| file | MiB | peak of reading, over the file | with the upload | logits |"
echo "|---|---|---|---|---|"
for network in resnet50 googlenet inception_v3; do
    digests=()
    for file in "$network.pth" "$network-legacy.pth" "$network.safetensors"; do
        row=$("${bench[@]}" "$folder/$file")
        echo "$row"
        awk -F'|' '$4 > 1.3 { exit 1 }' <<<"$row" || die "$file: reading it takes more than 1.3 times its size"
        digests+=("$(awk -F'|' '{ print $6 }' <<<"$row")")
    done
    if [ "${digests[0]}" != "${digests[2]}" ] || [ "${digests[1]}" != "${digests[2]}" ]; then
        die "$network: the files give different logits"
    fi
done
