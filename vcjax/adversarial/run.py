"""One synthesis run: check everything, then open the workdir, run, and write what it leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.attacks.style import attempts_in_a_row
from vcjax.adversarial.calls import (
    ACTOR,
    ATTACKER,
    CRITIC,
    TARGET,
    Call,
    CallBuilder,
    Caller,
)
from vcjax.adversarial.cells import Cell, CellGroup
from vcjax.adversarial.config import SynthesisConfig, split_names
from vcjax.adversarial.critic.canaries import canary_report
from vcjax.adversarial.critic.rules import choose_filters
from vcjax.adversarial.critic.trust import measure_agreement, reliability
from vcjax.adversarial.inputs import Inputs, read_inputs
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.spending import spent_cost
from vcjax.adversarial.outputs import dataset_card, write_records
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.plan import Limits, quota_report
from vcjax.adversarial.summary import RunSummary
from vcjax.adversarial.topics import Topics, topic_count, write_topics
from vcjax.charter.load import SHIPPED, charter_parents
from vcjax.core.files import write_json, write_jsonl, write_text
from vcjax.core.lineage import Parent
from vcjax.core.run import SUMMARY, Run
from vcjax.core.stores import on_disk
from vcjax.data.files import data_parents
from vcjax.evaluation.benchmark import benchmark_path
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.occupancy import Occupancy
from vcjax.roles.references import models_of, open_roles, without_options
from vcjax.roles.role import Role
from vcjax.weights.workdir import write_sources

ROLES = (ATTACKER, ACTOR, CRITIC, TARGET)
EXTENDABLE = ("attempts", "per_cell", "cell_attempts", "force_export")


def synthesize(
    config: SynthesisConfig,
    workdir: str | Path,
    *,
    shares: Mapping[Cell, int] | None = None,
    excluded: Sequence[str] = (),
    on_ask: Callable[[Call], None] = lambda call: None,
    executor: str = "local",
) -> dict[str, Any]:
    """Runs Attacker -> Actor -> Critic and returns the summary.

    The summary's `quota` is whether every quota was met, and `exported` whether the pairs were
    written; `vcjax.adversarial.summary.shortfall` makes a line for the user of both.

    Args:
      shares: attempts of each cell, where they aren't to be spread evenly.
      excluded: texts that no query may repeat, beside the benchmark's.
      on_ask: called with each call before it is made.
      executor: where models run, see `open_roles`; what comes of it is the same.

    Raises:
      UserError: a bad charter, benchmark, question file, attack, model or workdir, or a Critic
        of the Actor's family that wasn't allowed; all before anything is written.
    """
    workdir, inputs, settings = on_disk(workdir), read_inputs(config), asdict(config)
    # An endpoint's budget, timeout and the like may change when a run is continued.
    settings |= {name: without_options(settings[name]) for name in ROLES}
    run = Run(
        "synthesize",
        workdir,
        settings,
        seed=config.seed,
        extendable=EXTENDABLE,
        renewing=[*ROLES, *(["charter"] if config.charter not in SHIPPED else [])],
    )
    if (summary := run.finished(count="attempts")) is not None:
        return summary
    roles, parents = open_roles(inputs.specs, config, workdir, executor)
    parents += _files(config)
    with run.opened() as folder:
        write_sources(folder, models_of(roles))
        if inputs.quarantined:
            write_jsonl(folder / "quarantined.jsonl", inputs.quarantined)
        with Ledger.of_run(
            folder / "ledger.sqlite",
            roles=roles.values(),
            charter=inputs.suite.charter.content_hash,
        ) as ledger:
            inputs = replace(inputs, excluded=(*inputs.excluded, *excluded))
            summary = _run(config, inputs, roles, ledger, folder, shares=shares, on_ask=on_ask)
        summary["parents"] = [
            {"role": each.role, "reference": each.reference, "hash": each.hash} for each in parents
        ]
        write_text(folder / "README.md", dataset_card(summary))
        write_json(folder / SUMMARY, summary)
        run.finish(parents)
    return summary


def _run(
    config: SynthesisConfig,
    inputs: Inputs,
    roles: dict[str, Role],
    ledger: Ledger,
    folder: Path,
    *,
    shares: Mapping[Cell, int] | None,
    on_ask: Callable[[Call], None],
) -> dict[str, Any]:
    """Makes the attempts that the ledger lacks, writes the records, and returns the summary."""
    suite = inputs.suite
    limits = Limits(
        attempts=inputs.shard.share(config.attempts),
        per_cell=config.per_cell,
        cell_attempts=config.cell_attempts,
        wave=config.wave,
    )
    agreement, canaries, occupancy = None, None, Occupancy()
    topics = inputs.topics or _written_topics(config, inputs, roles, ledger, folder)
    with Pipeline(
        config,
        suite,
        CellGroup(inputs.cells),
        limits,
        roles=roles,
        ledger=ledger,
        questions=inputs.questions,
        excluded=inputs.excluded,
        shares=shares,
        topics=topics,
        on_ask=on_ask,
        occupancy=occupancy,
    ) as pipeline:
        # Before the attempts: a Critic that can't be asked fails here, and not after they are paid
        # for.
        if inputs.labelled:
            agreement = measure_agreement(
                inputs.labelled,
                pipeline.panel,
                pipeline.poll,
                config.critic,
                charter=suite.charter,
                filters=choose_filters(split_names(config.filters)),
                minimum=config.min_kappa,
                seed=config.seed,
            )
            if agreement["trusted"]:
                pipeline.trust_critic()
        pipeline.run()
        if config.canaries and pipeline.panel:
            canaries = canary_report(
                pipeline.decided(),
                pipeline.panel,
                pipeline.poll,
                size=config.canaries,
                seed=config.seed,
            )
    # Counted from the ledger, not from this process: earlier starts made some of the attempts.
    counts = RunSummary(attempts_in_a_row(suite.attacks))
    for attempt in pipeline.decided():
        counts.add(attempt)
    calibration = agreement and reliability(agreement, config.min_kappa, counts.judged)
    exported = calibration is None or calibration["gate"]["met"] or config.force_export
    return {
        **_settings(config, inputs),
        "accept_score": pipeline.panel.thresholds.score if pipeline.panel else 0,
        "exported": exported,
        "quota": quota_report(pipeline.planner, pipeline.progress.tallies),
        "topics": topics.summary(inputs.cells),
        "calibration": calibration,
        "canaries": canaries,
        "filters": {
            "asked": split_names(config.filters),
            "critic_decides": bool(agreement and agreement["trusted"]),
            "answers": counts.filtered(),
        },
        **counts.summary(),
        "records": write_records(folder, pipeline.decided(), export=exported),
        "tokens": ledger.tokens(),
        "usage": _priced(ledger, roles),
        # Of this start of the run, which is the one that can be known here.
        "occupancy": occupancy.summary(),
    }


def _written_topics(
    config: SynthesisConfig,
    inputs: Inputs,
    roles: Mapping[str, Role],
    ledger: Ledger,
    folder: Path,
) -> Topics:
    """The topics that the Attacker writes, which are left as a file for other runs, too."""
    count = topic_count(config.topics)
    assert count is not None
    calls, caller = CallBuilder(config), Caller({ATTACKER: roles[ATTACKER]}, ledger)
    topics = write_topics(count, inputs.suite, inputs.cells, calls, caller)
    write_jsonl(folder / "topics.jsonl", topics.records())
    return topics


def _priced(ledger: Ledger, roles: Mapping[str, Role]) -> list[dict[str, Any]]:
    """What was spent, with a cost of null where the price isn't known."""
    specs = {role.model: role.spec for role in roles.values() if isinstance(role, EndpointRole)}
    priced = []
    for row in ledger.usage():
        spec = specs.get(row["model"])
        cost = None if spec is None else spent_cost(spec, row)
        own = {name: value for name, value in row.items() if not name.startswith("unpriced_")}
        priced.append(own | {"cost": cost})
    return priced


def _settings(config: SynthesisConfig, inputs: Inputs) -> dict[str, Any]:
    """The part of the summary that is known before the run."""
    charter = inputs.suite.charter
    return {
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
        },
        "same_family": inputs.same_family,
        **{name: without_options(getattr(config, name)) for name in ROLES},
        "families": inputs.families,
        "seed": config.seed,
    }


def _files(config: SynthesisConfig) -> list[Parent]:
    """The files that a run is made from, as parents in its lineage."""
    files = charter_parents(config.charter)
    if config.benchmark:
        files.append(Parent.of("benchmark", benchmark_path(config.benchmark), config.benchmark))
    files += data_parents("questions", config.questions) if config.questions else []
    if topic_count(config.topics) is None:
        files += [Parent.of("topics", path) for path in split_names(config.topics)]
    files += [Parent.of("calibration", path) for path in split_names(config.calibration)]
    return files
