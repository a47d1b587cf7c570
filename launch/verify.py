"""Verifies the hashes of a folder and of everything it was made from; exit code 3 on a mismatch.

python -m launch.verify --folder=runs/demo     (or the folder as the only argument)
"""

import sys

from absl import flags

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.lineage import verify
from vcjax.core.script import run
from vcjax.core.stores import is_there, reached

FOLDER = flags.DEFINE_string("folder", None, "A folder that a vcjax script wrote.", required=True)


def main() -> None:
    folder, bad = reached(FOLDER.value), 0
    if not is_there(folder):
        raise UserError(f"--folder: {FOLDER.value}: no such folder")
    for finding in verify(folder):
        bad += finding.status != "ok"
        print(f"{finding.status:8} {finding.subject}  {finding.detail}".rstrip())
    if bad:
        raise GateNotMet(f"{FOLDER.value}: {bad} of the chain's folders and files don't match")


if __name__ == "__main__":
    # `launch.verify DIR`: the folder may be given without its flag.
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--folder={sys.argv[1]}"
    run(main)
