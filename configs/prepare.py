"""From raw files to a prepared dataset.

    python -m launch.prepare --config=configs/prepare.py --workdir=runs/corpus \\
        --config.documents='texts/*.jsonl.gz,books,more.parquet'

A CPU core does about 1.1 MB/s (docs/results/speed.md); an accelerator is of no use. Expected: a
folder that

    python -m launch.train --config=configs/cpt.py --config.documents=runs/corpus --workdir=runs/cpt

reads, with a card, a plot of what each step left, and `summary.json`. Killed at any moment, the
same command continues; the dataset is the same, to the byte, with any number of `workers`.

Each line of a `.txt` file is a document, as in the usual dumps; but where blank lines stand between
its lines, the whole file is one. `sample_by=line`, `paragraph` or `document` says which of all
files. Of the other forms each record is a document.

On a cluster that shares its disks, `--config.executor=slurm --config.slurm.partition=NAME` (with
`--config.slurm.dry_run=True` the script is only printed) or `--config.executor=ray`. The command
waits for the tasks; the dataset is the same again.

Variants `conversations` (of the demonstration, until you name yours) and `preferences`.

Steps are done in the order of `steps`; leave out what you don't want. Each has its settings under
`settings`, as in `--config.settings.quality.en.least_units=20`; what they mean is in the step's
module in `vcjax/data/corpus/`. `simplify`, from traditional to simplified Chinese, is off; so are
`selection` of the charter's domains, with `quotas` after it.
"""

from dataclasses import asdict

from ml_collections import ConfigDict

from vcjax.core.defaults import demo_data
from vcjax.core.errors import UserError, suggest
from vcjax.data.corpus.config import KINDS, STEPS, SlurmSettings, default_settings

# Masks come first, so that samples of what is removed have no personal data in them.
_TEXT = "normalise,personal,language,lines,quality,sensitive,held_out,contamination,duplicates"
_TURNS = "normalise,personal,sensitive,held_out,contamination,duplicates"


def get_config(kind: str = "documents") -> ConfigDict:
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise UserError(f"config variant {kind!r} is none of {known}{suggest(kind, KINDS)}")
    config = ConfigDict()
    for each in KINDS:
        shipped = each == kind and each != "preferences"
        config[each] = demo_data(f"{each}.jsonl") if shipped else ""
    config.model = "smollm2-135m-instruct"
    config.length = 256
    config.charter = "universal"
    config.steps = _TEXT if kind == "documents" else _TURNS
    config.settings = ConfigDict(default_settings(list(STEPS)))
    config.validation = 0.01
    config.samples = 3
    config.longest = 4_000_000
    config.sample_by = "auto"
    config.on_bad_record = "quarantine"
    config.columns = ""
    config.tool_turns = "leave_out"
    config.require_domain = False
    config.shard_mb = 64
    config.workers = 0
    config.memory_mb = 2000
    config.executor = "local"
    config.slurm = ConfigDict(asdict(SlurmSettings()))
    return config
