"""A panel of judges: from all verdicts on an answer to one score, and to each judge's own.

A judge's score of an answer is the mean of its verdicts that have one (samples, prompt languages);
the panel's is the mean over the judges that scored it. What has no score is bounded both ways: as
if each missing verdict had been the lowest score, and the highest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from statistics import fmean
from typing import Any

from vcjax.core.seeds import derive_seed
from vcjax.roles.cache import SPENT
from vcjax.roles.verdict import AXES, HIGHEST, LOWEST
from vcjax.stats.intervals import interval_record, mean_interval

SCALE = (float(LOWEST), float(HIGHEST))

Record = dict[str, Any]
Records = list[Record]


def by_judge(records: Sequence[Record]) -> dict[str, Records]:
    """Each judge's score records, in their order, by the judges' names, sorted."""
    found: dict[str, Records] = defaultdict(list)
    for record in records:
        if record.get("judge") is not None:
            found[record["judge"]].append(record)
    return dict(sorted(found.items()))


def last_verdicts(records: Iterable[Record]) -> Records:
    """The last record of each verdict; there are several where the model or its answer changed."""
    # Without the answer's hash: of an answer that was replaced, the last verdict is about the one
    # that is there.
    fields = ("id", "judge", "sample", "prompt_lang")
    return list({tuple(record.get(name) for name in fields): record for record in records}.values())


def combine(records: Sequence[Record]) -> Records:
    """One score record for each answer, in the order of the first record of each.

    Where there is one verdict on an answer it is that record itself. Otherwise `judge` and `family`
    name all judges, `score` and `axes` are means, `reason` and `reply` are None, `unscored` has the
    reasons if nobody scored it, and `bounds` has the least and the greatest score that the missing
    verdicts leave possible. Either kind has `spent`: of several verdicts it is their sum, and None
    where that of one isn't known; so is a cost in it.
    """
    answers: dict[tuple[str, str | None], Records] = defaultdict(list)
    for record in records:
        answers[record["id"], record.get("answer_hash")].append(record)
    judges = list(by_judge(records))
    return [_combined(own, judges) for own in answers.values()]


def bounds(record: Record) -> tuple[float, float]:
    """The least and the greatest score that a (combined) record's answer can have had."""
    if "bounds" in record:
        low, high = record["bounds"]
        return low, high
    score = record["score"]
    return (LOWEST, HIGHEST) if score is None else (score, score)


def score_statistics(records: Sequence[Record], seed: int, confidence: float) -> Record:
    """`{scored, unscored, total, mean, low, high, unscored_as_0, unscored_as_5}` of combined
    records, of which there is at least one; see `summary.summarise`."""
    scored = [record["score"] for record in records if record["score"] is not None]
    interval = mean_interval(scored, scale=SCALE, confidence=confidence, seed=seed)
    # Unscored answers may differ from the scored ones, so the mean is also bounded by giving all of
    # them the lowest score, and the highest.
    totals = [sum(ends) for ends in zip(*map(bounds, records), strict=True)]
    return {
        "scored": len(scored),
        "unscored": len(records) - len(scored),
        "total": sum(scored),
        "mean": interval.value,
        "low": interval.low,
        "high": interval.high,
        **{
            f"unscored_as_{score}": {"total": total, "mean": total / len(records)}
            for score, total in zip((LOWEST, HIGHEST), totals, strict=True)
        },
    }


def axis_means(
    records: Sequence[Record], seed: int, confidence: float
) -> dict[str, dict[str, Record]] | None:
    """By language, the mean on each of `verdict.AXES` with its interval; None where none was asked.

    Args:
      records: combined ones.
    """
    if all(record.get("axes") is None for record in records):
        return None
    languages: dict[str, dict[str, list[float]]] = {}
    for record in sorted(records, key=lambda record: record["id"]):
        own = languages.setdefault(record["lang"], {axis: [] for axis in AXES})
        for axis, value in (record.get("axes") or {}).items():
            own[axis].append(value)
    return {
        lang: {
            axis: interval_record(
                mean_interval(
                    values,
                    scale=SCALE,
                    confidence=confidence,
                    seed=derive_seed(seed, "axes", lang, axis),
                ),
                "mean",
            )
            for axis, values in own.items()
        }
        for lang, own in sorted(languages.items())
    }


def judge_summary(records: Sequence[Record], seed: int, confidence: float) -> Record:
    """What one judge's records show by themselves.

    Returns (JSON-serialisable):
      family, verdicts, failed: verdicts are all that it was asked for, failed those without score.
      unscored: number of failed verdicts by reason.
      scores: number of verdicts by score.
      languages: by language of the item, `score_statistics` and `n` of its scores of the answers.
      prompt_languages: likewise of its verdicts by the language of the prompt.
      axes: see `axis_means`.
    """
    records = sorted(records, key=_order)
    combined = combine(records)

    def parts(members: Sequence[Record], field: str) -> dict[str, Record]:
        groups: dict[str, Records] = defaultdict(list)
        for record in members:
            groups[record.get(field) or record["lang"]].append(record)
        return {
            name: {
                "n": len(own),
                **score_statistics(own, derive_seed(seed, field, name), confidence),
            }
            for name, own in sorted(groups.items())
        }

    scored = [record["score"] for record in records if record["score"] is not None]
    return {
        "family": records[0].get("family"),
        "verdicts": len(records),
        "failed": len(records) - len(scored),
        "unscored": _counts(record["unscored"] for record in records if record["unscored"]),
        "scores": _counts(f"{score:g}" for score in scored),
        "languages": parts(combined, "lang"),
        "prompt_languages": parts(records, "prompt_lang"),
        "axes": axis_means(combined, seed, confidence),
    }


def _combined(records: Records, judges: Sequence[str]) -> Record:
    # As it is, with its reason and reply: a single judge's scores are whole, and stay so. Those of
    # earlier versions may lack what was spent.
    if len(records) == 1:
        return {SPENT: None, **records[0]}
    # Judges are asked side by side, and their records are in the order of their replies.
    records = sorted(records, key=lambda record: (record["judge"], *_order(record)))
    judged = by_judge(records)
    own = [_merged(judged[judge]) for judge in judges if judge in judged]
    scores = [each["score"] for each in own if each["score"] is not None]
    return {
        **records[0],
        "judge": ", ".join(judges),
        "family": ", ".join(dict.fromkeys(record["family"] for record in records)),
        "score": _mean(scores),
        "unscored": None if scores else _reasons(records),
        "reason": None,
        "reply": None,
        "axes": _mean_axes([each["axes"] for each in own if each["axes"]]),
        "bounds": [_mean([ends[end] for ends in map(bounds, own)]) for end in (0, 1)],
        SPENT: _spent(records),
    }


def _spent(records: Records) -> Record | None:
    """What all the verdicts have cost; None where that of one isn't known."""
    known = [record[SPENT] for record in records if record.get(SPENT)]
    if len(known) < len(records):
        return None
    costs = [own["cost"] for own in known]
    return {
        "model": ", ".join(dict.fromkeys(own["model"] for own in known)),
        **{name: sum(own[name] for own in known) for name in ("prompt_tokens", "tokens")},
        "cost": None if None in costs else fsum(costs),
    }


def _merged(records: Records) -> Record:
    """Combines one judge's verdicts on one answer."""
    scores = [record["score"] for record in records if record["score"] is not None]
    axes = [record["axes"] for record in records if record.get("axes")]
    return {
        "score": _mean(scores),
        "axes": _mean_axes(axes),
        "bounds": [_mean([ends[end] for ends in map(bounds, records)]) for end in (0, 1)],
    }


def _reasons(records: Records) -> str:
    return "; ".join(sorted({record["unscored"] for record in records if record["unscored"]}))


def _mean(values: Sequence[float]) -> float | None:
    # Exactly rounded, so that the order of the judges doesn't change a digit.
    return fmean(values) if values else None


def _mean_axes(axes: Sequence[Mapping[str, float]]) -> dict[str, float | None] | None:
    return {axis: _mean([each[axis] for each in axes]) for axis in AXES} if axes else None


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _order(record: Record) -> tuple[Any, ...]:
    return record["id"], record.get("sample", 0), record.get("prompt_lang") or ""
