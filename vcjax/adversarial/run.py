"""One synthesis run: check everything, then open the workdir, run, and write what it leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.card import card
from vcjax.adversarial.cells import Cell
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.funnel import Funnel
from vcjax.adversarial.inputs import Inputs, read_inputs
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.outcome import ACTOR, ATTACKER, CRITIC, TARGET
from vcjax.adversarial.outputs import write_records
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.plan import Limits, Planner
from vcjax.adversarial.quotas import quota_report
from vcjax.adversarial.reliability import canary_report, measure_agreement, reliability
from vcjax.adversarial.scope import split
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.adversarial.spending import charge_earlier
from vcjax.adversarial.summary import Tallies
from vcjax.charter.load import charter_file
from vcjax.core.files import read_json, write_json, write_jsonl, write_text
from vcjax.core.lineage import NAME, Parent, write_lineage
from vcjax.core.run import check_config, opened
from vcjax.core.stores import on_disk
from vcjax.data.files import data_parents
from vcjax.evaluation.benchmark import benchmark_path
from vcjax.roles.references import open_roles, without_options
from vcjax.roles.role import Role

PLAYERS = (ATTACKER, ACTOR, CRITIC, TARGET)
EXTENDABLE = ("attempts", "per_cell", "cell_attempts", "force_export")


def synthesize(
    config: SynthesisConfig,
    workdir: str | Path,
    *,
    shares: Mapping[Cell, int] | None = None,
    excluded: Sequence[str] = (),
) -> dict[str, Any]:
    """Runs Attacker -> Actor -> Critic and returns the summary.

    The summary tells whether every quota was met (`quota`) and whether the pairs were exported
    (`exported`); `shortfall` says what of that is to be told to the user.

    Args:
      shares: attempts of each cell, where they aren't to go round evenly.
      excluded: texts that no query may repeat, beside the benchmark's.

    Raises:
      UserError: a bad charter, benchmark, question file, attack, model or workdir, or a Critic
        of the Actor's family that wasn't allowed; all before anything is written.
    """
    workdir = on_disk(workdir)
    inputs, settings = read_inputs(config), asdict(config)
    settings |= {name: without_options(settings[name]) for name in PLAYERS}
    check_config(workdir, settings, extendable=EXTENDABLE)
    done = workdir / NAME
    if done.is_file() and read_json(workdir / "config.json") == settings:
        summary = read_json(workdir / "summary.json")
        print(f"{workdir}: already finished ({summary['attempts']} attempts)")
        return summary
    roles, parents = open_roles(inputs.specs, config)
    parents += _files(config)
    with opened(workdir, settings, extendable=EXTENDABLE) as folder:
        done.unlink(missing_ok=True)  # a run that is being extended isn't finished
        if inputs.quarantined:
            write_jsonl(folder / "quarantined.jsonl", inputs.quarantined)
        with Ledger(folder / "ledger.sqlite", charter=inputs.scope.charter.content_hash) as ledger:
            charge_earlier(roles.values(), ledger)
            inputs = replace(inputs, excluded=(*inputs.excluded, *excluded))
            summary = _run(config, inputs, shares, roles, parents, ledger, folder)
        write_lineage(folder, kind="synthesize", parents=parents, config=settings, seed=config.seed)
    return summary


def _run(
    config: SynthesisConfig,
    inputs: Inputs,
    shares: Mapping[Cell, int] | None,
    roles: dict[str, Role],
    parents: Sequence[Parent],
    ledger: Ledger,
    folder: Path,
) -> dict[str, Any]:
    attempts = inputs.shard.share(config.attempts)
    limits = Limits(attempts, config.per_cell, config.cell_attempts, config.wave)
    charter, attacks = inputs.scope.charter, {each.name: each for each in inputs.scope.attacks}
    paired = [attack.name for attack in attacks.values() if attack.kind == "pair"]
    seeds = SeedQuestions(inputs.questions, charter)
    planner = Planner(
        *(inputs.cells, charter, limits), seed=config.seed, paired=paired, shares=shares
    )
    with Funnel(planner) as funnel:
        pipeline = Pipeline(
            *(config, charter, attacks, planner, seeds, roles, ledger),
            *(inputs.excluded, funnel.called),
        )
        agreement = canaries = None
        if inputs.labelled:
            agreement = measure_agreement(
                *(list(inputs.labelled), pipeline.panel, pipeline.poll, config.critic),
                seed=config.seed,
            )
        pipeline.run(funnel)
        if config.canaries and pipeline.panel:
            canaries = canary_report(
                *(pipeline.decided(), pipeline.panel, pipeline.poll),
                size=config.canaries,
                seed=config.seed,
            )
    tallies = Tallies(paired)
    for attempt in pipeline.decided():
        tallies.add(attempt)
    calibration = agreement and reliability(agreement, config.min_kappa, tallies.judged)
    exported = calibration is None or calibration["gate"]["met"] or config.force_export
    summary = {
        **_facts(config, inputs),
        "accept_score": pipeline.panel.bar.score if pipeline.panel else 0,
        "exported": exported,
        "quota": quota_report(planner, funnel.tallies),
        "calibration": calibration,
        "canaries": canaries,
        **tallies.summary(),
        "records": write_records(folder, pipeline.decided(), export=exported),
        "tokens": ledger.tokens(),
        "usage": ledger.usage(),
        "parents": [
            {"role": each.role, "reference": each.reference, "hash": each.hash} for each in parents
        ],
    }
    write_text(folder / "README.md", card(summary))
    write_json(folder / "summary.json", summary)
    return summary


def _facts(config: SynthesisConfig, inputs: Inputs) -> dict[str, Any]:
    charter = inputs.scope.charter
    return {
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
        },
        "same_family": inputs.same_family,
        **{name: without_options(getattr(config, name)) for name in PLAYERS},
        "families": inputs.families,
        "seed": config.seed,
    }


def _files(config: SynthesisConfig) -> list[Parent]:
    """The files that a run is made from, as parents in its lineage."""
    files = [Parent.of("charter", charter_file(config.charter), config.charter)]
    if config.benchmark:
        files.append(Parent.of("benchmark", benchmark_path(config.benchmark), config.benchmark))
    files += data_parents("questions", config.questions) if config.questions else []
    files += [Parent.of("calibration", path) for path in split(config.calibration)]
    return files
