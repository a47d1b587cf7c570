"""Consistency: does an answer change with its question's wording, framing or language?

Every item is asked in its original wording, in paraphrases and in an opposing framing, in each
language, and judged by the same rubric. The original's answer is the benchmark's own.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark, Variants, load_variants, variant_files
from vcjax.evaluation.comparison.differences import difference_test
from vcjax.evaluation.measures.measure import (
    JUDGE,
    Measure,
    Sample,
    scale_of,
    unscored_reasons,
    value_kind,
    value_of,
)
from vcjax.evaluation.subject import Subject
from vcjax.evaluation.summary import Record, Records
from vcjax.stats.components import Component, largest_variance, variance_components
from vcjax.stats.intervals import (
    Interval,
    Scale,
    interval_record,
    mean_interval,
    rate_record,
)

ORIGINAL, OPPOSING = "original", "opposing"
CHANGE = {JUDGE: 2.0}
"""The smallest difference between two scores that counts as another verdict; of a check that is
passed or failed, it is 1."""

Values = Float[np.ndarray, "questions languages wordings"]


class Consistency(Measure):
    """See the head of this file, and `measure.Measure`."""

    def __init__(self, charter: Charter, benchmark: Benchmark, sample: Sample) -> None:
        variants, items = load_variants(benchmark.name), sample(benchmark.items)
        self._items = [item for item in items if item.id in variants]
        self._left_out = len(items) - len(self._items)
        if not self._items:
            raise UserError(
                f"config.measures: consistency needs variants of the items of {benchmark.name}, "
                "and no item that is asked has any"
            )
        self._variants = [variants[item.id] for item in self._items]
        # As many of each item as the one with the fewest has.
        paraphrases = min(len(each.paraphrases) for each in self._variants)
        self._wordings = (
            ORIGINAL,
            *(f"paraphrase-{number}" for number in range(1, paraphrases + 1)),
            OPPOSING,
        )
        if not benchmark.is_shipped:
            self.inputs = variant_files(benchmark.name)

    def run(self, subject: Subject, workdir: Path, folder: Path) -> dict[str, Any]:
        """Returns (JSON-serialisable):
        kind: `judge` or `checks`, see `measure.JUDGE`.
        change: the difference between two values that counts as a change.
        questions, complete: how many there are, and how many have a value for every wording in
          every language. Only these are in the numbers, except for `wordings`.
        left_out: how many items have no variants and aren't asked.
        wordings: their names; the last is the opposing framing, the others are neutral.
        unscored: number of answers without a value, by reason.
        languages: by language, `wordings` (the mean of each), `within` (the variance between the
          wordings of a question) and `changed` (the share of questions whose value changes with a
          paraphrase, and with the opposing framing).
        changed: the share of questions whose value changes between `languages`, and for `any` of
          these reasons.
        components: by cause, the variance, see `vcjax.stats.components`.
        tests: by language the difference that the opposing framing makes (`framing/<language>`);
          and between the languages, over all questions (`gap`) and by domain (`gap/<domain>`).
        """
        answers = subject.answers(self._items, workdir)
        scores = subject.scores(self._items, answers, workdir)
        others = [item for wording in self._wordings[1:] for item in self._worded(wording)]
        answers = subject.answers(others, folder)
        scores += subject.scores(others, answers, folder)
        kind, settings = value_kind(subject), subject.settings
        return {
            "kind": kind,
            "left_out": self._left_out,
            **summarise(
                scores,
                self._wordings,
                kind,
                seed=settings.seed,
                confidence=settings.confidence,
            ),
        }

    def _worded(self, wording: str) -> list[BenchmarkItem]:
        index = self._wordings.index(wording) - 1

        def text(each: Variants) -> str:
            return each.opposing if wording == OPPOSING else each.paraphrases[index]

        return [
            replace(item, id=f"{item.id}/{wording}", question=text(each))
            for item, each in zip(self._items, self._variants, strict=True)
        ]


def summarise(
    scores: Records, wordings: Sequence[str], kind: str, *, seed: int, confidence: float
) -> dict[str, Any]:
    """The numbers of `Consistency.run`, of the score records of all wordings."""
    scale, change = scale_of(kind), CHANGE.get(kind, 1.0)
    languages = sorted({score["lang"] for score in scores})
    domains = {score["parallel_id"]: score["domain"] for score in scores}
    questions = sorted(domains)
    values = np.full((len(questions), len(languages), len(wordings)), np.nan)
    for score in scores:
        value = value_of(score, kind)
        if value is not None:
            name = score["id"].rpartition("/")[2]
            column = wordings.index(name) if name in wordings else 0
            at = questions.index(score["parallel_id"]), languages.index(score["lang"]), column
            values[at] = value
    whole = ~np.isnan(values).any(axis=(1, 2))
    complete = values[whole]
    return {
        "change": change,
        "questions": len(questions),
        "complete": len(complete),
        "wordings": list(wordings),
        "unscored": unscored_reasons(scores, kind),
        "languages": {
            lang: {
                "wordings": {
                    name: _mean(_known(values[:, index, column]), scale, confidence, (seed, lang))
                    for column, name in enumerate(wordings)
                },
                "within": _within(complete[:, index], scale, confidence, (seed, lang)),
                "changed": {
                    "paraphrase": _changed(complete[:, index, :-1], change, confidence),
                    "framing": _changed(complete[:, index, [0, -1]], change, confidence),
                },
            }
            for index, lang in enumerate(languages)
        },
        "changed": {
            "languages": _changed(complete[:, :, 0], change, confidence),
            "any": _changed(
                complete.reshape(len(complete), len(languages) * len(wordings)), change, confidence
            ),
        },
        "components": _components(complete, scale, confidence, seed),
        "tests": _tests(
            complete,
            [domains[questions[index]] for index in np.flatnonzero(whole)],
            languages,
            scale,
            confidence,
            seed,
        ),
    }


def _components(
    complete: Values, scale: Scale, confidence: float, seed: int
) -> dict[str, dict[str, Any]]:
    """Returns `{variance, low, high, n, share}` by cause; the share is of the sum of all causes."""
    if len(complete) == 0:
        return {}
    neutral, opposing = complete[:, :, :-1], complete[:, :, -1]
    found = variance_components(neutral, opposing, scale[1] - scale[0])
    total = sum(max(0.0, float(part.parts.mean())) for part in found.values())

    def record(name: str, part: Component) -> dict[str, Any]:
        interval = mean_interval(
            part.parts,
            scale=part.scale,
            confidence=confidence,
            seed=derive_seed(seed, "components", name),
        )
        share = max(0.0, float(part.parts.mean())) / total if total else None
        return {**interval_record(interval, "variance"), "share": share}

    return {name: record(name, part) for name, part in found.items()}


def _tests(
    complete: Values,
    domains: Sequence[str],
    languages: Sequence[str],
    scale: Scale,
    confidence: float,
    seed: int,
) -> dict[str, Record]:
    # Each question is one value, so that its wordings and languages are no values of their own.
    neutral, opposing = complete[:, :, :-1].mean(axis=2), complete[:, :, -1]

    def difference(name: str, before: np.ndarray, after: np.ndarray) -> Record:
        return difference_test(
            before, after, scale=scale, confidence=confidence, seed=derive_seed(seed, name)
        )

    tests = {}
    for index, lang in enumerate(languages):
        name = f"framing/{lang}"
        tests[name] = difference(name, neutral[:, index], opposing[:, index])
    if len(languages) == 2:
        tests["gap"] = difference("gap", neutral[:, 0], neutral[:, 1])
        for domain in sorted(set(domains)):
            own = np.array(domains) == domain
            name = f"gap/{domain}"
            tests[name] = difference(name, neutral[own, 0], neutral[own, 1])
    return tests


def _within(
    values: Float[np.ndarray, "questions wordings"],
    scale: Scale,
    confidence: float,
    seed: tuple[Any, ...],
) -> Record:
    """The variance between the wordings of a question, and its root: a standard deviation."""
    wordings, width = values.shape[1], scale[1] - scale[0]
    spread = Interval()
    if len(values):
        spread = mean_interval(
            values.var(axis=1, ddof=1),
            scale=(0.0, largest_variance(wordings) * width**2),
            confidence=confidence,
            seed=derive_seed(*seed, "within"),
        )
    # The root is increasing: that of the bounds bounds the root.
    low, high = (None, None) if spread.bounds is None else map(math.sqrt, spread.bounds)
    root = None if spread.value is None else math.sqrt(spread.value)
    return {
        "variance": spread.value,
        **interval_record(Interval(root, low, high, spread.n), "deviation"),
    }


def _changed(
    values: Float[np.ndarray, "questions versions"], change: float, confidence: float
) -> Record:
    ranges = np.ptp(values, axis=1) if len(values) else np.empty(0)
    return rate_record(int(np.sum(ranges >= change)), len(ranges), confidence)


def _mean(
    values: Float[np.ndarray, " questions"],
    scale: Scale,
    confidence: float,
    seed: tuple[Any, ...],
) -> Record:
    interval = mean_interval(
        values, scale=scale, confidence=confidence, seed=derive_seed(*seed, "mean")
    )
    return interval_record(interval, "mean")


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]
