"""A judge scores the answers by the charter; the charter's own checks are run, too."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, cast

from vcjax.charter.schema import Charter
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.roles.cache import CallCache, Key, fingerprint
from vcjax.roles.grading import grading_messages
from vcjax.roles.role import Ask, Role
from vcjax.roles.verdict import Grade, grade_schema, parse_grade
from vcjax.text.language import Language

SCORE_KEY = ("id", "fingerprint")


def judge(
    items: Sequence[BenchmarkItem],
    answers: Sequence[dict[str, Any]],
    role: Role | None,
    charter: Charter,
    cache: CallCache,
    *,
    seed: int,
    max_tokens: int = 384,
    chunk: int = 32,
    begun_with: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Scores each answer that `cache` has no record of; returns the records in item order.

    A score record is `{id, fingerprint, answer_hash, parallel_id, domain, lang, judge, family,
    score, unscored, reason, reply, checks}`: `reply` is the judge's text, and `checks` maps
    '<principle>/<check>' to whether the answer passed it. A question that got no answer (its model
    timed out, for example) isn't judged: `unscored` is `no answer: <why>`, and `checks` is None.

    Args:
      answers: answer records, one for each of `items`, in the same order.
      role: the judge; None runs the checks alone and leaves every answer unscored (`no_judge`).
      cache: keyed by `SCORE_KEY`.
      begun_with: see `vcjax.evaluation.answering.answer`.
    """
    name, family = (None, None) if role is None else (role.model, role.family)
    asks = [
        _ask(item, answered["answer"], charter, max_tokens, seed)
        for item, answered in zip(items, answers, strict=True)
    ]

    def keys_for(model: str | None) -> list[Key]:
        return [
            (item.id, fingerprint(model, asdict(ask), charter.content_hash, each["answer_hash"]))
            for item, ask, each in zip(items, asks, answers, strict=True)
        ]

    keys = keys_for(None if role is None else role.identity)
    if role is not None and role.identity in begun_with:
        cache.adopt(keys, keys_for(name))

    def record(index: int, grade: Grade, reply: str | None = None) -> dict[str, Any]:
        item, answered = items[index], answers[index]
        return {
            **dict(zip(SCORE_KEY, keys[index], strict=True)),
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
            "checks": _checks(charter, item, answered),
        }

    # Not judged, as a judge scores an empty answer low: a timeout would count as a bad answer.
    for index, (key, answered) in enumerate(zip(keys, answers, strict=True)):
        if key not in cache.records and not is_answered(answered):
            cache.append(record(index, Grade(None, f"no answer: {answered['finish_reason']}")))
    if role is None:
        for index, key in enumerate(keys):
            if key not in cache.records:
                cache.append(record(index, Grade(None, "no_judge")))
    else:
        cache.ask(
            role,
            asks,
            keys,
            lambda index, reply: record(index, parse_grade(reply), reply.text),
            chunk=chunk,
            label="verdicts",
        )
    return [cache.records[key] for key in keys]


def _checks(
    charter: Charter, item: BenchmarkItem, answered: dict[str, Any]
) -> dict[str, bool] | None:
    """Whether the answer passes each of the charter's checks; None where there is no answer."""
    if not is_answered(answered):
        return None
    results = charter.run_checks(
        question=item.question,
        answer=answered["answer"],
        lang=_language(item),
        subdomain=item.domain,
    )
    return {key: result.passed for key, result in results.items()}


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


def is_answered(answered: dict[str, Any]) -> bool:
    """Whether there is a text to judge; any other finish reason names a failure."""
    return answered["finish_reason"] in ("stop", "length")


def _language(item: BenchmarkItem) -> Language:
    """The item's language as the charter's type: `benchmark.misfit` has checked it."""
    return cast(Language, item.lang)
