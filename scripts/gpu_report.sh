#!/usr/bin/env bash
# The one command for a machine with a GPU: what the self-test says, how fast networks, single kernels, pictures and the host are,
# and PyTorch beside them, as one Markdown file. At most eight minutes; a part that fails or takes too long is said to have done
# so, and does not stop the others.
#
# usage: gpu_report.sh [--small] [--out FILE.md]
#   --small  small pictures and one network, and ten times as long, to see on a software adapter that every part works
#   --out    where the report goes (default: benches/results/gpu-NAME-OF-THE-ADAPTER.md)
# needs: cargo, or a program in ENTOPTIC; python3 with torch and torchvision (or one in PYTHON) for the part about PyTorch
# The adapter is the best one, or what ENTOPTIC_ADAPTER names.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

size=299 batches=(1 8 32) repeats=5 layers=25 classes=0-9 networks=() out='' budget=480
while [ $# -gt 0 ]; do
    case $1 in
        --small) size=75 batches=(1 2) repeats=1 layers=5 classes=0-1 networks=(googlenet) budget=4800 ;;
        --out) out=${2:?a file follows --out}; shift ;;
        *) sed -n '2,/^set/{/^set/!p}' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
    esac
    shift
done

entoptic=${ENTOPTIC:-}
if [ -z "$entoptic" ]; then
    cargo build --locked --release
    entoptic=target/release/entoptic
fi
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
# Measurements of this run alone, so that the first start is one.
export XDG_CACHE_HOME=$folder/cache

name=$("$entoptic" adapters 2>/dev/null | sed -n '1s/^[0-9]*[:.]* *//p')
if [ -z "$out" ]; then
    short=$(tr -cs '[:alnum:]' '-' <<<"${ENTOPTIC_ADAPTER:-$name}" | tr '[:upper:]' '[:lower:]' | cut -c1-40)
    out=benches/results/gpu-${short%-}.md
fi
started=$SECONDS failed=0
models=()
for network in "${networks[@]}"; do models+=(--model "$network"); done

say() { printf '%s\n' "$*" >>"$out"; }

# A function with all that it starts, ended after so many seconds: limited SECONDS FUNCTION ARGUMENTS...
limited() {
    local limit=$1 child watcher code=0
    shift
    set -m # each of both is a process group of its own, which can be ended as one
    (trap - EXIT && "$@") &
    child=$!
    (trap - EXIT && sleep "$limit" && kill -- "-$child") >/dev/null 2>&1 &
    watcher=$!
    set +m
    wait "$child" || code=$?
    kill -- "-$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    return "$code"
}

# A part of the report: part TITLE SECONDS COMMAND... What it prints is Markdown.
part() {
    local title=$1 limit=$(($2 * budget / 480)) left=$((budget - (SECONDS - started))) code=0 from=$SECONDS
    shift 2
    printf '==> %s\n' "$title" >&2
    say ""
    say "## $title"
    say ""
    if [ "$left" -lt 5 ]; then
        say "**Not done:** the time is over."
        failed=$((failed + 1))
        return
    fi
    limited "$((limit < left ? limit : left))" "$@" >"$folder/out" 2>"$folder/err" || code=$?
    cat "$folder/out" >>"$out"
    if [ "$code" -ne 0 ]; then
        failed=$((failed + 1))
        say ""
        if [ "$code" -eq 143 ]; then say "**Broken off** after $((SECONDS - from)) s."; else say "**Failed** with exit code $code:"; fi
        if [ -s "$folder/err" ]; then
            say '```'
            tail -n 20 "$folder/err" >>"$out"
            say '```'
        fi
    fi
    say ""
    say "$((SECONDS - from)) s."
}

self_test() {
    local code=0
    "$entoptic" doctor >"$folder/doctor" || code=$?
    echo '```'
    if [ "$code" -eq 0 ]; then tail -n 12 "$folder/doctor"; else cat "$folder/doctor"; fi
    echo '```'
    return "$code"
}

# The networks at one batch by measured kernels: logits, gradients of the pictures, and steps of training where they fit.
measured() { "$entoptic" bench "${models[@]}" --size "$size" --batch "$1" --repeats "$repeats" --pass forward,input,training; }
by_table() { "$entoptic" bench --no-autotune "${models[@]}" --size "$size" --batch "$1" --repeats "$repeats" --pass forward,input; }
single_kernels() {
    local network=${networks[0]:-resnet50}
    "$entoptic" bench --model "$network" --size "$size" --batch "$1" --repeats 3 --pass input --layers "$layers"
}

# Pictures a minute of the small network that is built in: pictures FLAGS...
pictures() {
    local from
    from=$(date +%s.%N)
    "$entoptic" gallery --model googlenet --weights demo --classes "$classes" --out "$folder/gallery-$RANDOM" --quiet "$@" >&2 || return
    date +%s.%N | awk -v from="$from" -v classes="$classes" '{
        split(classes, range, "-"); count = range[2] - range[1] + 1
        printf "%d pictures in %.1f s, %.2f s each, with the start of the program.\n", count, $1 - from, ($1 - from) / count
    }'
}
galleries() {
    echo "One at a time:"
    pictures --batch 1 || return
    echo
    echo "As many at once as fit:"
    pictures
}

pytorch() {
    local python=${PYTHON:-python3} batch code=0
    if ! "$python" -c 'import torch, torchvision' 2>/dev/null; then
        echo "Not done: $python has no torch and torchvision."
        return
    fi
    for batch in "${batches[@]}"; do
        "$python" benches/peers/pytorch.py "${networks[@]}" --size "$size" --batch "$batch" --repeats "$repeats" || code=$?
        echo
    done
    return "$code"
}

: >"$out"
say "# Report of a GPU: $name"
say ""
say "$("$entoptic" --version), $(git rev-parse --short HEAD 2>/dev/null || echo 'no commit known'), $(uname -sr); written by"
say "\`scripts/gpu_report.sh\`. Pictures of $size pixels, batches ${batches[*]}."
part "The self-test" 90 self_test
for batch in "${batches[@]}"; do
    part "Networks, batch $batch, measured kernels" 60 measured "$batch"
    part "Networks, batch $batch, kernels of the table" 30 by_table "$batch"
done
part "Single kernels, batch 1, with percent of the peak" 40 single_kernels 1
part "Single kernels, batch ${batches[-1]}, with percent of the peak" 40 single_kernels "${batches[-1]}"
part "Pictures" 60 galleries
part "PyTorch on the same machine" 150 pytorch
say ""
say "$((SECONDS - started)) s in all; $failed parts failed."
echo "$out"
[ "$failed" -eq 0 ]
