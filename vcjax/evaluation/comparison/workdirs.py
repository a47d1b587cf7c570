"""Reads a finished evaluation of ours."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import read_lineage
from vcjax.evaluation.comparison.differences import SCALE
from vcjax.evaluation.comparison.options import OPTION_MEASURES
from vcjax.evaluation.comparison.runs import Record, ScoredRun, cleaned, question_text
from vcjax.evaluation.judging.panel import combine, last_verdicts
from vcjax.evaluation.options.letters import ITEMS

TOOL = "vcjax"
_OF_SCORES = ("judge", "score", "unscored", "checks")
_FILES = ("answers.jsonl", "scores.jsonl", "summary.json")


def read_workdir(path: Path, name: str) -> ScoredRun:
    """The evaluation in a workdir of `launch.evaluate`.

    Of several samples or judges of one answer the mean counts: of each judge's samples, then of
    the judges.

    Raises:
      UserError: the workdir isn't that of a finished evaluation.
    """
    lineage = read_lineage(path)
    if lineage["kind"] != "evaluate":
        raise UserError(f"{path}: is a run of launch.{lineage['kind']}, not of launch.evaluate")
    for file in _FILES:
        if not (path / file).is_file():
            raise UserError(f"{path / file}: no such file, which a finished evaluation has")
    summary = read_json(path / "summary.json")
    hashes = {parent["role"]: parent["hash"] for parent in lineage["parents"]}
    scores = defaultdict(list)
    for _, record in read_jsonl(path / "scores.jsonl"):
        scores[record["id"], record["answer_hash"]].append(record)
    models = [value for role, value in hashes.items() if role.startswith("model")]
    answers = current([record for _, record in read_jsonl(path / "answers.jsonl")], models)
    records, problems = cleaned(
        (_record(answer, scores[answer["id"], answer["answer_hash"]]) for answer in answers), SCALE
    )
    problems += [each for each in summary.get("problems", ()) if each not in problems]
    if summary["same_family"]:
        problems.append("The judge is of the model's family: its scores are no evidence of quality")
    charter, benchmark, judge = summary["charter"], summary["benchmark"], summary["judge"]
    return ScoredRun(
        name=name,
        path=path,
        tool=TOOL,
        records=tuple(records),
        scale=SCALE,
        about={
            "model": summary["model"]["name"],
            "judge": judge["name"] if judge else "",
            "charter": charter["name"],
            "benchmark": benchmark["name"],
        },
        identity={
            "charter": charter["hash"],
            "judge": hashes.get("judge") if judge else None,
            "benchmark": benchmark["hash"],
        },
        held_out=frozenset(benchmark["held_out"]),
        problems=tuple(problems),
        confidence=summary["confidence"],
        domain_names=charter.get("domains", {}),  # earlier versions didn't record them
        options={
            measure: tuple(record for _, record in read_jsonl(path / measure / ITEMS))
            for measure in OPTION_MEASURES
            if measure in summary.get("measures", {})
        },
    )


def current(answers: Sequence[Record], models: Collection[str]) -> list[Record]:
    """The answers of the model that the run has ended with, and of each question the last version.

    A model that was changed in place has left its earlier answers in the file.

    Args:
      models: its identity, among others.
    """
    # All, where none is of these models: earlier versions recorded no hash.
    own = [record for record in answers if record.get("model_hash") in models] or answers
    last = {record["id"]: record["fingerprint"] for record in own}
    return [record for record in own if record["fingerprint"] == last[record["id"]]]


def _record(answer: Record, scores: Sequence[Record]) -> Record:
    fields = ("id", "parallel_id", "domain", "lang", "answer")
    known: dict[str, Any] = {field: answer[field] for field in fields}
    asked = {"role": "user", "content": answer["question"]}
    known["question"] = question_text([*answer.get("conversation", ()), asked])
    if not scores:
        return {**known, "judge": None, "score": None, "unscored": "no score", "checks": None}
    verdicts = last_verdicts(scores)
    odd = [each for each in verdicts if not isinstance(each["score"], int | float | None)]
    # What is no number has no mean; `cleaned` names it.
    (combined,) = combine(odd[:1] or verdicts)
    return {**known, **{field: combined[field] for field in _OF_SCORES}}
