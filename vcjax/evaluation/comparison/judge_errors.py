"""The judge's measured errors, carried into the differences of rates that it saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.comparison.differences import (
    ALL,
    Record,
    clusters_of,
    difference_record,
    sides_of,
    split,
)
from vcjax.stats.intervals import interval_record, paired_difference
from vcjax.stats.prevalence import Share, corrected_difference

_SIDES = ("sensitivity", "specificity")


@dataclass(frozen=True)
class JudgeErrors:
    """How often the judge is right about answers that people have labelled.

    Attributes:
      threshold: the least score that counts as positive; None where scores are yes or no.
      overall: sensitivity and specificity.
      languages: the same by language, where it was measured.
    """

    threshold: float | None
    overall: tuple[Share, Share]
    languages: Mapping[str, tuple[Share, Share]]

    @classmethod
    def read(cls, path: str | Path) -> "JudgeErrors":
        """Reads `{threshold?, sensitivity, specificity}`, each of the latter `{k, n}`, or
        `{overall: {k, n}, languages: {LANGUAGE: {k, n}}}` as a Critic's calibration has it.

        Raises:
          UserError: the file has none of these.
        """
        content = read_json(path)
        try:
            sides = [content[side] for side in _SIDES]
            languages = [side.get("languages") or {} for side in sides]
            first, second = (_share(side.get("overall", side)) for side in sides)
            by_language = {
                lang: (_share(languages[0][lang]), _share(languages[1][lang]))
                for lang in languages[0].keys() & languages[1].keys()
                if languages[0][lang] and languages[1][lang]
            }
            threshold = content.get("threshold")
            return cls(
                None if threshold is None else float(threshold), (first, second), by_language
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(
                f"--judge_errors: {path}: needs sensitivity and specificity, each as "
                f'{{"k": right, "n": labelled}}, and a threshold of scores ({error})'
            ) from None


def _share(record: Mapping[str, Any]) -> Share:
    return Share(int(record["k"]), int(record["n"]))


def corrected_differences(
    pairs: Sequence[Record], errors: JudgeErrors, *, seed: int, confidence: float
) -> dict[str, Any]:
    """By language, and of all: the rate of positive answers as the judge saw it, and the true
    difference behind it.

    Returns `{seen, corrected}`: a difference as `differences.compare` has it, and `{difference,
    low, high, n}`, whose `difference` is None where the true one can't be known. A language has its
    own errors where these were measured in it.

    Raises:
      UserError: scores that are neither yes nor no, and no threshold.
    """
    groups = split(list(pairs), "lang")
    # Of a single language, all of them would be the same once more.
    if len(groups) > 1:
        groups[ALL] = list(pairs)
    found = {}
    for lang, members in groups.items():
        having, before, after = sides_of(members, "judge")
        if errors.threshold is None and not set(before) | set(after) <= {0, 1}:
            raise UserError(
                "--judge_errors: the scores are neither yes nor no; the file needs a threshold"
            )
        # Scores of yes and no are 1 and 0.
        least = 1 if errors.threshold is None else errors.threshold
        first, second = ([score >= least for score in side] for side in (before, after))
        settings: dict[str, Any] = {
            "confidence": confidence,
            "seed": derive_seed(seed, "judge errors", lang),
        }
        seen = paired_difference(first, second, clusters_of(having)[1], **settings)
        shares = errors.languages.get(lang, errors.overall)
        found[lang] = {
            "seen": difference_record(first, second, seen),
            "corrected": interval_record(
                corrected_difference(seen, *shares, confidence), "difference"
            ),
        }
    return found
