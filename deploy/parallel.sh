#!/usr/bin/env bash
# A gallery spread over the GPUs of one host by GNU parallel: one process for each adapter (its number in `entoptic adapters`).
#
#   deploy/parallel.sh 0,1,2,3 --model resnet50 --out gallery
#   entoptic gallery merge gallery --out gallery-whole
#
# Ctrl-C reaches all of them; each keeps its half-done batch, and the same command goes on. ENTOPTIC names the program where
# it is not on the PATH.
set -euo pipefail
[ $# -gt 1 ] || { echo "usage: $0 ADAPTER,ADAPTER,.. ARGUMENTS OF entoptic gallery" >&2; exit 2; }
IFS=, read -r -a adapters <<<"$1"
shift
# Jobs are told once and then left alone: a second signal would end them without keeping anything.
exec parallel --quote --jobs "${#adapters[@]}" --line-buffer --tag --termseq INT,600000 \
    "${ENTOPTIC:-entoptic}" gallery --adapter "{1}" --shard "{#}/${#adapters[@]}" "$@" ::: "${adapters[@]}"
