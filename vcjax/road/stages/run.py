"""The ablation by stage: what does each stage of training add, and what does it cost?

    text -> knowledge -> for each arm:  [attacks | facts ->] train -> evaluated | pressed
                      -> summary, table, report                                  | documents

Each of these is a run in a folder of its own, so the ablation continues wherever it was stopped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from vcjax.adversarial.inputs import read_inputs
from vcjax.charter.load import charter_parents, load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_json, write_text
from vcjax.core.lineage import stage_lineages, stage_parents
from vcjax.core.run import SUMMARY, Run, Stage, explained
from vcjax.core.stores import on_disk
from vcjax.data.importers import Records
from vcjax.data.records import Conversation
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.report.stages.report import stages_markdown, write_stages_report
from vcjax.road.ablation.documents import (
    check_base_not_trained_on,
    sharing_a_sentence,
    trained_texts,
)
from vcjax.road.commits import at_commits
from vcjax.road.evaluate import read_samples
from vcjax.road.pressure.capability import check_capability
from vcjax.road.pressure.experiment import KNOWLEDGE, MODEL, Experiment
from vcjax.road.stages.arms import EVALUATED, StageRun, all_stages, runs_of
from vcjax.road.stages.config import ADVERSARIAL, ATTACKS, StagesConfig
from vcjax.road.stages.summary import summarise
from vcjax.road.stages.text import TEXT, languages, read_text, split_text
from vcjax.roles.references import RoleSpec, family_of
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

_SAMPLES = 8
_ABOUT = {
    "text": "parts the documents into those that are trained on and those that are scored",
    "knowledge": "finds the facts that the base model knows",
    "attacks": "attacks the model and has its answers judged",
    "facts": "writes pairs in which a user presses facts",
    "facts_preferences": "writes such pairs with the answer that gives in",
    "train": "trains the stage",
    "evaluated": "asks the benchmark's questions and judges the answers",
    "pressed": "measures which facts are given up under pressure",
    "plain_facts": "asks facts of topics that nothing was trained on, without pressure",
    "documents_en": "scores English documents that nothing was trained on",
    "documents_zh": "scores Chinese documents that nothing was trained on",
    "capability": "does tasks of lm-eval",
}
"""What each kind of stage does, for a person who waits."""


def ablate_stages(config: StagesConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs every arm; writes `summary.json`, `table.md`, `report.html` and lineage.

    A finished ablation is extended by more arms.

    Returns:
      The summary.

    Raises:
      UserError: an input that can't be used; all are checked before the first stage starts.
      GateNotMet: an adversarial stage has no pair to train on.
    """
    free = ["arms", "language"]
    run = Run("stages", on_disk(workdir), asdict(config), seed=config.seed, free=free)
    if (summary := run.finished()) is not None:
        return summary
    charter, family, langs = _check_inputs(config, run.workdir)
    found, models = at_commits(
        {MODEL: config.model}, run.workdir, begins=not (run.workdir / KNOWLEDGE).is_dir()
    )
    with run.opened() as folder:
        write_sources(folder, models)
        settings = replace(config.pressure, model=found[MODEL])
        config = replace(config, model=found[MODEL], pressure=settings)
        experiment = Experiment(settings, folder)
        runs = runs_of(config, experiment, family, langs)
        stages = [
            Stage(TEXT, lambda: split_text(config, folder / TEXT)),
            Stage(KNOWLEDGE, experiment.find_knowledge),
            *all_stages(list(runs.values())),
        ]
        run.do(explained(stages, _ABOUT))

        summary = summarise(
            config,
            charter,
            family=family,
            runs=runs,
            langs=langs,
            left_out=_left_out(config, runs.values(), langs),
            seconds=run.seconds,
        )
        write_json(folder / SUMMARY, summary)
        write_text(folder / "table.md", stages_markdown(summary))
        # A stage that had nothing to do has no folder.
        names = [each.name for each in stages if (folder / each.name).is_dir()]
        write_stages_report(
            folder / "report.html",
            summary=summary,
            samples=_samples(runs),
            lineage=stage_lineages(folder, names),
            language=cast(Language, config.language),
        )
        run.finish([*stage_parents(folder, names), *charter_parents(config.charter)])
    return summary


def _check_inputs(config: StagesConfig, workdir: Path) -> tuple[Charter, str, list[Language]]:
    """Reads every input but the models once, so that a mistake shows before the first stage starts.

    Returns the charter, the base model's family and the languages of the measured documents.
    """
    charter = load_charter(config.charter)
    load_benchmark(config.evaluation.benchmark, charter)
    family = family_of(RoleSpec(config.model, config.family), "family")
    Experiment(config.pressure, workdir)
    _, measured = read_text(config)
    check_base_not_trained_on(config.model, config.measured_documents or config.documents)
    for _ in _conversations(config, config.conversations):
        pass  # a bad one is an error
    for arm in config.arms:
        for source in arm.sources:
            if source.endswith(".jsonl"):
                for _ in read_jsonl(source):
                    pass
        if arm.stage == ADVERSARIAL and ATTACKS in arm.sources:
            roles = {"attacker_family": family, "actor_family": family}
            read_inputs(replace(config.synthesis, **roles))
    check_capability(config)
    if not (langs := languages(measured)):
        raise UserError("config.measured_documents: none in a language that a charter has")
    return charter, family, langs


def _conversations(config: StagesConfig, files: str) -> Iterator[Conversation]:
    records = Records(
        files, "conversations", on_bad_record=config.on_bad_record, columns=config.columns
    )
    for record in records:
        if isinstance(record, Conversation):
            yield record


def _left_out(
    config: StagesConfig, runs: Iterable[StageRun], langs: Iterable[Language]
) -> list[str]:
    """The ids of measured documents that share a sentence with what an arm was trained on.

    With the documents of the first stage none does: see `read_text`.
    """
    texts = [
        message["content"]
        for record in _conversations(config, config.conversations)
        for message in record.messages
    ]
    for run in runs:
        texts += (text for path in run.pairs for text in trained_texts(path))
    _, measured = read_text(config)
    return [
        each.id
        for lang in langs
        for each in sharing_a_sentence([d for d in measured if d.lang == lang], texts, lang)
    ]


def _samples(runs: Mapping[str, StageRun]) -> list[dict[str, Any]]:
    """A few questions with what every arm answered."""
    answers = {
        name: {each["id"]: each for each in read_samples(run.folder / EVALUATED)}
        for name, run in runs.items()
    }
    first = next(iter(answers.values()))
    # Evenly over the benchmark, so that they are of several domains.
    step = max(1, len(first) // _SAMPLES)
    names = ("id", "lang", "domain", "question")
    return [
        {
            **{name: first[id][name] for name in names},
            "answers": {name: own[id] for name, own in answers.items()},
        }
        for id in list(first)[::step][:_SAMPLES]
    ]
