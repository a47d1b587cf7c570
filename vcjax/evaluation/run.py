"""One evaluation from the questions to the summary, resumable at any moment."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_jsonl, write_json
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.answering import ANSWER_KEY, answer
from vcjax.evaluation.benchmark import Benchmark, misfit
from vcjax.evaluation.comparison.runs import cleaned, of_questions
from vcjax.evaluation.judging.judge import (
    SCORE_KEY,
    PromptLanguage,
    Reading,
    judge,
    language_of,
    readings,
)
from vcjax.evaluation.judging.judge_check import check_judge, planted
from vcjax.evaluation.judging.panel import SCALE, combine, last_verdicts
from vcjax.evaluation.judging.people import RatedScores, rated
from vcjax.evaluation.summary import Records, summarise
from vcjax.roles.cache import CallCache
from vcjax.roles.grading import check_families
from vcjax.roles.role import Message, Role

Judge = Role | RatedScores
"""A model that is asked, or scores that somebody has given already."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How an evaluation asks, judges and summarises.

    Attributes:
      max_tokens, judge_max_tokens: bounds of an answer and of a verdict, in tokens.
      per_domain_and_language: size of the sample of the benchmark; None asks all of it.
      system_prompt: of an item, for the model under test; None asks the bare questions.
      allow_same_family: let a judge score a model of its own family; the summary reports it.
      judge_samples, judge_language: how often a model judges each answer, and in which language its
        prompt is: the item's, the other one or both.
      axes: also score alignment, factual care, helpfulness and refusal apart.
      judge_check: number of planted answers that each judge is tested on before it is used; see
        `judging.judge_check`. 0 tests none.
      require_judge: refuse a judge that the planted answers show to be unfit.
      seed: of the sample, the replies and the bootstrap.
      confidence: of all intervals, between 0 and 1.
      chunk: number of asks given to a role at once.
    """

    max_tokens: int = 256
    judge_max_tokens: int = 384
    per_domain_and_language: int | None = None
    system_prompt: Callable[[BenchmarkItem], str] | None = None
    allow_same_family: bool = False
    judge_samples: int = 1
    judge_language: PromptLanguage = "item"
    axes: bool = False
    judge_check: int = 0
    require_judge: bool = False
    seed: int = 0
    confidence: float = 0.95
    chunk: int = 32

    def __post_init__(self) -> None:
        """Raises: UserError for a value that is out of its range."""
        for field in ("max_tokens", "judge_max_tokens", "chunk"):
            if getattr(self, field) < 1:
                raise UserError(f"{field}: {getattr(self, field)} is below 1")
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence: {self.confidence} is not between 0 and 1")
        assert self.readings  # checks the judge's samples and language

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How a model reads each answer that it judges."""
        return readings(self.judge_samples, self.judge_language)


@dataclass(frozen=True)
class Subject:
    """Who is evaluated, by whom and how: what the benchmark and every measure ask with.

    Attributes:
      model: who answers.
      judges: of a panel the combined scores count, see `judging.panel`; without any the charter's
        checks alone are run.
      charter: whose rubric and checks are used.
      on_growth: called after each answer or score that is written.
      begun_with: see `vcjax.evaluation.answering.answer`.
    """

    model: Role
    judges: Sequence[Judge]
    charter: Charter
    settings: EvaluationSettings
    on_growth: Callable[[], None] = lambda: None
    begun_with: Collection[str] = ()

    @property
    def asked(self) -> list[Role]:
        """The judges that can be asked anything."""
        return [each for each in self.judges if not isinstance(each, RatedScores)]

    @property
    def judge(self) -> Role | None:
        """The first of these; None without one."""
        return next(iter(self.asked), None)

    @property
    def without_given_scores(self) -> "Subject":
        """The same with those judges alone that can be asked: of answers that nobody has scored."""
        return replace(self, judges=self.asked)

    def answers(
        self,
        items: Sequence[BenchmarkItem],
        folder: Path,
        messages: Callable[[BenchmarkItem], Sequence[Message]] | None = None,
    ) -> Records:
        """The model's answers in the order of the items, from `folder`/answers.jsonl; those that
        aren't there yet are asked for and written there.

        Args:
          messages: see `vcjax.evaluation.answering.answer`.
        """
        with CallCache(folder / "answers.jsonl", ANSWER_KEY, self.on_growth) as cache:
            return answer(
                items,
                self.model,
                cache=cache,
                max_tokens=self.settings.max_tokens,
                seed=self.settings.seed,
                system_prompt=self.settings.system_prompt,
                messages=messages,
                chunk=self.settings.chunk,
                begun_with=self.begun_with,
            )

    def scores(self, items: Sequence[BenchmarkItem], answers: Records, folder: Path) -> Records:
        """The combined scores of the answers, one for each; see `verdicts`."""
        return combine(self.verdicts(items, answers, folder))

    def verdicts(self, items: Sequence[BenchmarkItem], answers: Records, folder: Path) -> Records:
        """All judges' score records of the answers, likewise from `folder`/scores.jsonl."""
        settings, records = self.settings, []
        with CallCache(folder / "scores.jsonl", SCORE_KEY, self.on_growth) as cache:
            for each in self.judges or [None]:
                if isinstance(each, RatedScores):
                    records += rated(items, answers, each, self.charter, cache)
                    continue
                records += judge(
                    items,
                    answers,
                    each,
                    self.charter,
                    cache,
                    seed=settings.seed,
                    max_tokens=settings.judge_max_tokens,
                    chunk=settings.chunk,
                    begun_with=self.begun_with,
                    readings=[Reading()] if each is None else settings.readings,
                    axes=settings.axes,
                )
        return records

    def judge_checks(self, folder: Path) -> dict[str, dict[str, Any] | None]:
        """By name of each judge that is asked, what the planted answers show of it; likewise from
        `folder`/judge_check.jsonl. See `judging.judge_check.check_judge`."""
        settings = self.settings
        if not self.asked or not settings.judge_check:
            return {}
        answers = planted(settings.judge_check, self.charter, settings.seed)
        with CallCache(folder / "judge_check.jsonl", SCORE_KEY, self.on_growth) as cache:
            return {
                role.model: check_judge(
                    role,
                    self.charter,
                    cache,
                    answers,
                    seed=settings.seed,
                    confidence=settings.confidence,
                    max_tokens=settings.judge_max_tokens,
                    chunk=settings.chunk,
                    axes=settings.axes,
                )
                for role in self.asked
            }


def evaluate(subject: Subject, benchmark: Benchmark, workdir: str | os.PathLike) -> dict[str, Any]:
    """Asks, judges and summarises; writes answers.jsonl, scores.jsonl and summary.json.

    After a kill, another call asks only what is missing and returns the same summary. Without a
    judge the charter's checks are still run, and every answer is unscored. What is wrong with the
    questions, the answers or the scores is in `problems`, a sentence each.

    Raises:
      UserError: a judge and the model are of one family (unless allowed), two judges have one name,
        or a question or the language of the judge's prompt doesn't fit the charter; before anything
        is asked.
      GateNotMet: `require_judge` is set, and a judge is unfit; before the model is asked.
    """
    charter, settings, workdir = subject.charter, subject.settings, Path(workdir)
    # Runs of different samples can't be compared: the summary has the hash of this one.
    benchmark = benchmark.sampled(settings.per_domain_and_language, settings.seed)
    items = benchmark.items
    for item in items:
        reason = misfit(item, charter)
        if reason is not None:
            raise UserError(f"benchmark {benchmark.name}: item {item.id!r}: {reason}")
    check_prompt_languages(items, charter, settings.readings)
    same_family = _same_family(subject.judges, subject.model, settings.allow_same_family)
    checked = subject.judge_checks(workdir)
    if settings.require_judge:
        _require_fit(checked, workdir)
    answers = subject.answers(items, workdir)
    scores = subject.verdicts(items, answers, workdir)
    summary = {
        "same_family": same_family,
        "charter": {
            "name": charter.name,
            "hash": charter.content_hash,
            "domains": {each.id: dict(each.name) for each in charter.subdomains()},
        },
        "model": _identity(subject.model.model, subject.model.family),
        "judge": _panel_identity(subject.judges),
        "benchmark": {
            "name": benchmark.name,
            "hash": benchmark.hash,
            "items": len(items),
            "held_out": sorted(benchmark.held_out),
        },
        "seed": settings.seed,
        "confidence": settings.confidence,
        **summarise(
            answers,
            scores,
            held_out=benchmark.held_out,
            seed=settings.seed,
            confidence=settings.confidence,
        ),
        "judge_check": checked,
        "problems": _problems(items, answers, scores),
    }
    write_json(workdir / "summary.json", summary)
    return summary


def _problems(items: Sequence[BenchmarkItem], answers: Records, scores: Records) -> list[str]:
    """What is wrong with the questions, the answers and the combined scores, a sentence each."""
    texts = {record["id"]: record["answer"] for record in answers}
    whole = combine(scores)
    _, problems = cleaned(({**each, "answer": texts[each["id"]]} for each in whole), SCALE)
    bare = [item.id for item in items if item.rubric is None]
    if bare and any(record["judge"] is not None for record in whole):
        problems.append(of_questions(bare, "without a rubric, judged by the charter's alone"))
    return problems


def read_scores(workdir: str | os.PathLike) -> Records:
    """The combined score of each question of a run, for `summary.compare`; see `judging.panel`."""
    records = (record for _, record in read_jsonl(Path(workdir) / "scores.jsonl"))
    return combine(last_verdicts(records))


def check_prompt_languages(
    items: Sequence[BenchmarkItem], charter: Charter, asked: Sequence[Reading]
) -> None:
    """Raises a UserError if a judge's prompt would be in a language that the charter hasn't."""
    for item in items:
        for reading in asked:
            lang = reading.language(language_of(item))
            if lang not in charter.languages:
                raise UserError(
                    f"judge_language: the prompt for item {item.id!r} would be in {lang!r}, and "
                    f"charter {charter.name!r} has no such language; set it to 'item'"
                )


def _require_fit(checked: Mapping[str, dict[str, Any] | None], workdir: Path) -> None:
    """Raises GateNotMet for a judge that is unfit, or that wasn't tested; what was found of it is
    in judge_check.json then."""
    unfit = [
        f"{name}: {'not tested' if found is None else ', '.join(found['problems'])}"
        for name, found in checked.items()
        if found is None or found["problems"]
    ]
    if unfit:
        write_json(workdir / "judge_check.json", checked)
        raise GateNotMet(
            f"{workdir / 'judge_check.json'}: the planted answers show that a judge is unfit "
            f"({'; '.join(unfit)}); name another judge"
        )


def _same_family(judges: Sequence[Judge], model: Role, allowed: bool) -> bool | None:
    """Whether a judge is of the model's family; None without a judge."""
    names = Counter(_judge_identity(judge)["name"] for judge in judges)
    for name, times in names.items():
        if times > 1:
            raise UserError(
                f"judge: two judges are named {name!r}; name each once, or rename a file"
            )
    same = [check_families(judge.family, model.family, allowed, "judge") for judge in judges]
    return any(same) if judges else None


def _panel_identity(judges: Sequence[Judge]) -> dict[str, str] | None:
    identities = [_judge_identity(judge) for judge in judges]
    if not identities:
        return None
    return _identity(*(", ".join(each[key] for each in identities) for key in ("name", "family")))


def _judge_identity(judge: Judge) -> dict[str, str]:
    name = judge.name if isinstance(judge, RatedScores) else judge.model
    return _identity(name, judge.family)


def _identity(name: str, family: str) -> dict[str, str]:
    return {"name": name, "family": family}
