"""From records to numbers: what a model scored, where, and how sure that is."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.intervals import Interval, mean_interval, paired_difference, rate_record

Rows = list[dict[str, Any]]  # score records, sorted by id so that their order doesn't matter


def summarise(
    answers: Sequence[dict[str, Any]],
    scores: Sequence[dict[str, Any]],
    *,
    held_out: Collection[str] = (),
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Summarises answer records and their score records; the order of the records is no matter.

    Returns (JSON-serialisable, keys in a fixed order):
      languages, held_out, trained: by language, `{n, truncated, scored, unscored, total, mean, low,
        high, unscored_as_0, unscored_as_5}`. `total` to `high` are of the scored answers; the last
        two are `{total, mean}` of all, as if each unscored one had been given that score.
        `truncated` counts answers that max_tokens cut off.
      domains: the same by domain, then language.
      unscored: number of unscored answers by reason.
      checks: by language and check, `{passed, n, rate, low, high}`.
      all_checks: `overall`, and `languages`, `held_out`, `trained` by language: the same for
        answers that passed every check that applied to them. Questions that got no answer are in
        neither.

    Raises:
      ValueError: the scores aren't exactly one for each answer.
    """
    rows = _joined(answers, scores)
    groups = _by_language(rows, held_out)
    checked = [row for row in rows if row["checks"] is not None]

    def stats(members: Rows, *name: str) -> dict[str, Any]:
        return _score_statistics(members, derive_seed(seed, "summary", *name), confidence)

    return {
        **{
            group: {lang: stats(members, group, lang) for lang, members in languages.items()}
            for group, languages in groups.items()
        },
        "domains": {
            domain: {
                lang: stats(part, "domains", domain, lang)
                for lang, part in _split(members, "lang").items()
            }
            for domain, members in _split(rows, "domain").items()
        },
        "unscored": dict(sorted(Counter(r["unscored"] for r in rows if r["unscored"]).items())),
        "checks": {
            lang: {
                check: _rate(
                    [r["checks"][check] for r in members if check in r["checks"]], confidence
                )
                for check in _checks(members)
            }
            for lang, members in _by_language(checked, held_out)["languages"].items()
        },
        "all_checks": {
            "overall": _rate(map(_passed_all, checked), confidence),
            **{
                group: {
                    lang: _rate(map(_passed_all, members), confidence)
                    for lang, members in languages.items()
                }
                for group, languages in _by_language(checked, held_out).items()
            },
        },
    }


def compare(
    before: Sequence[dict[str, Any]],
    after: Sequence[dict[str, Any]],
    *,
    held_out: Collection[str] = (),
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Compares the score records of two runs of one benchmark, question by question.

    Returns, under `languages`, `held_out` and `trained`, by language:
      judge: the difference of the judge's scores (after - before) over the questions that are
        scored on both sides; `unpaired` counts the others.
      all_checks: the difference of the rates at which every check was passed.
      checks: the same by check.
    A difference is `{n, before, after, difference, low, high}`, its interval a paired bootstrap's.

    Raises:
      UserError: the two have other questions, another judge or another charter's checks.
    """
    pairs = _paired(before, after)
    return {
        group: {
            lang: _differences(members, derive_seed(seed, "compare", group, lang), confidence)
            for lang, members in languages.items()
        }
        for group, languages in _by_language(pairs, held_out).items()
    }


def _joined(answers: Sequence[dict[str, Any]], scores: Sequence[dict[str, Any]]) -> Rows:
    def keys(records: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
        return sorted((record["id"], record["answer_hash"]) for record in records)

    if keys(answers) != keys(scores):
        raise ValueError("the scores aren't exactly one for each answer")
    finish = {record["id"]: record["finish_reason"] for record in answers}
    rows = [{**record, "truncated": finish[record["id"]] == "length"} for record in scores]
    return sorted(rows, key=lambda row: row["id"])


def _paired(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> Rows:
    """One row for each question: `{id, domain, lang, before, after}`."""
    old, new = ({record["id"]: record for record in records} for records in (before, after))
    if len(old) < len(before) or len(new) < len(after):
        raise UserError("a question has two scores in one run; compare one run with another")
    if old.keys() != new.keys():
        stray = min(old.keys() ^ new.keys())
        raise UserError(f"the runs have other questions ({stray!r} is in one only); evaluate alike")
    for id, record in old.items():
        if record["judge"] != new[id]["judge"]:
            raise UserError(f"the runs have other judges ({record['judge']}, {new[id]['judge']})")
        sides = record["checks"], new[id]["checks"]
        if None not in sides and sides[0].keys() != sides[1].keys():
            raise UserError(f"the runs have other checks of {id!r}; evaluate by one charter")
    return [
        {
            "id": id,
            "domain": old[id]["domain"],
            "lang": old[id]["lang"],
            "before": old[id],
            "after": new[id],
            # None where a side has no answer: it is in no difference of checks.
            "checks": None if new[id]["checks"] is None else old[id]["checks"],
        }
        for id in sorted(old)
    ]


def _by_language(rows: Rows, held_out: Collection[str]) -> dict[str, dict[str, Rows]]:
    """All rows, those of held-out domains and those of the others, each by language."""
    groups = {
        "languages": rows,
        "held_out": [row for row in rows if row["domain"] in held_out],
        "trained": [row for row in rows if row["domain"] not in held_out],
    }
    return {group: _split(members, "lang") for group, members in groups.items()}


def _split(rows: Rows, field: str) -> dict[str, Rows]:
    parts: dict[str, Rows] = defaultdict(list)
    for row in rows:
        parts[row[field]].append(row)
    return dict(sorted(parts.items()))


def _score_statistics(rows: Rows, seed: int, confidence: float) -> dict[str, Any]:
    scored = [row["score"] for row in rows if row["score"] is not None]
    unscored, total = len(rows) - len(scored), sum(scored)
    interval = mean_interval(scored, confidence, seed)
    bounds = {
        f"unscored_as_{score}": {
            "total": total + unscored * score,
            "mean": (total + unscored * score) / len(rows),
        }
        for score in (LOWEST, HIGHEST)
    }
    return {
        "n": len(rows),
        "truncated": sum(row["truncated"] for row in rows),
        "scored": len(scored),
        "unscored": unscored,
        "total": total,
        "mean": interval.value,
        "low": interval.low,
        "high": interval.high,
        **bounds,
    }


def _checks(rows: Rows) -> list[str]:
    return sorted({check for row in rows for check in row["checks"]})


def _passed_all(row: dict[str, Any]) -> bool:
    return all(row["checks"].values())


def _rate(passed: Iterable[bool], confidence: float) -> dict[str, Any]:
    values = list(passed)
    record = rate_record(sum(values), len(values), confidence)
    return {"passed": record.pop("k"), **record}


def _differences(pairs: Rows, seed: int, confidence: float) -> dict[str, Any]:
    def difference(sides: list[tuple[float, float]], name: str) -> dict[str, Any]:
        before, after = [side[0] for side in sides], [side[1] for side in sides]
        change = paired_difference(before, after, confidence, derive_seed(seed, name))
        return _difference(before, after, change)

    scores = [(pair["before"]["score"], pair["after"]["score"]) for pair in pairs]
    scored = [sides for sides in scores if None not in sides]
    checked = [pair for pair in pairs if pair["checks"] is not None]
    return {
        "judge": {
            **difference(scored, "judge"),
            "unpaired": len(scores) - len(scored),
        },
        "all_checks": difference(
            [(_passed_all(pair["before"]), _passed_all(pair["after"])) for pair in checked],
            "all_checks",
        ),
        "checks": {
            check: difference(
                [
                    (pair["before"]["checks"][check], pair["after"]["checks"][check])
                    for pair in checked
                    if check in pair["checks"]
                ],
                check,
            )
            for check in _checks(checked)
        },
    }


def _difference(before: list[float], after: list[float], change: Interval) -> dict[str, Any]:
    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    return {
        "n": change.n,
        "before": mean(before),
        "after": mean(after),
        "difference": change.value,
        "low": change.low,
        "high": change.high,
    }
