#!/usr/bin/env bash
# Trains on every host of a TPU pod slice that exists, and goes on after a preemption.
#
#   launch/pod.sh NAME ZONE [OPTIONS] -- launch.train --config=configs/sft.py:8b \
#       --workdir=gs://BUCKET/sft --config.model=gs://BUCKET/base \
#       --config.conversations=gs://BUCKET/conversations.jsonl
#
# It copies this checkout to the hosts, installs it there and runs the command on all of them; what
# each host prints is in LOGS/host-N.log. It creates and deletes nothing. Where a host is lost it
# waits until the slice is READY again (a queued resource brings it back, or you do, under the same
# name), copies and installs anew and starts all hosts, and the run goes on from its last checkpoint.
# Ctrl-C stops all hosts, which save first. The same command continues a run, from any machine.
#
# What is in the checkout goes along, such as your charter; files beside it don't.
#
#   --dry_run         print the commands, and run none
#   --grace=SECONDS   that hosts have to save, or to notice that another is lost (default: 180)
#   --logs=DIR        default: runs/pod/NAME
#   --python=PATH     a Python on every host that has the packages; nothing is installed
#   --restarts=N      after that many lost hosts it gives up (default: 20)
#   --results=DIR     copy the workdir, without its checkpoints, from gs:// to DIR when the run ends
#   --wait=SECONDS    between looks at a slice that isn't ready (default: 30)
#
# The exit code is that of launch.train; 1 where it gave up.

# shellcheck source=launch/remote.sh
source "$(dirname "${BASH_SOURCE[0]}")/remote.sh"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON='' LOGS='' RESULTS='' DRY=false RESTARTS=20 WAIT=30 GRACE=180

[[ " $* " != *" --help "* ]] || help
[ $# -ge 2 ] || mistake "name the slice and its zone: launch/pod.sh NAME ZONE -- launch.train ..."
NAME=$1 ZONE=$2
shift 2
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        --dry_run) DRY=true ;;
        --grace=*) GRACE=${1#*=} ;;
        --logs=*) LOGS=${1#*=} ;;
        --python=*) PYTHON=${1#*=} ;;
        --restarts=*) RESTARTS=${1#*=} ;;
        --results=*) RESULTS=${1#*=} ;;
        --wait=*) WAIT=${1#*=} ;;
        *) mistake "unknown option $1; --help lists them" ;;
    esac
    shift
done
for number in "$RESTARTS" "$WAIT" "$GRACE"; do
    [[ $number =~ ^[0-9]+$ ]] || mistake "'$number' is no number; --restarts, --wait and --grace are"
done
read_command "$@"
if [ -n "$RESULTS" ] && [[ $WORKDIR != gs://* ]]; then
    mistake "--results: copies from gs://; the workdir is $WORKDIR"
fi
LOGS=${LOGS:-runs/pod/$NAME}
$DRY || command -v gcloud >/dev/null || mistake "gcloud: is not installed"

tell() { echo "pod.sh: $*" >&2; }

# Runs a command, or prints it.
act() {
    if $DRY; then
        quoted "$@"
        echo
    else
        "$@"
    fi
}

# Runs a shell's command on one host, or on all.
on_host() {
    act gcloud compute tpus tpu-vm ssh "$NAME" "--zone=$ZONE" "--worker=$1" --quiet \
        "--ssh-flag=-o ServerAliveInterval=30" "--command=$2"
}

state() {
    gcloud compute tpus tpu-vm describe "$NAME" "--zone=$ZONE" "--format=value(state)" 2>"$PACK/error" ||
        true
}

count_hosts() {
    gcloud compute tpus tpu-vm describe "$NAME" "--zone=$ZONE" \
        "--format=value(networkEndpoints[].ipAddress)" | tr ';' '\n' | grep -c .
}

wait_until_ready() {
    local found reported=''
    if $DRY; then
        act gcloud compute tpus tpu-vm describe "$NAME" "--zone=$ZONE" "--format=value(state)"
        echo "# that until it is READY"
        return
    fi
    while found=$(state) && [ "$found" != READY ]; do
        # A name that never was a slice is a mistake; one that was comes back.
        [ -n "$found" ] || [ "$starts" -gt 0 ] || mistake "$NAME in $ZONE: $(tail -1 "$PACK/error")"
        [ "$found" = "$reported" ] || tell "$NAME is ${found:-not there}; waiting until it is READY"
        reported=$found
        sleep "$WAIT"
    done
}

# Packs the checkout: what is trained with and nothing that was built.
pack() {
    act tar -czf "$PACK/vcjax.tar.gz" -C "$ROOT" --exclude='./.*' --exclude=./runs --exclude=./build \
        --exclude=./dist --exclude=./tests --exclude=./shared --exclude='*.egg-info' \
        --exclude=__pycache__ .
}

# On a host: unpacks the checkout and installs it, unless a host that was not lost has it already.
unpack_command() {
    cat <<END
set -e; rm -rf vcjax; mkdir vcjax; tar -xzf vcjax.tar.gz -C vcjax
END
    [ -z "$PYTHON" ] || return 0
    cat <<'END'
cd vcjax; pins=$(cat requirements/run.txt setup.cfg | cksum)
if [ "$(cat ../vcjax-env/pins 2>/dev/null)" != "$pins" ]; then
    # Images of TPU VMs have had Python 3.10; uv brings a newer one.
    if python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'; then
        python3 -m venv ../vcjax-env
    else
        python3 -m pip install --quiet --user uv
        python3 -m uv venv --quiet --clear --seed --python 3.12 ../vcjax-env
    fi
    ../vcjax-env/bin/python -m pip install --quiet -c requirements/run.txt -e '.[tpu,gcs]'
    echo "$pins" >../vcjax-env/pins
fi
END
}

# On a host: stops what an earlier start has left running; SIGTERM lets it save.
stop_command() {
    cat <<'END'
pid=$(cat vcjax.pid 2>/dev/null)
# After a boot the number may be another process's.
runs() { grep -qs launch.train "/proc/$pid/cmdline"; }
! runs || kill "$pid"
for _ in $(seq 180); do runs || exit 0; sleep 1; done
kill -9 "$pid"
END
}

# On a host: the command itself, known by its process id to whoever has to stop it.
train_command() {
    local python=${PYTHON:-../vcjax-env/bin/python}
    echo "cd vcjax; $(quoted "$python" -m launch.train "${TRAIN[@]}") & echo \$! >../vcjax.pid; wait \$!"
}

# Starts the command on every host and waits; sets CODES, the exit codes by host.
train_everywhere() {
    local host ended since='' pids=()
    CODES=()
    if $DRY; then
        on_host I "$(train_command)"
        echo "# that on every host I at once, its output in $LOGS/host-I.log"
        return
    fi
    for ((host = 0; host < hosts; host++)); do
        on_host "$host" "$(train_command)" </dev/null >>"$LOGS/host-$host.log" 2>&1 &
        pids+=($!)
    done
    while :; do
        ended=0
        for host in "${!pids[@]}"; do
            if [ -n "${CODES[host]:-}" ]; then
                ended=$((ended + 1))
            elif ! kill -0 "${pids[host]}" 2>/dev/null; then
                CODES[host]=0
                wait "${pids[host]}" || CODES[host]=$?
                ended=$((ended + 1))
                since=${since:-$SECONDS}
                tell "host $host ended with ${CODES[host]}"
            fi
        done
        [ "$ended" -lt "$hosts" ] || break
        if [ -n "$since" ] && [ $((SECONDS - since)) -ge "$GRACE" ]; then
            tell "stopping the hosts that go on without those that ended"
            stop_everywhere
            kill "${pids[@]}" 2>/dev/null || true # a connection to a lost host may hang
            since=$SECONDS
        fi
        sleep 1
    done
}

stop_everywhere() { on_host all "$(stop_command)" >/dev/null 2>&1 || true; }

copy_results() {
    [ -n "$RESULTS" ] || return 0
    $DRY || mkdir -p "$RESULTS"
    act gcloud storage rsync --recursive "--exclude=^checkpoints/" "$WORKDIR" "$RESULTS"
}

# shellcheck disable=SC2329 # the traps call it
stopped() {
    trap '' INT TERM PIPE # whoever reads the messages may be gone
    tell "stopping all hosts; the same command continues" || true
    stop_everywhere
    exit "$1"
}

PACK=/tmp
if ! $DRY; then
    PACK=$(mktemp -d)
    trap 'rm -rf "$PACK"' EXIT
    mkdir -p "$LOGS"
fi
trap 'stopped 130' INT
trap 'stopped 143' TERM
starts=0
while :; do
    wait_until_ready
    hosts=1
    $DRY || hosts=$(count_hosts) || {
        tell "the hosts of $NAME can't be counted now; trying again"
        sleep "$WAIT"
        continue
    }
    [[ $WORKDIR == gs://* ]] || tell "--workdir=$WORKDIR must be on a file system of all hosts"
    pack
    code=0
    {
        act gcloud compute tpus tpu-vm scp "$PACK/vcjax.tar.gz" "$NAME:vcjax.tar.gz" "--zone=$ZONE" \
            --worker=all --quiet &&
            on_host all "$(stop_command)" &&
            on_host all "$(unpack_command)"
    } || code=$?
    if [ "$code" = 0 ]; then
        $DRY || tell "start $((starts + 1)) on $hosts host(s); logs in $LOGS"
        train_everywhere
        code=0
        for each in ${CODES[@]+"${CODES[@]}"}; do
            # A host that was lost, or a process that a signal ended, decides: others fail for it.
            if [ "$each" -ge 128 ]; then code=255; elif [ "$code" -lt "$each" ]; then code=$each; fi
        done
        [ "$code" = 255 ] || break
    elif [ "$starts" = 0 ]; then
        tell "copying or installing failed"
        exit 1
    fi
    starts=$((starts + 1))
    if [ "$starts" -gt "$RESTARTS" ]; then
        tell "gave up after $RESTARTS restarts; the same command continues"
        code=1
        break
    fi
    sleep "$WAIT" # a host that is being lost may be READY for a moment more
done
copy_results
exit "$code"
