# shellcheck shell=bash
# What pod.sh, slurm.sh and jobset.sh share: how they read their arguments, and what they run.

set -euo pipefail

# Prints the comment at the head of the script, which is its help, and exits.
help() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
}

# Ends with one line and 2, the exit code of a user's mistake.
mistake() {
    echo "error: $*" >&2
    exit 2
}

# Quotes arguments for a shell.
quoted() {
    printf '%q ' "$@" | sed 's/ $//'
}

# Sets TRAIN, the flags of launch.train, and WORKDIR from what follows the options:
# `-- launch.train FLAGS`.
read_command() {
    [ "${1:-}" = -- ] || mistake "after the options, -- and the command: -- launch.train --config=..."
    shift
    [ "${1:-}" = launch.train ] || mistake "'${1:-}': only launch.train runs on several hosts"
    shift
    local argument
    WORKDIR=
    for argument in "$@"; do
        case $argument in
            --workdir=*) WORKDIR=${argument#*=} ;;
            --distributed | --nodistributed) mistake "$argument: is given here" ;;
            # As two arguments absl would accept it, too; here it is read.
            --workdir) mistake "--workdir: write it as --workdir=FOLDER" ;;
        esac
    done
    [ -n "$WORKDIR" ] || mistake "--workdir: is missing; the hosts share it, so gs://BUCKET/RUN"
    # shellcheck disable=SC2034 # read by the script that sources this
    TRAIN=(--distributed "$@")
}
