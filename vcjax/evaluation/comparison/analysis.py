"""All runs with the first, question by question: what differs, and what could have been found.

What a report puts into words belongs to a family of tests; the families share its rate of false
alarms. `languages` has every run's change in each language and in all of them, `domains` has each
domain's likewise, `stance` the shifts on each dimension of a questionnaire, and `choice` the
changes of the accuracy on multiple choice in each language. Holm's method corrects within a family.
So where nothing changed, a report says so of everything with the probability of its confidence or
more.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.comparison.comparable import comparable, on_the_same_questions
from vcjax.evaluation.comparison.differences import (
    ALL,
    clusters_of,
    compare,
    paired,
    sides_of,
    split,
)
from vcjax.evaluation.comparison.judge_errors import JudgeErrors, corrected_differences
from vcjax.evaluation.comparison.options import (
    CATEGORY,
    CHOICE,
    STANCE,
    OptionPairs,
    option_notes,
    option_pairs,
    option_results,
)
from vcjax.evaluation.comparison.runs import Record, ScoredRun
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import corrected, readings
from vcjax.stats.power import detectable_difference

FAMILIES = ("languages", "domains", STANCE, CHOICE)
MEASURES = ("judge", "all_checks")
# The usual one; nothing depends on it but `detectable`.
POWER = 0.8
PUBLISHED = {
    "name": "VC-LLM, as published",
    "source": "arXiv 2601.13137",
    "questions": 174,
    "languages": {"zh": {"total": 836, "mean": 4.80}, "en": {"total": 799, "mean": 4.59}},
}
"""The paper's own totals: of other questions, another judge and another rubric than ours, so that
they stand beside our numbers and are never compared with them."""
Key = tuple[str, ...]
"""The run, its domain if any, the language or `all`, and the measure; or the run, and what
`options.option_pairs` names."""


def compare_runs(
    runs: Sequence[ScoredRun],
    *,
    errors: JudgeErrors | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Compares each run with the first.

    Returns (JSON-serialisable):
      runs: `{name, path, tool, about, questions, scored, problems}` of each, the baseline first.
      questions: how many are compared; of how many the runs differ, by run (`left_out`).
      measures: which of `judge` and `all_checks` the runs have.
      families: by family, how many `tests` there are, and at which `level` the family errs.
      comparisons: by run, what `differences.compare` returns, where each difference that belongs to
        a family has `family`, `p_corrected`, `reading` and `detectable`, too: the smallest
        difference that would have been found with probability POWER at the level of the family's
        strictest test. Of runs that both have measured them, also `stance` and `choice`, see
        `options.option_results`.
      table: see `score_table`; `published` has the paper's numbers, which are of other
        questions.
      judge_errors: `{threshold, comparisons}`, the latter by run what
        `judge_errors.corrected_differences` returns; None without `errors`.
      notes: what a reader must know of how the runs were made comparable.

    Args:
      errors: how often the judge errs, where that was measured.

    Raises:
      UserError: fewer than two runs; runs that can't be compared.
    """
    if len(runs) < 2:
        raise UserError("--runs: name at least two runs; the first is the baseline")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise UserError(f"--runs: two are named {max(names, key=names.count)!r}; give --names")
    runs, notes = comparable(runs)
    runs, left_out, more = on_the_same_questions(runs)
    first, *others = runs
    measures = [measure for measure in MEASURES if _has(runs, measure)]
    if not measures:
        raise UserError("the runs have neither scores nor checks in common: nothing to compare")
    comparisons, pairs = {}, {}
    options: dict[Key, OptionPairs] = {}
    option_records: dict[Key, Record] = {}
    for run in others:
        pairs[run.name] = paired(first.records, run.records)
        comparisons[run.name] = compare(
            first.records,
            run.records,
            held_out=first.held_out,
            scale=first.scale,
            seed=derive_seed(seed, run.name),
            confidence=confidence,
        )
        found = {}
        for key, own in option_pairs(first, run).items():
            found[key] = own.record(derive_seed(seed, run.name, *key), confidence)
            options[run.name, *key] = own
            option_records[run.name, *key] = found[key]
        comparisons[run.name] |= option_results(found)
    families = _families(comparisons, measures, runs)
    for key, record in option_records.items():
        if key[1] != CATEGORY:
            families[key[1]][key] = record
    # A family without members shares nothing: the others err at a higher level each.
    families = {name: members for name, members in families.items() if members}
    tested = [name for name, members in families.items() if corrected(_intervals(members))]
    # Bonferroni among families, so that each may correct within itself and gets no weaker by what
    # the others measure.
    level = (1 - confidence) / max(1, len(tested))

    def detectable(key: Key, level: float) -> float | None:
        own_seed = derive_seed(seed, "detectable", *key)
        if key in options:
            return options[key].detectable(level, POWER, own_seed)
        return _detectable(key, pairs, first, level, own_seed)

    for name, members in families.items():
        _read(members, name, level, confidence)
        _find_detectable(members, level, detectable)
    return {
        "runs": [_about(run, left_out[run.name]) for run in runs],
        "questions": {
            "compared": len(first.records),
            "languages": {
                lang: len(own) for lang, own in split(list(first.records), "lang").items()
            },
            "domains": len({record["domain"] for record in first.records}),
        },
        "domain_names": {name: dict(by) for name, by in first.domain_names.items()},
        "held_out": sorted(first.held_out & {record["domain"] for record in first.records}),
        "scale": list(first.scale) if first.scale else None,
        "measures": measures,
        "seed": seed,
        "confidence": confidence,
        "power": POWER,
        "families": {
            name: {"tests": len(corrected(_intervals(members))), "level": level}
            for name, members in families.items()
            if name in tested
        },
        "comparisons": comparisons,
        "table": score_table({run.name: run.records for run in runs}, measures[0]),
        "published": PUBLISHED,
        "judge_errors": errors
        and {
            "threshold": errors.threshold,
            "comparisons": {
                name: corrected_differences(own, errors, seed=seed, confidence=confidence)
                for name, own in pairs.items()
            },
        },
        "notes": [*notes, *more, *option_notes(runs)],
    }


def score_table(runs: Mapping[str, Sequence[Record]], measure: str) -> dict[str, Any]:
    """The paper's table in shape: by language, the total and the mean of each run, in all and by
    domain.

    Only questions count that every run has a value of, so that totals are of the same questions.

    Args:
      runs: records by the run's name, of the same questions in the same order.
      measure: `judge`, or `all_checks` for the number of answers that pass every check.

    Returns:
      `{measure, languages: {lang: {n, runs: {name: {total, mean}}, domains: {domain: {n, runs}}}}}`
    """
    rows = []
    for records in zip(*runs.values(), strict=True):
        values = [_value_of(record, measure) for record in records]
        # Of the questions that all runs have a value of: else a run's total would grow by what
        # others lack.
        if None not in values:
            known = {field: records[0][field] for field in ("lang", "domain")}
            rows.append({**known, "values": dict(zip(runs, values, strict=True))})
    languages = {
        lang: {
            **_totals(own, list(runs)),
            "domains": {
                domain: _totals(each, list(runs)) for domain, each in split(own, "domain").items()
            },
        }
        for lang, own in split(rows, "lang").items()
    }
    return {"measure": measure, "languages": languages}


def _has(runs: Sequence[ScoredRun], measure: str) -> bool:
    if measure == "judge":
        return all(run.judged for run in runs)
    return all(any(record["checks"] for record in run.records) for run in runs)


def _families(
    comparisons: Mapping[str, Any], measures: Sequence[str], runs: Sequence[ScoredRun]
) -> dict[str, dict[Key, Record]]:
    """The records of the differences in each family, by their keys.

    A judge that gives every answer of every run one score tests nothing.
    """
    scores = {record["score"] for run in runs for record in run.records} - {None}
    tested = [each for each in measures if each != "judge" or len(scores) > 1]
    families: dict[str, dict[Key, Record]] = {name: {} for name in FAMILIES}
    for name, comparison in comparisons.items():
        langs = list(comparison["languages"])
        for lang in [*langs, *([ALL] if len(langs) > 1 else [])]:
            parts = comparison[ALL] if lang == ALL else comparison["languages"][lang]
            for measure in tested:
                families["languages"][name, lang, measure] = parts[measure]
            if len(comparison["domains"]) > 1 and tested:
                for domain, languages in comparison["domains"].items():
                    if lang in languages:
                        record = languages[lang][tested[0]]
                        families["domains"][name, domain, lang, tested[0]] = record
    return families


def _intervals(members: Mapping[Key, Record]) -> dict[Key, Interval]:
    return {key: Interval.of(record, "difference") for key, record in members.items()}


def _read(members: Mapping[Key, Record], family: str, level: float, confidence: float) -> None:
    """Adds the family, the corrected p-value and the reading to each record."""
    intervals = _intervals(members)
    p_values, words = corrected(intervals), readings(intervals, 1 - level)
    for key, record in members.items():
        p = p_values.get(key)
        # On the scale of the whole report: at most one less its confidence where it reads as a
        # change.
        whole = None if p is None else min(1.0, p * (1 - confidence) / level)
        record.update(family=family, p_corrected=whole, reading=words[key])


def _find_detectable(
    members: Mapping[Key, Record], level: float, detectable: Callable[[Key, float], float | None]
) -> None:
    tested = [key for key, record in members.items() if record["p_corrected"] is not None]
    for key, record in members.items():
        # At the level of the smallest p-value, Holm's strictest: what is found there is found
        # whatever the others are.
        record["detectable"] = detectable(key, level / len(tested)) if key in tested else None


def _detectable(
    key: Key, pairs: Mapping[str, list[Record]], first: ScoredRun, level: float, seed: int
) -> float | None:
    name, *domain, lang, measure = key
    own = [
        pair
        for pair in pairs[name]
        if (lang in (ALL, pair["lang"])) and domain in ([], [pair["domain"]])
    ]
    having, before, after = sides_of(own, measure)
    return detectable_difference(
        before,
        after,
        clusters_of(having)[1],
        scale=first.scale if measure == "judge" else None,
        level=level,
        power=POWER,
        seed=seed,
    )


def _about(run: ScoredRun, left_out: int) -> dict[str, Any]:
    return {
        "name": run.name,
        "path": str(run.path),
        "tool": run.tool,
        "about": run.about,
        "questions": len(run.records) + left_out,
        "left_out": left_out,
        "scored": sum(record["score"] is not None for record in run.records),
        "problems": list(run.problems),
    }


def _value_of(record: Record, measure: str) -> float | None:
    if measure == "judge":
        return record["score"]
    checks = record["checks"]
    return None if checks is None else all(checks.values())


def _totals(rows: Sequence[Record], runs: Sequence[str]) -> dict[str, Any]:
    totals = {name: sum(row["values"][name] for row in rows) for name in runs}
    cells = {name: {"total": total, "mean": total / len(rows)} for name, total in totals.items()}
    return {"n": len(rows), "runs": cells}
