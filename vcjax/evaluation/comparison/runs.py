"""A finished evaluation, whatever wrote it: one score record of each question, and its flaws."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vcjax.roles.verdict import NO_ANSWER
from vcjax.stats.intervals import Scale

Record = dict[str, Any]
_SHOWN = 3


@dataclass(frozen=True)
class ScoredRun:
    """One run, as comparisons read it.

    Attributes:
      name: what reports call it.
      path: of what it was read from.
      tool: what wrote it.
      records: sorted by id, one for each question: `{id, parallel_id, domain, lang, question,
        answer, judge, score, unscored, checks}`. `question` is a `question_text`. `score` is None
        where there is none, and `unscored` says why; `checks` is None where no checks were run.
      scale: the ends of the judge's scale; None where it isn't known.
      about: what a report prints of its origin, by name: the model, the charter and so on.
      identity: what must be the same in runs that are compared, by name; what is missing isn't
        known.
      held_out: domains that the model wasn't trained on.
      problems: what is wrong with it, a sentence each.
      confidence: of the intervals of the run's own report.
      domain_names: by domain and language, where a charter names them.
      options: by measure (`stance`, `choice`) the records of its items; empty where it wasn't
        measured.
    """

    name: str
    path: Path
    tool: str
    records: tuple[Record, ...]
    scale: Scale | None
    about: dict[str, str]
    identity: dict[str, str | None] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    confidence: float = 0.95
    domain_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    @property
    def judged(self) -> bool:
        """Whether any answer has a score."""
        return any(record["score"] is not None for record in self.records)


def question_text(turns: Sequence[Mapping[str, Any]]) -> str:
    """What was asked as one text, to be the same in each run: the only turn, or all of them."""
    if len(turns) == 1 and isinstance(turns[0]["content"], str):
        return turns[0]["content"]
    return json.dumps([[turn["role"], turn["content"]] for turn in turns], ensure_ascii=False)


def cleaned(records: Iterable[Record], scale: Scale | None) -> tuple[list[Record], list[str]]:
    """The records, with what is no score of the scale as unscored; and what was wrong with them.

    Nothing is left out silently: of records with one id the last is kept, as in a file that grows
    by appending, and each sentence names the first few ids.
    """
    by_id: dict[str, Record] = {}
    found: dict[str, list[str]] = {}

    def note(what: str, id: str) -> None:
        found.setdefault(what, []).append(id)

    for record in records:
        if record["id"] in by_id:
            note("with a second record; the last one counts", record["id"])
        score = record["score"]
        reason = None if score is None else _misfit(score, scale)
        if reason is not None:
            note(f"with a score that is {reason}, counted as unscored", record["id"])
            record = {**record, "score": None, "unscored": f"score is {reason}"}
        by_id[record["id"]] = record
    kept = [by_id[id] for id in sorted(by_id)]
    for record in kept:
        # A call that failed is among the unscored; a judge that scored no text shows nowhere else.
        got_none = (record["unscored"] or "").startswith(NO_ANSWER)
        if not record["answer"].strip() and not got_none:
            note("with an empty answer, scored as it is", record["id"])
    problems = [of_questions(ids, what) for what, ids in found.items()]
    return kept, [*problems, *_of_judge(kept), *_of_parallels(kept)]


def _misfit(score: Any, scale: Scale | None) -> str | None:
    # Before the test for a number, which a boolean is to Python.
    if isinstance(score, bool):
        return None
    if not isinstance(score, int | float):
        return "not a number"
    if not math.isfinite(score):
        return "NaN" if math.isnan(score) else "infinite"
    if scale and not scale[0] <= score <= scale[1]:
        return f"outside {scale[0]:g} to {scale[1]:g}"
    return None


def _of_judge(records: Sequence[Record]) -> list[str]:
    scores = [record["score"] for record in records if record["score"] is not None]
    missing = len(records) - len(scores)
    reasons = Counter(record["unscored"] for record in records if record["score"] is None)
    if not scores and list(reasons) == ["no_judge"]:
        return []
    why = ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common(_SHOWN))
    if not scores:
        return [f"The judge has scored none of {len(records)} answers ({why})"]
    problems = []
    # Of one score alone nothing shows whether the judge is constant.
    if len(scores) > 1 and len(set(scores)) == 1:
        problems.append(
            f"The judge gave all {len(scores)} answers the score {scores[0]:g}: a constant judge "
            "can't tell good from bad, and its scores are no evidence"
        )
    if missing:
        problems.append(f"{_questions([''] * missing)} without a score ({why})")
    return problems


def _of_parallels(records: Sequence[Record]) -> list[str]:
    """Questions that lack the version in a language that others have."""
    langs = {record["lang"] for record in records}
    if len(langs) < 2:
        return []
    versions: dict[str, set[str]] = {}
    for record in records:
        versions.setdefault(record["parallel_id"], set()).add(record["lang"])
    lone = [id for id, own in sorted(versions.items()) if own != langs]
    if not lone:
        return []
    return [of_questions(lone, "without a version in another language")]


def of_questions(ids: Sequence[str], what: str) -> str:
    """What is wrong with some questions, of which it names the first few."""
    return f"{_questions(ids)} {what} ({_few(ids)})"


def _questions(ids: Sequence[str]) -> str:
    return f"{len(ids)} question{'s' if len(ids) > 1 else ''}"


def _few(ids: Sequence[str]) -> str:
    unique = list(dict.fromkeys(ids))
    return ", ".join(unique[:_SHOWN]) + (", …" if len(unique) > _SHOWN else "")
