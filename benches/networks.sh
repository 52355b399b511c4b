#!/usr/bin/env bash
# Launches and memory of every network, and the times of the three of the experiments beside an earlier program, in one run:
#   benches/networks.sh PROGRAM [EARLIER] > benches/results/NAME.md
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
program=$1 earlier=${2:-}
side=${SIDE:-299} rounds=${ROUNDS:-5}

models=()
for name in $("$program" layers --model none 2>&1 | grep -o 'there are: .*' | sed 's/there are: //; s/,/ /g'); do
    models+=(--model "$name")
done
[ ${#models[@]} -gt 0 ] || { echo "$program names no networks" >&2; exit 1; }
"$program" --quiet bench --size "$side" --repeats 1 "${models[@]}" |
    awk -F'|' 'NF < 9 { print; next } { print "|" $2 "|" $3 "|" $(NF - 2) "|" $(NF - 1) "|" }' | sed 's/^|---.*/|---|---|---|---|/'

if [ -n "$earlier" ]; then
    printf '\n## Before and after, taking turns, median of %s rounds of 3\n\n' "$rounds"
    printf '| network | pass | launches before | after | memory before, MiB | after | before, ms | after, ms | ratio |\n'
    printf '|---|---|---|---|---|---|---|---|---|\n'
    folder=$(mktemp -d)
    trap 'rm -rf -- "$folder"' EXIT
    for network in resnet50 googlenet inception_v3; do
        for _ in $(seq "$rounds"); do
            for which in earlier program; do
                "${!which}" --quiet bench --size "$side" --repeats 3 --model "$network" |
                    grep "^| $network" >>"$folder/$network.$which"
            done
        done
        python3 - "$folder/$network" <<'PY'
import statistics, sys
rows = {which: {} for which in ("earlier", "program")}
for which, passes in rows.items():
    for line in open(f"{sys.argv[1]}.{which}"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        passes.setdefault(cells[1], []).append((float(cells[3]), cells[-2], cells[-1]))
for what in rows["program"]:
    before, after = (rows[which][what] for which in ("earlier", "program"))
    times = [statistics.median(row[0] for row in run) for run in (before, after)]
    cells = [sys.argv[1].rsplit("/", 1)[-1], what, before[0][1], after[0][1], before[0][2], after[0][2]]
    print("| " + " | ".join(cells + [f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[1] / times[0]:.3f}"]) + " |")
PY
    done
fi
