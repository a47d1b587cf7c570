"""A judge scores the answers by the charter; the charter's own checks are run beside it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from vcjax.charter.checks import run_checks
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.asking import ask_in_chunks, fingerprint
from vcjax.evaluation.store import Store
from vcjax.roles.grading import Grade, grade_schema, grading_messages, parse_grade
from vcjax.roles.role import Ask, Reply, Role

SCORE_KEY = ("id", "fingerprint")


def judge(
    items: Sequence[BenchmarkItem],
    answers: Sequence[dict[str, Any]],
    role: Role | None,
    charter: Charter,
    store: Store,
    *,
    seed: int,
    max_tokens: int = 384,
    chunk: int = 32,
) -> list[dict[str, Any]]:
    """Scores each answer that `store` has no record of; returns the records in item order.

    A score record is `{id, fingerprint, answer_hash, parallel_id, domain, lang, judge, family,
    score, unscored, reason, reply, checks}`: `reply` is the judge's text as it came, and `checks`
    maps '<principle>/<check>' to whether the answer passed it. A question that got no answer (its
    model timed out, say) isn't judged: `unscored` says `no answer` and why, and `checks` is None.

    Args:
      answers: answer records, one for each of `items`, in the same order.
      role: the judge; None runs the checks alone and leaves every answer unscored (`no_judge`).
      store: keyed by `SCORE_KEY`.
    """
    name, family = (None, None) if role is None else (role.model, role.family)
    asks = [
        _ask(item, answered["answer"], charter, max_tokens, seed)
        for item, answered in zip(items, answers, strict=True)
    ]
    marks = [
        fingerprint(name, asdict(ask), charter.content_hash, answered["answer_hash"])
        for ask, answered in zip(asks, answers, strict=True)
    ]

    def record(index: int, grade: Grade, reply: str | None) -> None:
        item, answered = items[index], answers[index]
        checks = None
        if _is_answered(answered):
            results = run_checks(
                charter,
                question=item.question,
                answer=answered["answer"],
                lang=_language(item),
                subdomain=item.domain,
            )
            checks = {key: result.passed for key, result in results.items()}
        store.append(
            {
                "id": item.id,
                "fingerprint": marks[index],
                "answer_hash": answered["answer_hash"],
                "parallel_id": item.parallel_id,
                "domain": item.domain,
                "lang": item.lang,
                "judge": name,
                "family": family,
                "score": grade.score,
                "unscored": grade.unscored,
                "reason": grade.reason,
                "reply": reply,
                "checks": checks,
            }
        )

    def receive(index: int, reply: Reply) -> None:
        record(index, parse_grade(reply), reply.text)

    keys = [(item.id, mark) for item, mark in zip(items, marks, strict=True)]
    for index, key in enumerate(keys):
        if key not in store.records and not _is_answered(answers[index]):
            record(index, Grade(None, f"no answer: {answers[index]['finish_reason']}"), None)
    done = [key in store.records for key in keys]
    if role is None:
        for index in (index for index, finished in enumerate(done) if not finished):
            record(index, Grade(None, "no_judge"), None)
    else:
        ask_in_chunks(role, asks, done, receive, chunk=chunk, label="verdicts")
    return [store.records[key] for key in keys]


def _ask(item: BenchmarkItem, answer: str, charter: Charter, max_tokens: int, seed: int) -> Ask:
    return Ask(
        key=f"{item.id}/judge",
        messages=grading_messages(
            charter,
            _language(item),
            question=item.question,
            answer=answer,
            rubric=item.rubric,
            reference=item.reference,
        ),
        max_tokens=max_tokens,
        seed=derive_seed(seed, item.id, "judge"),
        json_schema=grade_schema(_language(item)),
    )


def _is_answered(answered: dict[str, Any]) -> bool:
    """Whether there is a text to judge; every other finish reason names what went wrong."""
    return answered["finish_reason"] in ("stop", "length")


def _language(item: BenchmarkItem) -> Language:
    """The item's language as the charter's type: `benchmark.misfit` has checked it."""
    return cast(Language, item.lang)
