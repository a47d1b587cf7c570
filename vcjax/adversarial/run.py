"""One synthesis run: check everything, then open the workdir, run, and write what it leaves."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vcjax.adversarial.attacks import choose_attacks
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger import Ledger
from vcjax.adversarial.matrix import plan
from vcjax.adversarial.outputs import write_outputs
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.adversarial.verdict import Verdict
from vcjax.charter.load import charter_file, load_charter
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.data.importers import read_records
from vcjax.data.records import Question
from vcjax.evaluation.benchmark import benchmark_path, load_benchmark
from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json
from vcjax.foundation.lineage import NAME, Parent, write_lineage
from vcjax.foundation.workdir import check_config, opened
from vcjax.roles.grading import check_families
from vcjax.roles.opening import RoleSpec, family_of, open_roles


def synthesize(config: SynthesisConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs Attacker -> Actor -> Critic and returns the summary.

    Raises:
      UserError: a bad charter, benchmark, question file, attack, model or workdir, or a Critic
        of the Actor's family that wasn't allowed; all before anything is written.
    """
    charter = load_charter(config.charter)
    styles = choose_attacks(_split(config.attacks))
    languages = _languages(config, charter)
    planned = plan(charter, styles, languages, config.attempts, config.seed)
    questions = _questions(config)
    benchmark = load_benchmark(config.benchmark).items if config.benchmark else ()
    specs = {
        "attacker": RoleSpec(config.attacker, config.attacker_family),
        "actor": RoleSpec(config.actor, config.actor_family),
        "critic": RoleSpec(config.critic, config.critic_family),
    }
    families = {name: family_of(spec, f"{name}_family") for name, spec in specs.items()}
    same = check_families(families["critic"], families["actor"], config.allow_same_family, "critic")
    settings = asdict(config)
    check_config(Path(workdir), settings, extendable=("attempts",))
    done = Path(workdir) / NAME
    if done.is_file() and read_json(Path(workdir) / "summary.json")["attempts"] == config.attempts:
        print(f"{workdir}: already finished ({config.attempts} attempts)")
        return read_json(Path(workdir) / "summary.json")
    roles, parents = open_roles(specs, config.slots)
    with opened(workdir, settings, extendable=("attempts",)) as folder:
        done.unlink(missing_ok=True)  # a run that is being extended isn't finished
        ledger = Ledger(folder / "ledger.sqlite")
        seeds = SeedQuestions(questions, charter)
        counts: dict[str, int] = dict.fromkeys(("accepted", "rejected", "unscored", "blocked"), 0)
        for attempt in ledger.attempts():
            counts[attempt["kind"]] += 1
        with tqdm(total=len(planned), initial=sum(counts.values()), desc="attempts") as bar:

            def decided(verdict: Verdict) -> None:
                counts[verdict.kind] += 1
                bar.set_postfix(counts, refresh=False)
                bar.update()

            def called(role: str, done: int, planned: int) -> None:
                bar.set_description(f"attempts ({role} {done}/{planned})")

            asked_elsewhere = [item.question for item in benchmark]
            pipeline = Pipeline(
                config, charter, styles, seeds, roles, ledger, asked_elsewhere, called
            )
            pipeline.run(planned, decided)
        facts = {
            "charter": {
                "name": charter.name,
                "version": charter.version,
                "hash": charter.content_hash,
            },
            "same_family": same,
            "accept_score": pipeline.accept_score,
            **{name: spec.model for name, spec in specs.items()},
            "families": families,
            "tokens": ledger.tokens(),
            "seed": config.seed,
        }
        summary = write_outputs(folder, list(ledger.attempts()), facts)
        ledger.close()
        parents += [Parent.of("charter", charter_file(config.charter), config.charter)]
        if config.benchmark:
            path = benchmark_path(config.benchmark)
            parents += [Parent.of("benchmark", path, config.benchmark)]
        parents += [Parent.of("questions", path) for path in _split(config.questions)]
        write_lineage(folder, kind="synthesize", parents=parents, config=settings, seed=config.seed)
    return summary


def _languages(config: SynthesisConfig, charter: Charter) -> list[Language]:
    asked = _split(config.languages)
    for lang in asked:
        if lang not in charter.languages:
            raise UserError(f"config.languages: charter {charter.name!r} has no language {lang!r}")
    return [lang for lang in charter.languages if lang in asked]


def _questions(config: SynthesisConfig) -> list[Question]:
    if not config.questions:
        return []
    loaded = read_records(config.questions, "questions", on_bad_record=config.on_bad_record)
    return [record for record in loaded.records if isinstance(record, Question)]


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
