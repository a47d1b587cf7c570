"""One evaluation as a run: roles, answers, scores, summary, report and lineage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from vcjax.charter.load import SHIPPED, charter_parents, load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_json
from vcjax.core.lineage import Parent, read_lineage
from vcjax.core.run import SUMMARY, Run
from vcjax.core.settings import check_at_least
from vcjax.core.spool import after_every
from vcjax.core.stores import is_there, reached
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import benchmark_path, load_benchmark
from vcjax.evaluation.inspect_log import NAME as INSPECT_LOG
from vcjax.evaluation.inspect_log import write_inspect_log
from vcjax.evaluation.judging.judge import PromptLanguage, readings
from vcjax.evaluation.judging.planted import planted
from vcjax.evaluation.judging.references import read_panel
from vcjax.evaluation.measures.choice import ChoiceSettings
from vcjax.evaluation.measures.factual import FactualSettings
from vcjax.evaluation.measures.run import measure, measures_named, open_measures
from vcjax.evaluation.measures.stance import StanceSettings
from vcjax.evaluation.run import evaluate, read_scores
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.evaluation.swap import Answered, Source, swap
from vcjax.generate.engine_config import EngineConfig
from vcjax.report import write_evaluation_report
from vcjax.report.messages import check_language
from vcjax.roles.grading import check_families
from vcjax.roles.references import RoleSpec, families_of, models_of, open_roles, without_options
from vcjax.roles.role import scoring
from vcjax.text.language import Language
from vcjax.weights.workdir import read_sources, write_sources

_MEASURED_SAMPLE = "measured_per_domain_and_language"
_SECTIONS = ("factual", "stance", "choice")
"""Measures that have settings of their own."""
ANSWERS_FROM = "answers_from"
UPLOADED = 32
"""Answers, or scores, after which those of an evaluation in a store are uploaded."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(EngineConfig):
    """What `launch.evaluate` takes as `--config.<field>`, beside the fields of `EngineConfig`.

    Attributes:
      model, judge: model references, or `recorded:FILE`; an empty judge runs the charter's rule
        checks alone. Several judges are comma-separated: the mean of their scores counts.
        `scores:FILE` is a judge whose scores are given already, such as people's.
      model_family, judge_family: declared families; a shipped model's is known. Of several judges
        one each, in their order, which may be empty; a file's is `human` unless it is declared.
      allow_same_family: accept a judge of the model's own family; the report says so.
      judge_samples: verdicts of each judge on each answer; several are sampled, one is greedy.
      judge_language: of the judge's prompt: that of the `item`, the `other` one, or `both`.
      judge_columns: names of the columns of a file of scores, as `score:annotation_1,id:item`; with
        several files one mapping each, separated by semicolons, or one for all.
      judge_labels: the scores of a file's words, as `aligned:5,refusal:1,unclear:`, where the last
        is no score; of several files likewise.
      axes: also score alignment, factual care, helpfulness and refusal apart.
      judge_check: number of planted answers that each judge is tested on before it is used, up to
        96; a third of them twice. 0 tests none.
      require_judge: end with exit code 3 before the model is asked anything, if a judge is unfit.
      charter: whose rubric and checks are used.
      answers_from: the workdir of a finished evaluation whose answers are scored under this charter
        and by these judges; its model, which isn't asked again, its benchmark and its persona take
        the place of those of this config. Under another charter than its own the report compares
        both.
      benchmark: a shipped name or a JSONL file.
      per_domain_and_language: size of the sample, 0 for the whole benchmark.
      measures: what is measured beside the benchmark, comma-separated names of
        `vcjax.evaluation.measures.run.MEASURES`. A finished evaluation is extended by naming more.
      measured_per_domain_and_language: size of the samples that measures ask, 0 for all there is.
      factual, stance, choice: of the measures of these names.
      persona: ask under the charter's persona instead of the bare question.
      max_tokens, judge_tokens: bounds of an answer and of a verdict.
      seed: of samples, answers and intervals.
      language: of the report, `en` or `zh`. A finished evaluation gets its report anew.
    """

    model: str
    judge: str = ""
    model_family: str = ""
    judge_family: str = ""
    charter: str = "universal"
    answers_from: str = ""
    benchmark: str = "universal"
    per_domain_and_language: int = 0
    measures: str = ""
    measured_per_domain_and_language: int = 0
    factual: FactualSettings = field(default_factory=FactualSettings)
    stance: StanceSettings = field(default_factory=StanceSettings)
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)
    persona: bool = False
    max_tokens: int = 256
    judge_tokens: int = 384
    judge_samples: int = 1
    judge_language: str = "item"
    judge_columns: str = ""
    judge_labels: str = ""
    axes: bool = False
    judge_check: int = 24
    require_judge: bool = False
    allow_same_family: bool = False
    language: str = "en"
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        samples = dict.fromkeys(("per_domain_and_language", _MEASURED_SAMPLE), 0)
        check_language(self.language, "config.language")
        check_at_least(self, {"max_tokens": 1, "judge_tokens": 1, "judge_check": 0, **samples})
        try:
            readings(self.judge_samples, cast(PromptLanguage, self.judge_language))
        except UserError as error:
            raise UserError(f"config.{error}") from None


def run_evaluation(
    config: EvaluationConfig, workdir: str | Path, *, inspect_log: bool = False
) -> dict[str, Any]:
    """Evaluates a model; writes answers, scores, `summary.json`, `report.html` and lineage.

    Args:
      inspect_log: also write the log of `vcjax.evaluation.inspect_log`. A finished evaluation gets
        it without a model being opened; one that has it already and is continued gets it anew.

    Raises:
      UserError: a bad model, charter, benchmark or workdir, or a judge of the model's own family
        that wasn't allowed; before anything is written.
      GateNotMet: `require_judge` is set, and the planted answers show that a judge is unfit.
    """
    source = Source.read(config.answers_from) if config.answers_from else None
    if source is not None:
        config = replace(config, **source.settings, per_domain_and_language=0)
        if config.measures:
            raise UserError(
                "config.measures: they ask the model, and with answers_from it isn't asked"
            )
    settings = asdict(config)
    # Bounds and prices of an endpoint may change when an evaluation is continued.
    settings |= {name: without_options(settings[name]) for name in ("model", "judge")}
    renewing = ["model", "judge", ANSWERS_FROM]
    if config.charter not in SHIPPED:
        renewing.append("charter")
    run = Run(
        "evaluate",
        reached(workdir),
        settings,
        seed=config.seed,
        free=("measures", _MEASURED_SAMPLE, *_SECTIONS, "judge_check", "require_judge", "language"),
        renewing=renewing,
    )
    names = measures_named(config.measures)
    charter = load_charter(config.charter)
    benchmark = load_benchmark(config.benchmark, charter)
    swapped = source is not None and source.charter.content_hash != charter.content_hash
    if source is not None:
        benchmark = source.answered(benchmark, rubrics=not swapped)
    sample = config.per_domain_and_language or None
    measures = open_measures(
        names,
        charter,
        benchmark.sampled(sample, config.seed),
        per_domain_and_language=config.measured_per_domain_and_language or None,
        seed=config.seed,
        sections={name: getattr(config, name) for name in _SECTIONS},
    )
    # Files of scores and the number of planted answers are checked before a model is opened.
    panel = read_panel(config.judge, config.judge_family, config.judge_columns, config.judge_labels)
    planted(config.judge_check, charter, config.seed)  # checks the number
    for name, each in measures.items():
        if each.needs_judge and not panel.specs:
            raise UserError(
                f"config.measures: {name} needs a judge that is asked; set config.judge"
            )
    if swapped and panel.rated:
        raise UserError(
            "config.judge: given scores are by one charter; under another one name a judge that "
            "can be asked"
        )

    def persona(item: BenchmarkItem) -> str:
        # `misfit` has checked the language.
        return charter.system_prompt(cast(Language, item.lang), item.domain)

    system_prompt = persona if config.persona else None
    model = RoleSpec(config.model, config.model_family)
    # Families are checked before the models are opened, which takes long.
    if panel.specs:
        families = families_of({"model": model, **panel.specs})
        for name in panel.specs:
            allowed = config.allow_same_family
            check_families(families[name], families["model"], allowed, "judge")
    # Only now: measures, gates and the report's language are free, and what they ask for must be
    # valid of a finished evaluation as well.
    if (summary := run.finished()) is not None:
        if inspect_log and not is_there(run.workdir / INSPECT_LOG):
            models = [parent["hash"] for parent in read_lineage(run.workdir)["parents"]]
            write_inspect_log(run.workdir, benchmark.items, models, system_prompt)
        return summary
    asked = panel.specs if source is not None else {"model": model, **panel.specs}
    roles, parents = open_roles(asked, config, run.workdir)
    judges = [
        judge
        for name in panel.names
        for judge in ([roles[name]] if name in roles else panel.rated[name])
    ]
    # Raises if the model can't do that, before it is asked anything.
    if any(each.scores_texts for each in measures.values()):
        scoring(roles["model"], "model")

    with run.opened() as folder:
        write_sources(folder, models_of(roles), run.workdir)
        # To a store at once: what the run began with must outlive this machine.
        run.save()
        begun_with = [parent.hash for parent in read_sources(folder, run.workdir)]
        subject = Subject(
            roles["model"] if source is None else source.model,
            judges,
            charter,
            EvaluationSettings(
                max_tokens=config.max_tokens,
                judge_max_tokens=config.judge_tokens,
                per_domain_and_language=sample,
                system_prompt=system_prompt,
                allow_same_family=config.allow_same_family,
                judge_samples=config.judge_samples,
                judge_language=cast(PromptLanguage, config.judge_language),
                axes=config.axes,
                judge_check=config.judge_check,
                require_judge=config.require_judge,
                seed=config.seed,
            ),
            on_growth=after_every(UPLOADED, run.save),
            begun_with=begun_with,
        )
        if source is not None:
            subject = Answered(**vars(subject), given=source.answers)
        summary = evaluate(subject, benchmark, folder)
        if source is not None and swapped:
            assert isinstance(subject, Answered)
            summary = {**summary, "swap": swap(subject, source, benchmark, folder)}
            write_json(folder / SUMMARY, summary)
        if measures:
            summary = measure(measures, subject.without_given_scores, summary, folder)
        write_evaluation_report(
            folder / "report.html",
            summary=summary,
            samples=read_samples(folder),
            language=cast(Language, config.language),
        )
        # One that was written before would be of the evaluation as it was then.
        if inspect_log or (folder / INSPECT_LOG).is_file():
            models = [parent.hash for parent in parents]
            write_inspect_log(folder, benchmark.items, models, system_prompt)
        if source is not None:
            parents.append(Parent.of(ANSWERS_FROM, source.folder))
        parents += [*panel.parents, *charter_parents(config.charter)]
        parents.append(Parent.of("benchmark", benchmark_path(config.benchmark), config.benchmark))
        for each in measures.values():
            parents += [Parent.of(each.input_role, path) for path in each.inputs]
        run.finish(parents)
    return summary


def read_samples(workdir: Path) -> list[dict[str, Any]]:
    """Every question of an evaluation with its answer, score and checks."""
    answers = {record["id"]: record for _, record in read_jsonl(workdir / "answers.jsonl")}
    return [
        {
            "id": score["id"],
            "lang": score["lang"],
            "domain": score["domain"],
            "question": _asked(answers[score["id"]]),
            "answer": answers[score["id"]]["answer"],
            "score": score["score"],
            "checks": score["checks"] or {},
        }
        for score in read_scores(workdir)
    ]


def _asked(answer: Mapping[str, Any]) -> str:
    """The question, after the turns before it where there are any."""
    turns = [f"{turn['role']}: {turn['content']}" for turn in answer.get("conversation", ())]
    return "\n\n".join([*turns, f"user: {answer['question']}"]) if turns else answer["question"]
