"""From records to numbers: what a model scored, where, and with what uncertainty."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from vcjax.core.seeds import derive_seed
from vcjax.evaluation.judging.length import length_slope
from vcjax.evaluation.judging.panel import (
    axis_means,
    by_judge,
    combine,
    judge_summary,
    score_statistics,
)
from vcjax.evaluation.judging.reliability import agreement
from vcjax.stats.intervals import (
    RATE,
    Interval,
    interval_record,
    mean_interval,
    rate_interval,
)

Record = dict[str, Any]
Records = list[Record]
"""Score records, sorted by id so that their order doesn't change a number."""


def summarise(
    answers: Sequence[Record],
    scores: Sequence[Record],
    *,
    held_out: Collection[str] = (),
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Summarises answer records and their score records, whose order is of no consequence.

    Of several verdicts on an answer the panel's combined score counts; see `judging.panel`.

    Returns (JSON-serialisable, keys in a fixed order):
      languages, held_out, trained: by language, `{n, truncated, scored, unscored, total, mean, low,
        high, unscored_as_0, unscored_as_5}`. `total` to `high` are of the scored answers; the last
        two are `{total, mean}` of all, as if each unscored one had been given that score.
        `truncated` counts answers that max_tokens cut off.
      domains: the same by domain, then language.
      unscored: number of unscored answers by reason.
      checks: by language and check, `{passed, n, rate, low, high}`.
      all_checks: `overall`, and `languages`, `held_out`, `trained` by language: the same for
        answers that passed every check that applied to them. Questions without an answer are in
        neither.
      axes: by language, the means of `verdict.AXES`; None where they weren't asked for.
      judges: by judge, `judging.panel.judge_summary` of its own verdicts, and under `length` how
        its score rises with the answer's length (`judging.length.length_slope`).
      agreement: of judges with each other, with people and with themselves, where there are several
        verdicts on an answer; see `judging.reliability.agreement`.

    Args:
      held_out: domains that are kept out of training.

    Raises:
      ValueError: the scores aren't of these answers, each of them.
    """
    records = _joined(answers, combine(scores))
    checked = [record for record in records if record["checks"] is not None]
    checked_groups = _by_language(checked, held_out)
    domains = {
        domain: _split(members, "lang") for domain, members in _split(records, "domain").items()
    }
    texts = {record["id"]: record.get("answer", "") for record in answers}
    reasons = Counter(record["unscored"] for record in records if record["unscored"])

    def statistics(members: Records, *name: str) -> Record:
        found = score_statistics(members, derive_seed(seed, "summary", *name), confidence)
        truncated = sum(record["truncated"] for record in members)
        return {"n": len(members), "truncated": truncated, **found}

    def all_passed(members: Records) -> Record:
        passed = list(map(_passed_all, members))
        # Versions of one question in several languages are alike.
        versions = [record["parallel_id"] for record in members]
        return _rate(passed, mean_interval(passed, versions, scale=RATE, confidence=confidence))

    return {
        **_each_language(_by_language(records, held_out), statistics),
        "domains": _each_language(
            domains, lambda members, domain, lang: statistics(members, "domains", domain, lang)
        ),
        "unscored": dict(sorted(reasons.items())),
        "checks": {
            lang: _check_rates(members, confidence)
            for lang, members in checked_groups["languages"].items()
        },
        "all_checks": {
            "overall": all_passed(checked),
            **_each_language(checked_groups, lambda members, group, lang: all_passed(members)),
        },
        "axes": axis_means(records, seed, confidence),
        "judges": {
            name: {
                **judge_summary(own, derive_seed(seed, "judges", name), confidence),
                "length": interval_record(length_slope(combine(own), texts, confidence)),
            }
            for name, own in by_judge(scores).items()
        },
        "agreement": agreement(scores, seed=seed, confidence=confidence),
    }


def _joined(answers: Sequence[Record], scores: Sequence[Record]) -> Records:
    def keys(records: Sequence[Record]) -> list[tuple[str, str]]:
        return sorted((record["id"], record["answer_hash"]) for record in records)

    # With the hashes: scores of a model that has changed since would be of other answers.
    if keys(answers) != keys(scores):
        raise ValueError("the scores aren't exactly one for each answer")
    finish = {record["id"]: record["finish_reason"] for record in answers}
    joined = [{**record, "truncated": finish[record["id"]] == "length"} for record in scores]
    return sorted(joined, key=lambda record: record["id"])


def _by_language(records: Records, held_out: Collection[str]) -> dict[str, dict[str, Records]]:
    """All records, those of held-out domains and those of the others, each by language."""
    groups = {
        "languages": records,
        "held_out": [record for record in records if record["domain"] in held_out],
        "trained": [record for record in records if record["domain"] not in held_out],
    }
    return {group: _split(members, "lang") for group, members in groups.items()}


def _split(records: Records, field: str) -> dict[str, Records]:
    parts: dict[str, Records] = defaultdict(list)
    for record in records:
        parts[record[field]].append(record)
    return dict(sorted(parts.items()))


def _each_language(
    groups: Mapping[str, Mapping[str, Records]], function: Callable[[Records, str, str], Record]
) -> dict[str, dict[str, Record]]:
    """`function(members, group, language)` for each language of each group, in the same tree."""
    return {
        group: {lang: function(members, group, lang) for lang, members in languages.items()}
        for group, languages in groups.items()
    }


def _check_rates(records: Records, confidence: float) -> dict[str, Record]:
    """The rate of the answers that pass each check, among those that it applies to."""
    passed: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        for check, result in record["checks"].items():
            passed[check].append(result)
    return {
        check: _rate(values, rate_interval(sum(values), len(values), confidence))
        for check, values in sorted(passed.items())
    }


def _passed_all(record: Record) -> bool:
    return all(record["checks"].values())


def _rate(passed: Sequence[bool], interval: Interval) -> Record:
    return {
        "passed": sum(passed),
        "n": interval.n,
        "rate": interval.value,
        "low": interval.low,
        "high": interval.high,
    }
