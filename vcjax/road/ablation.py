"""Arms that are trained in different ways, and attacked with the same queries: what made it work?

Each arm is a chain of runs in folders of their own, which continue or are skipped when they are
started again; so an ablation continues wherever it was stopped.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vcjax.adversarial.inputs import read_inputs
from vcjax.charter.load import charter_file, load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json, write_text
from vcjax.core.lineage import NAME, Parent, read_lineage, write_lineage
from vcjax.core.run import check_config, opened
from vcjax.core.stores import on_disk
from vcjax.data.records import Record
from vcjax.report.ablation import ablation_markdown, write_ablation_report
from vcjax.road.ablation_arms import QUERIES, Chain, Stage, roles
from vcjax.road.ablation_config import ATTACKS, CONVERSATIONS, AblationConfig, Arm
from vcjax.road.ablation_data import ordinary
from vcjax.road.ablation_documents import read_documents
from vcjax.road.ablation_outcome import read_outcome, rules
from vcjax.road.ablation_queries import groups, read_places, write_queries
from vcjax.road.ablation_summary import samples, summarise
from vcjax.roles.references import RoleSpec, family_of
from vcjax.weights.bundle import load_bundle

EXTENDABLE = ("seeds",)
SECONDS = "seconds.json"


def ablate(config: AblationConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs every arm and returns the summary; writes it, `table.md`, `report.html` and lineage.

    A finished ablation is extended by more `seeds` or more arms.

    Raises:
      UserError: an input that doesn't hold; all are checked before the first stage starts.
      GateNotMet: an arm's attacks gave no pair to train on, or there is no query to measure with.
    """
    workdir, settings = on_disk(workdir), json.loads(json.dumps(asdict(config)))
    shared = {name: value for name, value in settings.items() if name != "arms"}
    check_config(workdir, shared, EXTENDABLE)  # of the arms each folder has its own
    if (workdir / NAME).is_file() and read_lineage(workdir)["config"] == settings:
        print(f"{workdir}: already finished")
        return read_json(workdir / "summary.json")
    charter, family = _check(config, workdir)
    with opened(workdir, shared, EXTENDABLE):
        (workdir / NAME).unlink(missing_ok=True)  # one that is being extended isn't finished
        queries = workdir / QUERIES
        chains = {arm.name: _chains(config, workdir, family, arm) for arm in config.arms}
        filled = roles(config, config.synthesis, family, config.model)
        attacker = RoleSpec(filled.attacker, filled.attacker_family)
        stages = [Stage(QUERIES, queries, lambda: write_queries(config, attacker, queries))]
        for run in range(config.seeds):
            for own in chains.values():
                stages += own[run].stages() if run < len(own) else []
        seconds = _run(stages, workdir / SECONDS)

        places = read_places(queries)
        outcomes = {name: read_outcome(own, places, charter) for name, own in chains.items()}
        found = (config, charter, family, chains, outcomes, places, seconds)
        summary = summarise(*found)
        write_json(workdir / "summary.json", summary)
        write_text(workdir / "table.md", ablation_markdown(summary))
        write_ablation_report(
            workdir / "report.html",
            summary=summary,
            samples=samples(config, outcomes, queries),
            lineage=[{**read_lineage(stage.folder), "folder": stage.name} for stage in stages],
        )
        parents = [Parent.of(stage.name, stage.folder) for stage in stages]
        parents.append(Parent.of("charter", charter_file(config.charter), config.charter))
        write_lineage(workdir, kind="ablate", parents=parents, config=settings, seed=config.seed)
    return summary


def _check(config: AblationConfig, workdir: Path) -> tuple[Charter, str]:
    """Reads every input once, so that a mistake shows before the first stage starts.

    Returns the charter and the base model's family.
    """
    charter = load_charter(config.charter)
    if config.language not in charter.languages:
        raise UserError(f"config.language: charter {charter.name!r} has no {config.language!r}")
    if not rules(charter, measured=False):
        raise UserError(
            f"charter {charter.name!r}: no principle has a check to decide an answer by"
        )
    groups(config)
    _read(read_documents(config))
    family = family_of(RoleSpec(config.model, config.family), "family")
    for arm in config.arms:
        if arm.data == CONVERSATIONS:
            _read(ordinary(config, arm))
        if arm.data == ATTACKS:
            read_inputs(roles(config, arm.synthesis, family, config.model))
    if not (workdir / QUERIES / NAME).is_file():
        load_bundle(config.model).require_tokenizer()
    return charter, family


def _read(records: Iterable[Record]) -> None:
    """Reads all of them and keeps none: a bad one ends it."""
    for _ in records:
        pass


def _chains(config: AblationConfig, workdir: Path, family: str, arm: Arm) -> list[Chain]:
    """An arm's runs; what trains on nothing has one."""
    runs = config.seeds if arm.trains else 1
    return [Chain(config, workdir, family, arm, run) for run in range(runs)]


def _run(stages: Sequence[Stage], clock: Path) -> dict[str, float]:
    """Runs the stages and says which one; returns the seconds of each over all starts.

    Args:
      clock: the file that has the seconds of earlier starts.
    """
    seconds: dict[str, float] = read_json(clock) if clock.is_file() else {}
    for number, stage in enumerate(stages, start=1):
        print(f"[{number}/{len(stages)}] {stage.name}", flush=True)
        start = time.monotonic()
        stage.run()
        seconds[stage.name] = seconds.get(stage.name, 0.0) + time.monotonic() - start
        write_json(clock, seconds)
    return seconds
