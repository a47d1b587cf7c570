"""A TPU slice, a Slurm cluster and kubectl on this machine, for the scripts that drive them.

What stands in for `gcloud`, `sbatch`, `srun`, `scontrol` and `kubectl` are programs on PATH. A host
is a folder, in which the commands that the scripts send really run.
"""

import os
import subprocess
from pathlib import Path

from tests.processes import ROOT

_GCLOUD = r"""#!/usr/bin/env bash
set -euo pipefail
printf '%q ' gcloud "$@" >>"$SLICE/calls"; echo >>"$SLICE/calls"
hosts() { seq 0 $(($(cat "$SLICE/count") - 1)); }
alive() { [ "$(cat "$SLICE/state")" = READY ]; }
for argument; do
    case $argument in
        --worker=*) worker=${argument#*=} ;;
        --command=*) command=${argument#*=} ;;
    esac
done
case $* in
    *' describe '*'value(state)'*)
        [ -s "$SLICE/state" ] || { echo 'ERROR: NOT_FOUND' >&2; exit 1; }
        cat "$SLICE/state" ;;
    *' describe '*networkEndpoints*)
        # A request that fails by itself, once, where a test asks for it.
        if [ -e "$SLICE/hiccup" ]; then rm "$SLICE/hiccup"; exit 1; fi
        for host in $(hosts); do printf '%s10.0.0.%s' "${host/#[1-9]*/;}" "$host"; done; echo ;;
    *' scp '*)
        alive || exit 255
        for host in $(hosts); do mkdir -p "$SLICE/$host"; cp "$5" "$SLICE/$host/${6#*:}"; done ;;
    *' ssh '*)
        [ "$worker" = all ] && chosen=$(hosts) || chosen=$worker
        for host in $chosen; do
            alive || exit 255
            cd "$SLICE/$host"
            JAX_PROCESS_ID=$host JAX_NUM_PROCESSES=$(cat "$SLICE/count") bash -c "$command"
        done ;;
    'storage rsync '*) cp -r "$STORE/${5#gs://}/." "$6"; rm -rf "$6/checkpoints" ;;
    *) exit 64 ;;
esac
"""


class Slice:
    """A slice of hosts, each a folder `N` in `folder`, and a `gcloud` that knows no other.

    `environment` has it on PATH, and what is given in `more`.
    """

    def __init__(self, folder: Path, hosts: int, **more: str) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "store").mkdir()
        (folder / "count").write_text(str(hosts))
        self.become("READY")
        program(folder / "bin" / "gcloud", _GCLOUD)
        self.environment = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "SLICE": str(folder),
            "STORE": str(folder / "store"),
            **more,
        }

    def become(self, state: str) -> None:
        """Puts it into a state that Cloud TPU has: READY, PREEMPTED; `` is no slice."""
        new = self.folder / "state.new"
        new.write_text(state)
        new.replace(self.folder / "state")

    @property
    def calls(self) -> list[str]:
        """The commands that `gcloud` was given, quoted."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def pod(self, *arguments: str, **streams: int) -> subprocess.Popen:
        """Starts `launch/pod.sh` for it, with logs by host in the folder `logs`."""
        command = [str(ROOT / "launch" / "pod.sh"), "slice", "zone"]
        command += [f"--logs={self.folder / 'logs'}", "--wait=1", *arguments]
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | streams
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **given)

    def log(self, host: int) -> str:
        """What a host has printed."""
        return (self.folder / "logs" / f"host-{host}.log").read_text()


def program(path: Path, text: str) -> Path:
    """Writes a script that can be run."""
    path.write_text(text)
    path.chmod(0o755)
    return path
