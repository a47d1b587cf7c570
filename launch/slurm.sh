#!/usr/bin/env bash
# Submits a training run to Slurm, on several nodes with NVIDIA GPUs.
#
#   launch/slurm.sh --nodes=2 --gpus=8 [OPTIONS] -- launch.train --config=configs/sft.py:8b \
#       --workdir=/shared/sft --config.model=/shared/base \
#       --config.conversations=/shared/conversations.jsonl
#
# All nodes mount this checkout, its environment and the workdir (or that is in a bucket). A relative
# --workdir is in the current folder; what the config names is found from the checkout. There is one
# process for each GPU, as JAX wants it on Slurm. Five minutes before its time limit the job is asked
# to save; then, or if it was preempted or lost a node, it is queued again and goes on from its last
# checkpoint. What each process prints is in LOGS/JOB-PROCESS.log.
#
#   --dry_run         print the job script, and submit nothing
#   --gpus=N          GPUs of a node (default: 8)
#   --logs=DIR        default: runs/slurm
#   --nodes=N         default: 1
#   --python=PATH     default: .venv/bin/python of this checkout
#   --restarts=N      after that many it isn't queued again (default: 20)
#   --NAME=VALUE      any other option is sbatch's: --partition, --account, --time, ...

# shellcheck source=launch/remote.sh
source "$(dirname "${BASH_SOURCE[0]}")/remote.sh"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=$ROOT/.venv/bin/python LOGS=runs/slurm DRY=false NODES=1 GPUS=8 RESTARTS=20 MORE=()

[[ " $* " != *" --help "* ]] || help
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        --dry_run) DRY=true ;;
        --gpus=*) GPUS=${1#*=} ;;
        --logs=*) LOGS=${1#*=} ;;
        --nodes=*) NODES=${1#*=} ;;
        --python=*) PYTHON=${1#*=} ;;
        --restarts=*) RESTARTS=${1#*=} ;;
        --*=*) MORE+=("$1") ;;
        *) mistake "unknown option $1; options of sbatch are written as --NAME=VALUE" ;;
    esac
    shift
done
for number in "$NODES" "$GPUS" "$RESTARTS"; do
    [[ $number =~ ^[0-9]+$ ]] || mistake "'$number' is no number; --nodes, --gpus, --restarts are"
done
read_command "$@"
# The job starts in the checkout.
[[ $LOGS = /* ]] || LOGS=$PWD/$LOGS
[[ $PYTHON = /* ]] || PYTHON=$PWD/$PYTHON
for index in "${!TRAIN[@]}"; do
    case ${TRAIN[index]} in
        --workdir=/* | --workdir=*://*) ;;
        --workdir=*) TRAIN[index]=--workdir=$PWD/${TRAIN[index]#*=} ;;
    esac
done

job_script() {
    cat <<END
#!/usr/bin/env bash
cd $(quoted "$ROOT")
code=0
# The others may still be saving when the first process ends, so they are given time.
srun --wait=300 --open-mode=append --output=$(quoted "$LOGS")/%j-%t.log \\
    $(quoted "$PYTHON" -m launch.train "${TRAIN[@]}") || code=\$?
# A signal ended it: a time limit, a preemption, a lost node.
if [ "\$code" -ge 128 ] && [ "\${SLURM_RESTART_COUNT:-0}" -lt $RESTARTS ]; then
    scontrol requeue "\$SLURM_JOB_ID"
fi
exit "\$code"
END
}

submit=(sbatch --job-name=vcjax "--nodes=$NODES" "--gpus-per-node=$GPUS" "--ntasks-per-node=$GPUS"
    --requeue --signal=TERM@300 --open-mode=append "--output=$LOGS/%j.log" ${MORE[@]+"${MORE[@]}"})
if $DRY; then
    echo "$(quoted "${submit[@]}") <<'END'"
    job_script
    echo END
    exit
fi
command -v sbatch >/dev/null || mistake "sbatch: is not installed"
[ -x "$PYTHON" ] || mistake "--python: $PYTHON is no program"
mkdir -p "$LOGS"
job_script | "${submit[@]}"
