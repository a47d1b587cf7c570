"""What there is to score: the answers of an evaluation, or of two side by side, blinded."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json, read_jsonl
from vcjax.core.run import CONFIG
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.roles.cache import fingerprint

ANSWERS, SCORES = "answers.jsonl", "scores.jsonl"
MASK = "▮▮▮"
"""Stands for the name of a model inside its own answer."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One answer as a person sees it.

    Attributes:
      code: names it in the browser and in a labelling sheet, and reveals nothing.
      text: with names of its model masked.
      hash: of the text as the model wrote it.
      evaluations: whose it is: 0 for the first, 1 for the second, both where both gave it.
      checks: what the charter's rules found in it, for its score record.
    """

    code: str
    text: str
    hash: str
    evaluations: tuple[int, ...] = (0,)
    checks: Mapping[str, bool] | None = None


@dataclass(frozen=True)
class Unit:
    """What is scored at once: the answer to a question, or two of them.

    Attributes:
      code: as that of an answer.
      conversation: the messages before the answer.
      answers: one, or those of the first and of the second evaluation; equal ones are one.
    """

    code: str
    item: BenchmarkItem
    conversation: tuple[Mapping[str, str], ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Material:
    """All units of a review.

    Attributes:
      units: in the order of the benchmark.
      charter: by which the answers are scored.
      counts: answers that can't be scored or were changed: `unanswered` (the model gave none),
        `unpaired` (in one evaluation only), `identical` (pairs of equal answers), `masked` (a
        model's name was in its answer), `without_rubric`.
    """

    units: tuple[Unit, ...]
    charter: Charter
    counts: Mapping[str, int]

    @property
    def are_pairs(self) -> bool:
        """Whether any unit has two answers."""
        return any(len(unit.answers) > 1 for unit in self.units)


@dataclass(frozen=True)
class _Evaluation:
    """A workdir that `launch.evaluate` has written: its answered records by id, and its config."""

    workdir: Path
    config: Mapping[str, Any]
    answered: Mapping[str, Record]
    unanswered: int
    checks: Mapping[tuple[str, str], Mapping[str, bool]]

    def answer(self, id: str, seed: int, names: Collection[str]) -> Answer:
        """Args: `names` are masked."""
        record = self.answered[id]
        hash = record["answer_hash"]
        return Answer(
            code=f"a{fingerprint(seed, id, hash)}",
            text=masked(record["answer"], names),
            hash=hash,
            checks=self.checks.get((id, hash)),
        )

    def names(self) -> Iterator[str]:
        """What the model is called here. A folder's own name is often a common word, as in
        `runs/model`, and counts only if it has a digit."""
        for reference in {
            self.config["model"],
            *(each["model"] for each in self.answered.values()),
        }:
            yield reference
            if re.search(r"\d", last := re.split(r"[/\\]", reference.rstrip("/\\"))[-1]):
                yield last
        # Shorter ones are words of their own, such as `opt` or `yi`.
        if len(family := self.config["model_family"]) > 3:
            yield family


def read_material(run: str, against: str = "", *, sample: int = 0, seed: int = 0) -> Material:
    """Reads the answers of an evaluation, or of two to the same questions.

    Args:
      run, against: workdirs; without the second, answers are shown singly.
      sample: number of units that are drawn, the same for every annotator; 0 is all.

    Raises:
      UserError: a folder that isn't an evaluation's, its benchmark or charter is gone, questions
        that differ between the two, or nothing to score.
    """
    evaluations = [_read(Path(each)) for each in (run, against) if each]
    first = evaluations[0]
    charter = load_charter(first.config["charter"])
    items = {item.id: item for item in load_benchmark(first.config["benchmark"], charter).items}
    names = {name for each in evaluations for name in each.names()}
    shared = [id for id in first.answered if all(id in each.answered for each in evaluations)]
    units = []
    for id in shared:
        records = [each.answered[id] for each in evaluations]
        asked = [(record["question"], record.get("conversation")) for record in records]
        if any(each != asked[0] for each in asked):
            raise UserError(
                f"{against}: asks another question under the id {id!r} than {run}; "
                "compare evaluations of one benchmark"
            )
        answers = [each.answer(id, seed, names) for each in evaluations]
        units.append(_unit(items.get(id), records[0], answers))
    if not units:
        raise UserError(f"{' and '.join(filter(None, (run, against)))}: no answers to score")
    if sample:
        ranked = sorted(units, key=lambda unit: derive_seed(seed, "sample", unit.item.id))
        drawn = {unit.code for unit in ranked[:sample]}
        # In the benchmark's order again.
        units = [unit for unit in units if unit.code in drawn]
    counts = {
        "unanswered": sum(each.unanswered for each in evaluations),
        "unpaired": len({id for each in evaluations for id in each.answered}) - len(shared),
        "identical": sum(len(unit.answers) < len(evaluations) for unit in units),
        "masked": sum(hash_text(a.text) != a.hash for unit in units for a in unit.answers),
        "without_rubric": sum(unit.item.rubric is None for unit in units),
    }
    return Material(tuple(units), charter, counts)


def masked(text: str, names: Collection[str]) -> str:
    """The text without the names, as whole words and in any case."""
    if not names:
        return text
    # The longest first: of several that begin alike, a regular expression takes the first that
    # fits.
    found = sorted(names, key=len, reverse=True)
    pattern = "|".join(map(re.escape, found))
    # Bounded by ASCII alone: between a name and Chinese characters, which are letters too, there is
    # no word boundary (`\b`).
    return re.sub(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])", MASK, text, flags=re.IGNORECASE)


def _unit(item: BenchmarkItem | None, record: Record, answers: Sequence[Answer]) -> Unit:
    """The unit of an answer record, whose question may be one that the benchmark no longer has."""
    if item is None or item.question != record["question"]:
        fields = ("id", "parallel_id", "domain", "lang", "question")
        item = BenchmarkItem(**{name: record[name] for name in fields})
    whose: dict[str, tuple[int, ...]] = {}
    for number, answer in enumerate(answers):
        whose[answer.hash] = (*whose.get(answer.hash, ()), number)
    by_hash = {answer.hash: answer for answer in answers}
    answers = tuple(replace(by_hash[hash], evaluations=whose[hash]) for hash in whose)
    asked = {"role": "user", "content": record["question"]}
    conversation = (*record.get("conversation", ()), asked)
    code = fingerprint(*(answer.code for answer in answers))
    return Unit(f"u{code}", item, conversation, answers)


def _read(workdir: Path) -> _Evaluation:
    for name in (CONFIG, ANSWERS):
        if not (workdir / name).is_file():
            raise UserError(f"{workdir}: no {name}: not the workdir of an evaluation")
    config = read_json(workdir / CONFIG)
    missing = [name for name in ("model", "charter", "benchmark") if not config.get(name)]
    if missing:
        raise UserError(f"{workdir / CONFIG}: no {missing[0]!r}: not the workdir of an evaluation")
    # Of each question the last, as a model that has changed is asked anew.
    records = {record["id"]: record for _, record in read_jsonl(workdir / ANSWERS)}
    answered = {
        id: record
        for id, record in records.items()
        if record["finish_reason"] in ("stop", "length")
    }
    scores = read_jsonl(workdir / SCORES) if (workdir / SCORES).is_file() else ()
    checks = {(each["id"], each["answer_hash"]): each["checks"] for _, each in scores}
    return _Evaluation(
        workdir,
        {"model_family": "", **config},
        answered,
        len(records) - len(answered),
        checks,
    )


def shown_order(unit: Unit, seed: int, annotator: str) -> Unit:
    """The unit with its answers in the random order in which this annotator sees them."""
    if derive_seed(seed, "sides", annotator, unit.code) % 2:
        return replace(unit, answers=unit.answers[::-1])
    return unit


def unit_order(units: Sequence[Unit], seed: int, annotator: str) -> tuple[Unit, ...]:
    """The units in this annotator's own random order."""
    ranked = sorted(units, key=lambda unit: derive_seed(seed, "order", annotator, unit.code))
    return tuple(shown_order(unit, seed, annotator) for unit in ranked)
