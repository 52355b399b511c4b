#!/usr/bin/env bash
# A gallery spread over the tasks of a Slurm array: each makes its share of the classes, in a folder of its own.
#
#   sbatch --array=0-7 deploy/slurm.sh --model resnet50 --out gallery      # and --gres=gpu:1, --partition=.. as your cluster has it
#   entoptic gallery merge gallery --out gallery-whole                     # when all tasks have ended
#
# The program reads SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT. Two minutes before the time limit Slurm tells it to stop; it
# keeps the half-done batch, and the same sbatch goes on. ENTOPTIC names the program where it is not on the PATH.
#SBATCH --job-name=gallery
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=gallery-%a.log
set -euo pipefail
# In place of this shell, so that the signal reaches it.
exec "${ENTOPTIC:-entoptic}" gallery "$@"
