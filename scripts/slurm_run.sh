#!/usr/bin/env bash
# Runs deploy/slurm.sh under a real Slurm on this machine alone: starts munged, slurmctld and slurmd in a temporary folder,
# submits an array job for a small gallery, stops it, submits it again, merges, and compares with the gallery of one process.
# Needs Debian's slurm-wlm and munge, and root for slurmd. What it prints is docs/slurm.log.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

program=${ENTOPTIC:-$PWD/target/release/entoptic}
script=$PWD/deploy/slurm.sh
for needed in munged slurmctld slurmd sbatch "$program"; do
    PATH="$PATH:/usr/sbin" command -v "$needed" >/dev/null || { echo "error: there is no $needed" >&2; exit 1; }
done
PATH="$PATH:/usr/sbin"
folder=$(mktemp -d)
node=$(hostname -s)

stop() {
    local file
    for file in slurmd slurmctld munged; do
        if [ -s "$folder/$file.pid" ]; then kill "$(cat "$folder/$file.pid")" 2>/dev/null || true; fi
    done
    wait
    rm -rf -- "$folder"
}
trap stop EXIT

# What a reader types, and what it prints, without the names of this machine.
show() {
    { echo "\$ $*"; "$@" 2>&1; } | sed -e "s|$folder/||g; s|$program|entoptic|g; s|$script|deploy/slurm.sh|g; s|\b$node\b|node|g"
}

# Waits until a command succeeds: until WHAT COMMAND...
until_it() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { tail "$folder"/*.log >&2; echo "error: $what" >&2; exit 1; }
        sleep 0.1
    done
}

mkdir -m 755 "$folder/state" "$folder/spool" "$folder/run"
chmod 755 "$folder"
(umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
munged --force --foreground --socket="$folder/run/munge" --key-file="$folder/munge.key" --log-file="$folder/munged.log" \
    --pid-file="$folder/munged.pid" --seed-file="$folder/munge.seed" >>"$folder/munged.log" 2>&1 &
until_it "munged does not start" test -S "$folder/run/munge"

cat >"$folder/slurm.conf" <<CONFIGURATION
ClusterName=alone
SlurmctldHost=$node(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=1
MpiDefault=none
ReturnToService=2
MinJobAge=86400
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=all Nodes=$node Default=YES State=UP
CONFIGURATION
export SLURM_CONF=$folder/slurm.conf
slurmctld -D >>"$folder/slurmctld.log" 2>&1 &
until_it "slurmctld does not start" scontrol ping
slurmd -D >>"$folder/slurmd.log" 2>&1 &
idle() { sinfo --noheader --format=%t | grep -qx idle; }
until_it "slurmd does not start" idle

export ENTOPTIC=$program
cd -- "$folder"
# Jobs of the user that are not done.
busy() { [ -n "$(squeue --noheader)" ]; }
done_with() { ! busy; }
# How the tasks of the job that was submitted last ended.
ended() {
    scontrol --oneliner show job "$1" | tr ' ' '\n' | grep -E '^(ArrayTaskId|JobState|ExitCode)=' | paste -sd '  \n' | sort
}

arguments=(--model googlenet --recipe demo-quick --seed 1 --batch 1 --out gallery)
show sinfo --format='%P %D %c %t'
show sbatch --array=0-2 "$script" "${arguments[@]}"
first() { [ -s gallery/shard-1-of-3/manifest.jsonl ]; }
until_it "no picture was made" first
job=$(squeue --noheader --format=%F | head -n 1)
show scancel --batch --signal=TERM "$job"
until_it "the jobs do not end" done_with
ended "$job" | sed 's/^/  /'
for task in 0 1 2; do show cat "gallery-$task.log"; done

show sbatch --array=0-2 "$script" "${arguments[@]}"
until_it "the jobs do not end" done_with
ended "$((job + 3))" | sed 's/^/  /'
for task in 0 1 2; do show tail -n 4 "gallery-$task.log"; done

show "$program" gallery merge gallery --out whole
show "$program" --quiet gallery "${arguments[@]/gallery/alone}"
for file in alone/*.png; do cmp -- "$file" "whole/${file#alone/}"; done
pictures=(whole/*.png)
echo "${#pictures[@]} pictures, the same as by one process, byte by byte"
