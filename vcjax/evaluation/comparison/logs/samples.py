"""What logs of other tools have in common: samples with named scores, of which one is compared."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.evaluation.comparison.runs import Record, ScoredRun, cleaned
from vcjax.stats.intervals import RATE, Scale

ANY_LANGUAGE = "und"
"""The language of samples of which it isn't known (BCP 47: undetermined)."""

_WORDS = {
    # Inspect's letters, of which a missing answer counts as wrong, as it does there.
    **{"C": True, "I": False, "P": 0.5, "N": False},
    **{"true": True, "false": False, "yes": True, "no": False},
    **{"pass": True, "fail": False, "passed": True, "failed": False},
}


@dataclass(frozen=True)
class LogOptions:
    """How a log is read.

    Attributes:
      metric: which score is compared; empty where there is only one.
      domain, language: fields of a sample that have its domain and its language.
      parallel: the field that is the same in the versions of a sample in several languages.
      scale: the ends of the scale; None takes 0 to 1 where all scores are within.
    """

    metric: str = ""
    domain: str = ""
    language: str = ""
    parallel: str = ""
    scale: Scale | None = None


@dataclass(frozen=True)
class Sample:
    """One answer to one question, as a tool logged it.

    Attributes:
      id: the same in each run; several samples with one id are epochs, whose mean counts.
      question: what must be the same in each run.
      scores: by the scorer's name.
      fields: of its metadata.
      group: its task, which is its domain where no field is.
      error: why it has no score.
      reasons: by the scorer's name why it has none of that one, where the tool logged it.
    """

    id: str
    question: str
    answer: str
    scores: Mapping[str, Any]
    fields: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    error: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """What a reader found in a file.

    Attributes:
      tool: what wrote it.
      samples: in its order.
      about: see `ScoredRun.about`.
      defaults: values where the user gives none, such as the tool's own verdict as metric; the
        scale is that of this metric.
      problems: what is wrong with it.
      judge: who gave the scores of the default metric, where that is known.
      identity, held_out: see `ScoredRun`.
    """

    tool: str
    samples: Sequence[Sample]
    about: dict[str, str]
    defaults: LogOptions = LogOptions()
    problems: tuple[str, ...] = ()
    judge: str = ""
    identity: Mapping[str, str | None] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()


def scored_run(log: Log, path: Path, name: str, options: LogOptions) -> ScoredRun:
    """The run that a log is, by one of its scores.

    Raises:
      UserError: several scores and none named, an unknown score or field, or no sample.
    """
    if not log.samples:
        raise UserError(f"{path}: has no samples")
    metric = _metric(log, path, options.metric)
    is_default = metric == log.defaults.metric
    options = LogOptions(
        metric=metric,
        domain=options.domain or log.defaults.domain,
        language=options.language or log.defaults.language,
        parallel=options.parallel or log.defaults.parallel,
        # The log's own scale is that of its own metric.
        scale=options.scale or (log.defaults.scale if is_default else None),
    )
    judge = (is_default and log.judge) or metric
    by_group: dict[str, list[Sample]] = defaultdict(list)
    for sample in log.samples:
        by_group[sample.group].append(sample)
    without = [
        group for group, own in by_group.items() if not any(metric in each.scores for each in own)
    ]
    problems = [*log.problems]
    if without:
        problems.append(f"Without the score {metric}, and left out: {', '.join(sorted(without))}")
    epochs: dict[str, list[Sample]] = defaultdict(list)
    for sample in log.samples:
        if sample.group not in without:
            epochs[sample.id].append(sample)
    values = [
        value
        for own in epochs.values()
        for value in (as_score(each.scores.get(metric)) for each in own)
        if isinstance(value, bool | int | float) and math.isfinite(value)
    ]
    scale = options.scale
    if scale is None and values and 0 <= min(values) <= max(values) <= 1:
        scale = RATE
    # Booleans have better intervals: a difference of rates is Tango's with McNemar's test.
    is_rate = scale in (None, RATE) and set(values) <= {0, 1}
    found = [_record(own, judge, is_rate, path, options) for own in epochs.values()]
    records, flaws = cleaned(found, scale)
    return ScoredRun(
        name=name,
        path=path,
        tool=log.tool,
        records=tuple(records),
        scale=scale,
        about={**log.about, "judge": judge},
        identity=dict(log.identity),
        held_out=log.held_out,
        problems=(*problems, *flaws),
    )


def as_score(value: Any) -> Any:
    """A logged value as a number or a boolean; what is none of these as it is."""
    if not isinstance(value, str):
        return value
    if value in _WORDS or value.lower() in _WORDS:
        return _WORDS.get(value, _WORDS.get(value.lower()))
    try:
        return float(value)
    except ValueError:
        return value


def _metric(log: Log, path: Path, wanted: str) -> str:
    names = list(dict.fromkeys(name for sample in log.samples for name in sample.scores))
    if not names:
        raise UserError(f"{path}: no sample has a score")
    if wanted:
        if wanted not in names:
            hint = suggest(wanted, names)
            raise UserError(f"--metric: {path} has no score {wanted!r}{hint} ({', '.join(names)})")
        return wanted
    if log.defaults.metric:
        return log.defaults.metric
    if len(names) > 1:
        raise UserError(f"--metric: {path} has several scores; name one of {', '.join(names)}")
    return names[0]


def _record(
    epochs: Sequence[Sample], judge: str, is_rate: bool, path: Path, options: LogOptions
) -> Record:
    first, metric = epochs[0], options.metric
    scores = [as_score(each.scores.get(metric)) for each in epochs]
    given = [score for score in scores if score is not None]
    odd = [score for score in given if not isinstance(score, bool | int | float)]
    if odd:
        score = odd[0]
    elif len(given) == 1:
        score = bool(given[0]) if is_rate and given[0] in (0, 1) else given[0]
    else:
        score = fmean(given) if given else None
    reasons = (each.reasons.get(metric) or each.error for each in epochs)
    unscored = next(filter(None, reasons), "no score")
    return {
        "id": first.id,
        "parallel_id": _field(first, options.parallel, "parallel_field", path) or first.id,
        "domain": _field(first, options.domain, "domain_field", path) or first.group,
        "lang": _field(first, options.language, "language_field", path) or ANY_LANGUAGE,
        "question": first.question,
        "answer": first.answer,
        "judge": judge,
        "score": score,
        "unscored": unscored if score is None else None,
        "checks": None,
    }


def _field(sample: Sample, name: str, flag: str, path: Path) -> str:
    if not name:
        return ""
    if name not in sample.fields:
        hint = suggest(name, sample.fields)
        known = ", ".join(sample.fields) or "none"
        raise UserError(
            f"--{flag}: {path}: sample {sample.id!r} has no field {name!r}{hint} (known: {known})"
        )
    return str(sample.fields[name])
