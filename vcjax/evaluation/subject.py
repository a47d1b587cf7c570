"""Who is evaluated, by which judges and how: what the benchmark and every measure ask with."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.answering import ANSWER_KEY, answer
from vcjax.evaluation.judging.judge import (
    SCORE_KEY,
    PromptLanguage,
    Reading,
    readings,
    verdicts_wanted,
)
from vcjax.evaluation.judging.judge_check import check_judges
from vcjax.evaluation.judging.panel import combine
from vcjax.evaluation.judging.people import RatedScores, rated
from vcjax.evaluation.judging.planted import planted
from vcjax.evaluation.summary import Records
from vcjax.roles.cache import CallCache, Key, Wanted
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
        settings, wanted, keys = self.settings, list[Wanted](), list[Key]()
        with CallCache(folder / "scores.jsonl", SCORE_KEY, self.on_growth) as cache:
            for each in self.judges or [None]:
                if isinstance(each, RatedScores):
                    given = rated(items, answers, each, self.charter, cache)
                    keys += [(record["id"], record["fingerprint"]) for record in given]
                    continue
                some, own = verdicts_wanted(
                    items,
                    answers,
                    each,
                    self.charter,
                    cache,
                    seed=settings.seed,
                    max_tokens=settings.judge_max_tokens,
                    begun_with=self.begun_with,
                    readings=[Reading()] if each is None else settings.readings,
                    axes=settings.axes,
                )
                wanted += some
                keys += own
            # All judges side by side: none waits for the last verdict of another.
            cache.ask_together(wanted, chunk=settings.chunk, label="verdicts")
        return [cache.records[key] for key in keys]

    def judge_checks(self, folder: Path) -> dict[str, dict[str, Any] | None]:
        """By name of each judge that is asked, what the planted answers show of it; likewise from
        `folder`/judge_check.jsonl. See `judging.judge_check.check_judges`."""
        settings = self.settings
        if not self.asked or not settings.judge_check:
            return {}
        answers = planted(settings.judge_check, self.charter, settings.seed)
        with CallCache(folder / "judge_check.jsonl", SCORE_KEY, self.on_growth) as cache:
            return check_judges(
                self.asked,
                self.charter,
                cache,
                answers,
                seed=settings.seed,
                confidence=settings.confidence,
                max_tokens=settings.judge_max_tokens,
                chunk=settings.chunk,
                axes=settings.axes,
            )
