"""The paper's table in shape: models by domains by languages, total and mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.evaluation.comparison.differences import Record, split

PUBLISHED = {
    "name": "VC-LLM, as published",
    "source": "arXiv 2601.13137",
    "questions": 174,
    "languages": {"zh": {"total": 836, "mean": 4.80}, "en": {"total": 799, "mean": 4.59}},
}
"""The paper's own totals: of other questions, another judge and another rubric than ours, so that
they stand beside our numbers and are never compared with them."""


def score_table(runs: Mapping[str, Sequence[Record]], measure: str) -> dict[str, Any]:
    """By language, the total and the mean of each run, in all and by domain.

    Only questions count that every run has a value of, so that totals are of the same questions.

    Args:
      runs: records by the run's name, of the same questions in the same order.
      measure: `judge`, or `all_checks` for the number of answers that pass every check.

    Returns:
      `{measure, languages: {lang: {n, runs: {name: {total, mean}}, domains: {domain: {n, runs}}}}}`
    """
    rows = []
    for records in zip(*runs.values(), strict=True):
        values = [_value(record, measure) for record in records]
        if None not in values:
            known = {field: records[0][field] for field in ("lang", "domain")}
            rows.append({**known, "values": dict(zip(runs, values, strict=True))})
    languages = {
        lang: {
            **_cell(own, list(runs)),
            "domains": {
                domain: _cell(each, list(runs)) for domain, each in split(own, "domain").items()
            },
        }
        for lang, own in split(rows, "lang").items()
    }
    return {"measure": measure, "languages": languages}


def _value(record: Record, measure: str) -> float | None:
    if measure == "judge":
        return record["score"]
    checks = record["checks"]
    return None if checks is None else all(checks.values())


def _cell(rows: Sequence[Record], runs: Sequence[str]) -> dict[str, Any]:
    totals = {name: sum(row["values"][name] for row in rows) for name in runs}
    cells = {name: {"total": total, "mean": total / len(rows)} for name, total in totals.items()}
    return {"n": len(rows), "runs": cells}
