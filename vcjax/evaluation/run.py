"""One evaluation from the questions to the summary, resumable at any moment."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_json
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.answering import ANSWER_KEY, answer
from vcjax.evaluation.benchmark import Benchmark, misfit
from vcjax.evaluation.judge import SCORE_KEY, judge
from vcjax.evaluation.summary import Records, summarise
from vcjax.roles.cache import CallCache
from vcjax.roles.grading import check_families
from vcjax.roles.role import Message, Role


@dataclass(frozen=True)
class EvaluationSettings:
    """How an evaluation asks, judges and summarises.

    Attributes:
      max_tokens, judge_max_tokens: bounds of an answer and of a verdict, in tokens.
      per_domain_and_language: size of the sample of the benchmark; None asks all of it.
      system_prompt: of an item, for the model under test; None asks the bare questions.
      allow_same_family: let a judge score a model of its own family; the summary reports it.
      seed: of the sample, the replies and the bootstrap.
      confidence: of all intervals, between 0 and 1.
      chunk: number of asks given to a role at once.
    """

    max_tokens: int = 256
    judge_max_tokens: int = 384
    per_domain_and_language: int | None = None
    system_prompt: Callable[[BenchmarkItem], str] | None = None
    allow_same_family: bool = False
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


@dataclass(frozen=True)
class Subject:
    """Who is evaluated, by whom and how: what the benchmark and every measure ask with.

    Attributes:
      model, judge: the judge is None where the charter's checks alone are run.
      charter: whose rubric and checks are used.
      on_growth: called after each answer or score that is written.
      begun_with: see `vcjax.evaluation.answering.answer`.
    """

    model: Role
    judge: Role | None
    charter: Charter
    settings: EvaluationSettings
    on_growth: Callable[[], None] = lambda: None
    begun_with: Collection[str] = ()

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
        """The scores of the answers, one for each, likewise from `folder`/scores.jsonl."""
        with CallCache(folder / "scores.jsonl", SCORE_KEY, self.on_growth) as cache:
            return judge(
                items,
                answers,
                self.judge,
                self.charter,
                cache,
                seed=self.settings.seed,
                max_tokens=self.settings.judge_max_tokens,
                chunk=self.settings.chunk,
                begun_with=self.begun_with,
            )


def evaluate(subject: Subject, benchmark: Benchmark, workdir: str | os.PathLike) -> dict[str, Any]:
    """Asks, judges and summarises; writes answers.jsonl, scores.jsonl and summary.json.

    After a kill, another call asks only what is missing and returns the same summary. Without a
    judge the charter's checks are still run, and every answer is unscored.

    Raises:
      UserError: judge and model are of one family (unless allowed), or a question doesn't fit the
        charter; before anything is asked.
    """
    charter, settings, workdir = subject.charter, subject.settings, Path(workdir)
    # Runs of different samples can't be compared: the summary has the hash of this one.
    benchmark = benchmark.sampled(settings.per_domain_and_language, settings.seed)
    items = benchmark.items
    for item in items:
        reason = misfit(item, charter)
        if reason is not None:
            raise UserError(f"benchmark {benchmark.name}: item {item.id!r}: {reason}")
    same_family = None
    if subject.judge is not None:
        same_family = check_families(
            subject.judge.family, subject.model.family, settings.allow_same_family, "judge"
        )
    answers = subject.answers(items, workdir)
    scores = subject.scores(items, answers, workdir)
    summary = {
        "same_family": same_family,
        "charter": {"name": charter.name, "hash": charter.content_hash},
        "model": _identity(subject.model),
        "judge": None if subject.judge is None else _identity(subject.judge),
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
    }
    write_json(workdir / "summary.json", summary)
    return summary


def read_scores(workdir: str | os.PathLike) -> list[dict[str, Any]]:
    """The score records of a run's workdir, of each question the last."""
    records = read_jsonl(Path(workdir) / "scores.jsonl")
    return list({record["id"]: record for _, record in records}.values())


def _identity(role: Role) -> dict[str, str]:
    return {"name": role.model, "family": role.family}
