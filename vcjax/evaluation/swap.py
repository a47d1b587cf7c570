"""Another charter on the answers of a finished evaluation: no model is asked again.

A model that is aligned to one charter should score lower under another one where they differ, and
not on the floor rules, which bind both: an answer that breaks one scores LOWEST, and what it states
as a fact is true or false under either.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl, write_jsonl
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.run import CONFIG, SUMMARY
from vcjax.core.seeds import derive_seed
from vcjax.core.stores import reached
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.comparison.differences import ALL, compare, difference_record
from vcjax.evaluation.subject import Subject
from vcjax.roles.role import Ask, Message, Reply
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.intervals import RATE, Scale, paired_difference

ANSWERS, BEFORE = "answers.jsonl", "before"
"""The answers; the folder with their scores under the charter that they were first scored by."""
_SCALE: Scale = (float(LOWEST), float(HIGHEST))
Record = dict[str, Any]


@dataclass(frozen=True)
class AnsweredModel:
    """The model of a finished evaluation, which isn't asked again; a `Role`."""

    model: str
    identity: str
    family: str

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Raises: UserError, always."""
        raise UserError(f"{self.model}: its answers are given, so that it can't be asked more")


@dataclass(frozen=True)
class Source:
    """A finished evaluation.

    Attributes:
      folder: its workdir.
      charter: that it was scored by.
      model: who answered.
      answers: by the questions' ids, the last of each.
      settings: of its config, what its answers depend on.
    """

    folder: Path
    charter: Charter
    model: AnsweredModel
    answers: Mapping[str, Record]
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, workdir: str | os.PathLike) -> "Source":
        """Raises: UserError, if it isn't a finished evaluation, or its charter has changed."""
        folder = reached(workdir)
        summary = read_json(folder / SUMMARY) if (folder / LINEAGE).is_file() else {}
        if "benchmark" not in summary or not (folder / ANSWERS).is_file():
            raise UserError(f"config.answers_from: {folder} is not a finished evaluation")
        config = read_json(folder / CONFIG)
        charter = load_charter(config["charter"])
        if charter.content_hash != summary["charter"]["hash"]:
            raise UserError(
                f"config.answers_from: {folder} was scored by another version of the charter "
                f"{charter.name!r} than there is now; evaluate it anew"
            )
        answers = {record["id"]: record for _, record in read_jsonl(folder / ANSWERS)}
        last = next(reversed(answers.values()))
        model = AnsweredModel(last["model"], last["model_hash"], summary["model"]["family"])
        names = ("model", "benchmark", "persona", "max_tokens")
        settings = {name: config[name] for name in names} | {"model_family": model.family}
        return cls(folder, charter, model, answers, settings)

    def answered(self, benchmark: Benchmark, *, rubrics: bool) -> Benchmark:
        """The questions of the benchmark that were answered.

        Args:
          rubrics: whether they keep the rubrics and reference answers of their own. These were
            written for one charter, so that with another one only the charter's rubric counts.

        Raises:
          UserError: one of them was changed since, or none was answered.
        """
        items: list[BenchmarkItem] = []
        for item in benchmark.items:
            if (record := self.answers.get(item.id)) is None:
                continue
            turns = [*record.get("conversation", ()), record["question"]]
            if turns != [*item.conversation, item.question]:
                raise UserError(
                    f"config.answers_from: {self.folder} has an answer to another wording of "
                    f"{item.id!r} than benchmark {benchmark.name} has now"
                )
            items.append(item if rubrics else replace(item, rubric=None, reference=None))
        if not items:
            raise UserError(
                f"config.answers_from: {self.folder} has no answer in a domain and a language of "
                "the charter"
            )
        domains = {item.domain for item in items}
        return replace(benchmark, items=tuple(items), held_out=benchmark.held_out & domains)


@dataclass(frozen=True)
class Answered(Subject):
    """A subject whose answers are given, by the questions' ids."""

    given: Mapping[str, Record] | None = None

    def answers(
        self,
        items: Sequence[BenchmarkItem],
        folder: Path,
        messages: Callable[[BenchmarkItem], Sequence[Message]] | None = None,
    ) -> list[Record]:
        """The given answers, copied to `folder`; see `Subject.answers`."""
        assert self.given is not None
        assert messages is None, "only the benchmark's questions were answered"
        found = [self.given[item.id] for item in items]
        write_jsonl(folder / ANSWERS, found)
        return found


def swap(subject: Answered, source: Source, benchmark: Benchmark, folder: Path) -> dict[str, Any]:
    """Scores the answers under the charter that they were first scored by, with the same judges and
    prompts as under the subject's, and compares: the subject's less the first one's.

    Returns (JSON-serialisable):
      before, after: name and hash of both charters.
      left_out: answers to questions that the subject's charter has no domain or language for.
      judge: overall (`all`), by `languages` and by `domains` the difference of scores.
      axes: by axis the same overall, where the judges score them.
      floor: of scored answers the share with the score LOWEST, which an answer that breaks a floor
        rule gets.
      rules: the share of the charter's own checks that an answer passes, by language and overall.
    A difference is what `difference_record` makes; versions of one question are clusters, or those
    of `differences.compare`.
    """
    items, settings = benchmark.items, subject.settings
    answers = [source.answers[item.id] for item in items]
    first = replace(subject, charter=source.charter)
    (folder / BEFORE).mkdir(exist_ok=True)
    old = first.scores(items, answers, folder / BEFORE)
    new = subject.scores(items, answers, folder)
    # Without checks, which are compared as shares below: each charter has its own.
    bare = [[{**each, "checks": None} for each in side] for side in (old, new)]
    found = compare(
        bare[0], bare[1], seed=derive_seed(settings.seed, "swap"), confidence=settings.confidence
    )
    pairs = list(zip(old, new, strict=True))

    def differ(value: Callable[[Record], float | bool | None], scale: Scale, name: str) -> Record:
        sides = [(value(a), value(b), a["parallel_id"]) for a, b in pairs]
        known = [each for each in sides if None not in each]
        before, after = ([each[side] for each in known] for side in (0, 1))
        change = paired_difference(
            before,  # type: ignore[arg-type]
            after,  # type: ignore[arg-type]
            [each[2] for each in known],
            scale=scale,
            confidence=settings.confidence,
            seed=derive_seed(settings.seed, "swap", name),
        )
        return difference_record(before, after, change)  # type: ignore[arg-type]

    axes = {name for a, b in pairs if a["axes"] and b["axes"] for name in a["axes"]}
    return {
        "before": {"name": source.charter.name, "hash": source.charter.content_hash},
        "after": {"name": subject.charter.name, "hash": subject.charter.content_hash},
        "left_out": len(source.answers) - len(items),
        "judge": {
            ALL: found[ALL]["judge"],
            "languages": {lang: own["judge"] for lang, own in found["languages"].items()},
            "domains": {name: own[ALL]["judge"] for name, own in found["domains"].items()},
        },
        "axes": {
            name: differ(lambda each, name=name: (each["axes"] or {}).get(name), _SCALE, name)
            for name in sorted(axes)
        },
        "floor": differ(
            lambda each: None if each["score"] is None else each["score"] == LOWEST, RATE, "floor"
        ),
        "rules": differ(_kept, RATE, "rules"),
    }


def _kept(record: Record) -> float | None:
    """The share of the checks that an answer passes."""
    checks = record["checks"]
    return sum(checks.values()) / len(checks) if checks else None
