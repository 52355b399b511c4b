#!/usr/bin/env bash
# What the cards in weights/ say of the small networks: makes ten classes with several seeds by each, has all of them judge the
# pictures beside photographs and noise, and counts the photographs that each gets right. Prints Markdown.
# usage: scripts/cards.sh DATA [OUT]
#   DATA      a folder with val/CLASS/*.jpg, such as Imagenette
#   OUT       where pictures and JSON go [target/cards]
#   NETWORKS  what to make and judge with, ARCHITECTURE or ARCHITECTURE=WEIGHTS, separated by spaces
#             [every weights/demo-*.safetensors]
#   SEEDS     pictures of each class [8]
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$(cd -- "$1" && pwd)
[ $# -lt 2 ] || { mkdir -p -- "$2" && out=$(cd -- "$2" && pwd); }
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
have jq || die "jq is not on the PATH; install it and run this again"
out=${out:-$PWD/target/cards}
seeds=${SEEDS:-8}

# A file's network is what its name says before any further word: demo-resnet50-plain is a ResNet50.
if [ -z "${NETWORKS:-}" ]; then
    NETWORKS=
    for file in weights/demo-*.safetensors; do
        name=${file#weights/demo-}
        name=${name%.safetensors}
        NETWORKS+="${name%%-*}=$file "
    done
fi
read -r -a networks <<<"$NETWORKS"

# The arguments that name a network in a role, one a line.
named() {
    printf -- '--%s\n%s\n' "$1" "${2%%=*}"
    case "$2" in *=*) printf -- '--weights\n%s\n' "${2#*=}" ;; esac
}

say "building"
cargo build --release --locked
entoptic=target/release/entoptic
classes=$(cd -- "$data/val" && printf '%s,' */)
classes=${classes//\/,/,}
classes=${classes%,}
judges=()
models=()
for network in "${networks[@]}"; do
    mapfile -t -O "${#judges[@]}" judges < <(named judge "$network")
    mapfile -t -O "${#models[@]}" models < <(named model "$network")
done

pictures=()
for network in "${networks[@]}"; do
    name=$(basename -- "${network#*=}" .safetensors)
    pictures+=("$out/$name")
    mapfile -t model < <(named model "$network")
    for class in ${classes//,/ }; do
        # A folder of a class is complete when its last picture is there.
        if [ -e "$out/$name/$class/done" ]; then continue; fi
        say "$name: $seeds pictures of $class"
        "$entoptic" generate "${model[@]}" --class "$class" --seeds "$seeds" --out "$out/$name/$class/" --quiet >/dev/null
        touch "$out/$name/$class/done"
    done
done

say "judging"
# At the size at which `demo` ends: the numbers of the cards were taken so.
"$entoptic" score "${pictures[@]}" "${judges[@]}" --size 136 --photographs "$data/val" --json >"$out/scores.json"
say "counting photographs that are got right"
"$entoptic" accuracy "${models[@]}" --data "$data" --json >"$out/accuracy.json"

jq -r --slurpfile accuracy "$out/accuracy.json" '
def r($digits): if . == null then "-" else (. * pow(10; $digits) | round) / pow(10; $digits) | tostring end;
def pc: if . == null then "-" else "\(. * 1000 | round / 10) %" end;
def name: .weights | sub(" \\(built in\\)$"; "") | sub("\\.safetensors$"; "");
def transfer: "\(.top_1 | pc) | \(.top_5 | pc) | \(.probability | r(3)) | \(.margin | r(2))";
def five: "\(.slope | r(2)) | \(.fine_ratio | r(2)) | \(.difference | r(2)) | \(.variation | r(4)) | \(.saturated | r(4)) | \(.chroma | r(3))";
"## Accuracy", "",
"| network | side | photographs | top-1 | top-5 |", "| --- | --- | --- | --- | --- |",
($accuracy[0].networks[] | "| \(name) | \(.side) | \(.photographs) | \(.top_1 | pc) | \(.top_5 | pc) |"), "",
"## Pictures by each network, judged by each", "",
"Statistics: distance of the set from the judge’s batch norms, photographs 0, noise 1.", "",
"| maker | judge | pictures | top-1 | top-5 | probability | margin | stability | worst | statistics |",
"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
(.makers[] | .maker as $maker |
  (.judges[] | "| \($maker) | \(name)\(if .held_out then "" else " (its own)" end) | \(.pictures) | \(transfer) | \(.stability | r(3)) | \(.worst | r(3)) | \(.calibrated | r(3)) |"),
  (if .held_out then "| \($maker) | **held out** | \(.count) | \(.held_out | transfer) | \(.stability | r(3)) | \(.worst | r(3)) | |" else empty end)),
(.baselines | to_entries[] | .key as $key | .value.judges[] | "| \($key) | \(name) | | \(transfer) | \(.stability | r(3)) | \(.worst | r(3)) | |"), "",
"## Pixels", "",
"| pictures | slope | fine ratio | spectrum difference | variation | saturated | chroma |", "| --- | --- | --- | --- | --- | --- | --- |",
(.makers[] | "| \(.maker) | \(.pixels | five) |"),
(.baselines | to_entries[] | "| \(.key) | \(.value.pixels | five) |"), "",
"## Held-out top-1 by class", "",
"| maker | " + ([.makers[0].classes[].class] | join(" | ")) + " |", "| --- |" + ([.makers[0].classes[] | " --- |"] | join("")),
(.makers[] | "| \(.maker) | " + ([.classes[] | (.held_out // {}).top_1 | pc] | join(" | ")) + " |"), "",
"## Lines for the cards", "",
(.makers[] | .maker as $maker | ($accuracy[0].networks[] | select(name == $maker)) as $right |
  "\($maker).md:", "",
  "| validation accuracy | \($right.top_1 | pc) top-1, \($right.top_5 | pc) top-5 (\($right.photographs) photographs, the middle at \($right.side) pixels) |",
  "| held-out transfer | top-1 \((.held_out // {}).top_1 | pc), top-5 \((.held_out // {}).top_5 | pc), probability \((.held_out // {}).probability | r(3)), margin \((.held_out // {}).margin | r(2)) over \(.count) pictures |",
  "| stability under 24 changes | mean \(.stability | r(3)), worst \(.worst | r(3)) |",
  "| spectrum | slope \(.pixels.slope | r(2)), fine share \(.pixels.fine_ratio | r(2)) times that of photographs, difference \(.pixels.difference | r(2)) |",
  "| pixels | variation \(.pixels.variation | r(4)), saturated \(.pixels.saturated | pc), chroma \(.pixels.chroma | r(3)) |",
  "| batch-norm statistics | " + ([.judges[] | select(.held_out) | "\(.calibrated | r(3)) with \(name)"] | join(", ")) + " (photographs 0, noise 1) |", "")
' "$out/scores.json" | tee "$out/cards.md"
