#!/usr/bin/env bash
# Long runs: 20,000 steps of a tiny network, fifteen times 300 of each demo network; fails when memory grows, the picture is not
# finite or steps become slower, which wants a machine that does nothing else. Prints the table.
# usage: scripts/long_run.sh [STEPS OF THE TINY ONE [STEPS OF THE OTHERS]]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

# Built as the tests are: most of the work is the driver's.
bench=(cargo bench --locked --quiet --profile dev --bench long_run --)
echo "| network | px | steps | resident, MB | bytes a step more | device, MB, bytes a step more | objects more | finite | steps/s | processor ms a step |"
echo "|---|---|---|---|---|---|---|---|---|---|"
"${bench[@]}" TINY "${1:-20000}"
for network in resnet50 googlenet inception_v3; do
    "${bench[@]}" "$network" "${2:-300}" 15
done
