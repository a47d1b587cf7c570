"""One evaluation from the questions to the summary, resumable at any moment."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_jsonl, write_json
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark, misfit
from vcjax.evaluation.comparison.runs import cleaned, of_questions
from vcjax.evaluation.judging.judge import Reading, language_of
from vcjax.evaluation.judging.panel import SCALE, combine, last_verdicts
from vcjax.evaluation.judging.people import RatedScores
from vcjax.evaluation.subject import Judge, Subject
from vcjax.evaluation.summary import Records, summarise
from vcjax.roles.grading import check_families
from vcjax.roles.role import Role


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
    # Before the model is asked, as an unfit judge makes all that follows worthless.
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
    """The combined score of each question of a run, for `comparison.differences.compare`; see
    `judging.panel`."""
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
    # Verdicts are kept by the judge's content, so one would be given those of the other.
    known: dict[str, str] = {}
    for judge in judges:
        if isinstance(judge, RatedScores):
            continue
        first = known.setdefault(judge.identity, judge.model)
        if first != judge.model:
            raise UserError(
                f"judge: {first!r} and {judge.model!r} are one model; name it once "
                "(judge_samples asks it several times)"
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
