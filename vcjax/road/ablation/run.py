"""Arms that are trained in different ways and asked the same queries: which learn the rules?

    queries -> for each seed and arm:  attack1 | data1 -> train1 -> ... -> measured -> documents

Each stage is a run in a folder of its own, so an ablation continues wherever it was stopped.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from vcjax.adversarial.calls import ACTOR, ATTACKER
from vcjax.adversarial.inputs import read_inputs
from vcjax.charter.load import charter_parents, load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json, write_text
from vcjax.core.lineage import Parent, stage_lineages, stage_parents
from vcjax.core.run import CONFIG, SUMMARY, Run, Stage, explained
from vcjax.core.stores import on_disk
from vcjax.data.records import Record
from vcjax.report.ablation.report import write_ablation_report
from vcjax.report.ablation.tables import ablation_markdown
from vcjax.road.ablation.arms import QUERIES, ArmRun, fill_roles
from vcjax.road.ablation.config import (
    ANSWERS,
    ATTACKS,
    CONVERSATIONS,
    QUESTIONS,
    AblationConfig,
)
from vcjax.road.ablation.data import ordinary_conversations
from vcjax.road.ablation.documents import check_base_not_trained_on, overlapping, read_documents
from vcjax.road.ablation.queries import query_groups, read_query_cells, write_queries
from vcjax.road.ablation.results import charter_rules, read_results
from vcjax.road.ablation.summary import samples, summarise
from vcjax.road.commits import at_commits, critics_of, with_critics
from vcjax.roles.references import RoleSpec, family_of
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

_ABOUT = {
    "queries": "has the held-out queries written that every arm is asked",
    "questions": "has plain questions answered and the answers judged",
    "attack": "attacks the arm's model and has its answers judged",
    "data": "writes the data that stand in for the attacks'",
    "train": "trains the arm",
    "measured": "asks the held-out queries, attacked and plain",
    "documents": "scores documents that nothing was trained on",
}
"""What each kind of stage does, for a person who waits."""


def ablate(config: AblationConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs every arm; writes `summary.json`, `table.md`, `report.html` and lineage.

    A finished ablation is extended by more `seeds` or more arms, and gets its report anew in
    another `report_language`.

    Returns:
      The summary.

    Raises:
      UserError: an input that can't be used; all are checked before the first stage starts.
      GateNotMet: an arm's attacks gave no pair to train on, or there is no query to measure with.
    """
    run = Run(
        "ablate",
        on_disk(workdir),
        asdict(config),
        seed=config.seed,
        extendable=["seeds"],
        free=["arms", "report_language"],  # the stages of an arm record what is its own
    )
    _check_version(run.workdir)
    if (summary := run.finished()) is not None:
        return summary
    charter, family = _check_inputs(config)
    config, models = _at_commits(config, run.workdir)
    with run.opened() as folder:
        write_sources(folder, models)
        filled = fill_roles(config, config.synthesis, family, config.model)
        attacker = RoleSpec(filled.attacker, filled.attacker_family)
        stages = [Stage(QUERIES, lambda: write_queries(config, attacker, folder / QUERIES))]
        arms: dict[str, list[ArmRun]] = {arm.name: [] for arm in config.arms}
        for number in range(config.seeds):
            for arm in config.arms:
                if arm.trains or not number:  # what trains on nothing has one run
                    arm_run = ArmRun(config, folder, family, arm, number)
                    arms[arm.name].append(arm_run)
                    stages += arm_run.stages()
        run.do(explained(stages, _ABOUT))

        cells = read_query_cells(folder / QUERIES)
        pairs = (
            each.pairs(n)
            for own in arms.values()
            for each in own
            for n in range(1, each.rounds + 1)
        )
        # For all arms what any of them has seen: the arms are compared on the same documents.
        left_out = overlapping(config, pairs)
        results = {name: read_results(own, cells, charter, left_out) for name, own in arms.items()}
        summary = summarise(
            config,
            charter,
            family=family,
            arms=arms,
            results=results,
            cells=cells,
            left_out=left_out,
            seconds=run.seconds,
        )
        names = [each.name for each in stages]
        write_json(folder / SUMMARY, summary)
        write_text(folder / "table.md", ablation_markdown(summary))
        write_ablation_report(
            folder / "report.html",
            summary=summary,
            samples=samples(config, results, folder / QUERIES),
            lineage=stage_lineages(folder, names),
            language=cast(Language, config.report_language),
        )
        run.finish([*stage_parents(folder, names), *charter_parents(config.charter)])
    return summary


def _check_inputs(config: AblationConfig) -> tuple[Charter, str]:
    """Reads every input but the models once, so that a mistake shows before the first stage starts.

    Returns the charter and the base model's family.
    """
    charter = load_charter(config.charter)
    check_base_not_trained_on(config.model, config.documents)
    if config.language not in charter.languages:
        raise UserError(f"config.language: charter {charter.name!r} has no {config.language!r}")
    if not charter_rules(charter, measured=False):
        raise UserError(
            f"charter {charter.name!r}: no principle has a check to decide an answer by"
        )
    query_groups(config)
    _read_all(read_documents(config))
    family = family_of(RoleSpec(config.model, config.family), "family")
    for arm in config.arms:
        if arm.data == CONVERSATIONS:
            _read_all(ordinary_conversations(config, arm))
        if arm.data in (ATTACKS, QUESTIONS, ANSWERS):
            read_inputs(fill_roles(config, arm.synthesis, family, config.model))
    return charter, family


def _check_version(workdir: Path) -> None:
    """Raises UserError for an ablation of a version that asked no clean questions."""
    path = workdir / CONFIG
    if path.is_file() and "clean_queries" not in read_json(path):
        raise UserError(
            f"{workdir}: belongs to an ablation of an earlier version, which asked no clean "
            "questions and drew its data otherwise; choose another workdir"
        )


def _read_all(records: Iterable[Record]) -> None:
    """Reads all records and keeps none; a bad one raises its error."""
    for _ in records:
        pass


def _at_commits(config: AblationConfig, workdir: Path) -> tuple[AblationConfig, list[Parent]]:
    """The config with the models that all arms are made with; see `at_commits`."""
    models = {name: getattr(config, name) for name in ("model", ATTACKER, ACTOR)}
    critics = {arm.name: critics_of(arm.synthesis, f"{arm.name}.") for arm in config.arms}
    for own in critics.values():
        models |= own
    found, parents = at_commits(models, workdir, begins=not (workdir / QUERIES).is_dir())
    arms = []
    for arm in config.arms:
        judges = [found[role] for role in critics[arm.name]]
        arms.append(replace(arm, synthesis=with_critics(arm.synthesis, judges)))
    names = ("model", ATTACKER, ACTOR)
    return replace(config, arms=tuple(arms), **{name: found[name] for name in names}), parents
