"""The measures by name, and those of a config after the benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.core.files import write_json
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark, sample
from vcjax.evaluation.measures.choice import Choice
from vcjax.evaluation.measures.consistency import Consistency
from vcjax.evaluation.measures.fact_pushback import FactPushback
from vcjax.evaluation.measures.factual import Factual
from vcjax.evaluation.measures.faking import Faking
from vcjax.evaluation.measures.measure import Measure
from vcjax.evaluation.measures.pushback import Pushback
from vcjax.evaluation.measures.refusal import Refusal
from vcjax.evaluation.measures.stance import Stance
from vcjax.evaluation.subject import Subject
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import corrected

MEASURES: dict[str, type[Measure]] = {
    "consistency": Consistency,
    "pushback": Pushback,
    "fact_pushback": FactPushback,
    "refusal": Refusal,
    "faking": Faking,
    "factual": Factual,
    "stance": Stance,
    "choice": Choice,
}
"""The measures by name, in the order of the report."""


def measures_named(names: str) -> tuple[str, ...]:
    """The measures of a config, in the order of the report.

    Args:
      names: comma-separated; empty for none.

    Raises:
      UserError: no measure has such a name.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in MEASURES:
            known = ", ".join(MEASURES)
            hint = suggest(name, MEASURES)
            raise UserError(f"config.measures: no measure {name!r} ({known}){hint}")
    # In one order whatever the user's is, so that a run that is extended has the same report.
    return tuple(name for name in MEASURES if name in chosen)


def open_measures(
    names: Sequence[str],
    charter: Charter,
    benchmark: Benchmark,
    *,
    per_domain_and_language: int | None,
    seed: int,
    sections: Mapping[str, Any] | None = None,
) -> dict[str, Measure]:
    """The measures with their inputs, read and checked.

    Args:
      benchmark: what the evaluation asks, maybe a sample already.
      per_domain_and_language: size of the sample that each measure asks; None for all there is.
      sections: by measure, the settings of those that have any.

    Raises:
      UserError: see `Measure`.
    """

    def drawn(items: Sequence[BenchmarkItem]) -> Sequence[BenchmarkItem]:
        if per_domain_and_language is None:
            return items
        return sample(items, per_domain_and_language, seed)

    def opened(name: str) -> Measure:
        own = {"settings": sections[name]} if sections and name in sections else {}
        return MEASURES[name](charter, benchmark, drawn, **own)

    return {name: opened(name) for name in names}


def measure(
    measures: Mapping[str, Measure], subject: Subject, summary: dict[str, Any], workdir: Path
) -> dict[str, Any]:
    """Runs the measures, each in its folder of the workdir, and writes them into summary.json.

    After a kill, another call asks only what is missing and returns the same.

    Args:
      summary: of the benchmark, see `vcjax.evaluation.run.evaluate`.

    Returns the summary with `measures`: by name what `Measure.run` returned. Their tests have a
    field `corrected`: the p-value, by Holm's method, among all tests of all these measures; None
    where there are too few pairs.
    """
    parts = {name: each.run(subject, workdir, workdir / name) for name, each in measures.items()}
    tests = {
        (name, test): record
        for name, part in parts.items()
        for test, record in part.get("tests", {}).items()
    }
    # All measures are one family: who asks for many of them looks at whichever stands out.
    p = corrected({key: Interval.of(record, "difference") for key, record in tests.items()})
    for key, record in tests.items():
        record["corrected"] = p.get(key)
    summary = {**summary, "measures": parts}
    write_json(workdir / "summary.json", summary)
    return summary
