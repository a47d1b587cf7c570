"""One synthesis run: check everything, then open the workdir, run, and write what it leaves."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.funnel import Funnel
from vcjax.adversarial.inputs import Inputs, read_inputs, split
from vcjax.adversarial.ledger import Ledger
from vcjax.adversarial.outputs import write_outputs
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.plan import Limits, Planner
from vcjax.adversarial.quotas import quota_report
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.charter.load import charter_file
from vcjax.evaluation.benchmark import benchmark_path
from vcjax.foundation.files import read_json
from vcjax.foundation.lineage import NAME, Parent, write_lineage
from vcjax.foundation.workdir import check_config, opened
from vcjax.roles.opening import open_roles

EXTENDABLE = ("attempts", "per_cell", "cell_attempts")


def synthesize(config: SynthesisConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs Attacker -> Actor -> Critic and returns the summary.

    Whether every quota was met is in the summary's `quota`; the outputs are the same either way.

    Raises:
      UserError: a bad charter, benchmark, question file, attack, model or workdir, or a Critic
        of the Actor's family that wasn't allowed; all before anything is written.
    """
    inputs, settings = read_inputs(config), asdict(config)
    check_config(Path(workdir), settings, extendable=EXTENDABLE)
    done = Path(workdir) / NAME
    if done.is_file() and read_json(Path(workdir) / "config.json") == settings:
        summary = read_json(Path(workdir) / "summary.json")
        print(f"{workdir}: already finished ({summary['attempts']} attempts)")
        return summary
    roles, parents = open_roles(inputs.specs, config.slots)
    with opened(workdir, settings, extendable=EXTENDABLE) as folder:
        done.unlink(missing_ok=True)  # a run that is being extended isn't finished
        ledger = Ledger(folder / "ledger.sqlite")
        limits = Limits(config.attempts, config.per_cell, config.cell_attempts, config.wave)
        paired = [attack.name for attack in inputs.attacks if attack.kind == "pair"]
        planner = Planner(inputs.cells, inputs.charter, limits, seed=config.seed, paired=paired)
        with Funnel(planner) as funnel:
            pipeline = Pipeline(
                config,
                inputs.charter,
                {attack.name: attack for attack in inputs.attacks},
                planner,
                SeedQuestions(inputs.questions, inputs.charter),
                roles,
                ledger,
                inputs.excluded,
                funnel.called,
            )
            pipeline.run(funnel)
        facts = _facts(config, inputs, pipeline.panel.bar.score if pipeline.panel else 0, ledger)
        facts |= {"quota": quota_report(planner, funnel.tallies)}
        summary = write_outputs(folder, ledger.attempts(), facts)
        ledger.close()
        parents += [Parent.of("charter", charter_file(config.charter), config.charter)]
        if config.benchmark:
            path = benchmark_path(config.benchmark)
            parents += [Parent.of("benchmark", path, config.benchmark)]
        parents += [Parent.of("questions", path) for path in split(config.questions)]
        write_lineage(folder, kind="synthesize", parents=parents, config=settings, seed=config.seed)
    return summary


def _facts(
    config: SynthesisConfig, inputs: Inputs, accept_score: int, ledger: Ledger
) -> dict[str, Any]:
    charter = inputs.charter
    return {
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
        },
        "same_family": inputs.same_family,
        "accept_score": accept_score,
        **{name: spec.model for name, spec in inputs.specs.items()},
        "families": inputs.families,
        "tokens": ledger.tokens(),
        "seed": config.seed,
    }
