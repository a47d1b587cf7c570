"""Scores that somebody has given already, such as people's: a judge like any other.

They are in a file of any of `vcjax.data`'s formats, with the columns `id` and `score`, or others
that are mapped to these. The score records of a review or of another evaluation are such a file.
Where its scores are words, such as `refusal`, a mapping of labels gives each a number.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.core.files import hash_text
from vcjax.data.columns import parse_columns, renamed
from vcjax.data.files import find_files
from vcjax.data.readers import read_items
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.judging.judge import is_answered, no_answer, score_record
from vcjax.roles.cache import CallCache, Record, fingerprint
from vcjax.roles.verdict import HIGHEST, LOWEST

SCORES = "scores:"
"""Begins the reference of a file of scores."""

HUMAN = "human"
"""The family of a file's judges, where no other is declared."""

COLUMNS = ("id", "score", "judge", "family", "answer", "answer_hash", "reason", "sample")
"""What is read; only `id` and `score` are needed."""

_UNSCORED = (None, "")


@dataclass(frozen=True)
class Rating:
    """What one judge gave one answer.

    Attributes:
      item: id of the benchmark's item, or of whatever was rated.
      score: as the file has it: a number, or the name of a label; None where there is none.
      unscored: why there is no score, where the file states it or the score isn't a number.
      answer_hash: of the answer that was rated; None where the file doesn't state it, so that
        nothing shows whether the answer is still the same.
      sample: counts what the judge gave the same answer before.
    """

    item: str
    score: float | str | None
    unscored: str | None = None
    reason: str | None = None
    answer_hash: str | None = None
    sample: int = 0


@dataclass(frozen=True)
class RatedScores:
    """One judge of a file, and its ratings.

    Attributes:
      name: as the file's column `judge` has it; of a file without one its name, and that of the
        column with the scores where it is another than `score`.
      family: declared, or the file's own.
    """

    name: str
    family: str
    ratings: tuple[Rating, ...]


def is_scores(reference: str) -> bool:
    """Whether a judge's reference names a file of scores."""
    return reference.startswith(SCORES)


def parse_labels(text: str) -> dict[str, float | None]:
    """`aligned:5,refusal:1,unclear:` -> the score of each label; None for one that is no score.

    Raises:
      UserError: it isn't of this form, or a score is outside the scale.
    """
    labels: dict[str, float | None] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        label, colon, score = (part.strip() for part in pair.rpartition(":"))
        if not (label and colon):
            raise UserError(f"labels: {pair!r} must be LABEL:SCORE, as in refusal:1")
        if label in labels:
            raise UserError(f"labels: {label!r} is given twice")
        try:
            number = float(score) if score else None
        except ValueError:
            raise UserError(f"labels: the score of {label!r} is {score!r}, not a number") from None
        if number is not None and not LOWEST <= number <= HIGHEST:
            raise UserError(f"labels: the score of {label!r} is not within {LOWEST} and {HIGHEST}")
        labels[label] = number
    return labels


def read_ratings(
    reference: str, columns: str = "", family: str = "", labels: str = ""
) -> list[RatedScores]:
    """Reads `scores:FILE`: every judge in it, sorted by name, each with its ratings.

    A file with a column `sample`, as score records have it, may grow by corrections: of the same
    judge, item, sample and `prompt_lang` the last line counts. Several samples or prompt languages
    are several ratings of an item.

    Args:
      columns: names of the columns, as `score:annotation_1,id:item`; ours are `COLUMNS`.
      family: of the judges; empty takes the file's column `family`, or else `human`.
      labels: the scores that words stand for, see `parse_labels`. Where any are given, another word
        is a mistake; else a word stays as it is.

    Raises:
      UserError: no such file, a bad mapping, an unknown label, a line without an id or a column for
        the score, or a second score of an item by the same judge in a file without a column
        `sample`.
    """
    path = reference.removeprefix(SCORES)
    mapping, known = parse_columns(columns, COLUMNS), parse_labels(labels)
    name = f"{SCORES}{Path(path).name}"
    name += f"#{mapping['score']}" if mapping.get("score", "score") != "score" else ""
    rows: dict[tuple[str, str, str, str], tuple[str, Mapping[str, Any]]] = {}
    for file in find_files([path]):
        for item in read_items(file):
            where = f"{file.name}:{item.position}"
            if item.error is not None or not isinstance(item.value, dict):
                raise UserError(f"{where}: {item.error or 'a score must be an object'}")
            row = renamed(item.value, mapping)
            _check_row(where, row, mapping, item.value)
            if known:
                row = {**row, "score": _of_label(where, row["score"], known)}
            reading = str(row.get("sample") or 0), str(row.get("prompt_lang") or "")
            key = (str(row.get("judge") or name), str(row["id"]), *reading)
            # With samples the file is one of records, in which the last line counts; without, two
            # scores of one item contradict each other.
            if key in rows and "sample" not in row:
                raise UserError(
                    f"{where}: {key[0]} has scored {key[1]!r} at {rows[key][0]} already"
                )
            rows[key] = where, row
    if not rows:
        raise UserError(f"{path}: no scores")
    ratings: dict[str, dict[str, list[Rating]]] = defaultdict(lambda: defaultdict(list))
    families: dict[str, str] = {}
    for (judge, id, *_), (_, row) in rows.items():
        families.setdefault(judge, family or str(row.get("family") or HUMAN))
        ratings[judge][id].append(_rating(row, len(ratings[judge][id])))
    return [
        RatedScores(
            judge, families[judge], tuple(rating for own in each.values() for rating in own)
        )
        for judge, each in sorted(ratings.items())
    ]


def rated(
    items: Sequence[BenchmarkItem],
    answers: Sequence[Record],
    scores: RatedScores,
    charter: Charter,
    cache: CallCache,
) -> list[Record]:
    """The score records of a file's judge; see `judging.judge.verdicts_wanted`.

    An item that the file has no score of is unscored (`not rated`), as is one whose answer in the
    file is another (`other answer`), whose score isn't a number (`not a number`), or is one outside
    the scale (`out_of_range`).
    """
    by_item: dict[str, list[Rating]] = defaultdict(list)
    for rating in scores.ratings:
        by_item[rating.item].append(rating)
    records = []
    for item, answered in zip(items, answers, strict=True):
        for rating in by_item.get(item.id, [Rating(item.id, None, "not rated")]):
            score, unscored = _usable(rating, answered)
            # With the score: one that is corrected in the file replaces the record.
            key = fingerprint(
                scores.name,
                charter.content_hash,
                answered["answer_hash"],
                rating.sample,
                score,
                unscored,
                rating.reason,
            )
            if (item.id, key) not in cache.records:
                cache.append(
                    score_record(
                        item,
                        answered,
                        charter,
                        key,
                        judge=scores.name,
                        family=scores.family,
                        score=score,
                        unscored=unscored,
                        reason=rating.reason,
                        sample=rating.sample,
                    )
                )
            records.append(cache.records[item.id, key])
    return records


def _check_row(
    where: str, row: Mapping[str, Any], mapping: Mapping[str, str], theirs: Mapping[str, Any]
) -> None:
    for column in ("id", "score"):
        if column not in row:
            raise UserError(
                f"{where}: no column {mapping.get(column, column)!r}; map the file's own in "
                f"config.judge_columns, as {column}:NAME (it has {', '.join(map(repr, theirs))})"
            )
    if row["id"] in _UNSCORED:
        raise UserError(f"{where}: the id is empty")


def _of_label(where: str, value: Any, labels: Mapping[str, float | None]) -> Any:
    """The label of a score; a number that has none stays as it is."""
    text = "" if value is None else str(value).strip()
    if text in labels:
        return labels[text]
    try:
        return float(text) if text else value
    except ValueError:
        raise UserError(
            f"{where}: no label {text!r} in config.judge_labels ({', '.join(labels)})"
            f"{suggest(text, labels)}; add {text}:SCORE, or {text}: for none"
        ) from None


def _rating(row: Mapping[str, Any], sample: int) -> Rating:
    answer_hash = row.get("answer_hash") or None
    if answer_hash is None and row.get("answer") is not None:
        answer_hash = hash_text(str(row["answer"]))
    score, unscored = _score(row["score"])
    return Rating(
        item=str(row["id"]),
        score=score,
        unscored=unscored or row.get("unscored") or None,
        reason=row.get("reason") or None,
        answer_hash=answer_hash,
        sample=sample,
    )


def _score(value: Any) -> tuple[float | str | None, str | None]:
    """The number, or the label, and why there is none: CSV knows numbers by their digits alone."""
    if value in _UNSCORED:
        return None, "not rated"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value), None
    if math.isnan(number):
        return None, "not a number"
    return int(number) if number.is_integer() else number, None


def _usable(rating: Rating, answered: Record) -> tuple[float | None, str | None]:
    """The score on the scale, or why there is none."""
    if not is_answered(answered):
        return None, no_answer(answered)
    if rating.answer_hash not in (None, answered["answer_hash"]):
        return None, "other answer"
    if rating.score is None:
        return None, rating.unscored
    if isinstance(rating.score, str):
        return None, "not a number"
    if not LOWEST <= rating.score <= HIGHEST:
        return None, "out_of_range"
    return rating.score, None
