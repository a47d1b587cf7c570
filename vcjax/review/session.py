"""The state of a review: each annotator's decisions, and the files that store them.

Every action is a line of `journal.jsonl`, on the disk before it is acknowledged; the state is what
the lines add up to, so that a killed review continues at the same unit. `scores.jsonl` has the
current scores: one record for each annotator and answer, a line appended for a new one, the
file replaced where one was changed or withdrawn. Of pairs it has those of the first evaluation, and
`scores_against.jsonl` those of the second, so that each can be a judge of its own evaluation.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from vcjax.core.errors import UserError
from vcjax.core.files import write_jsonl
from vcjax.review.annotator import LONGEST_REASON, Annotator, Decision, Score
from vcjax.review.units import SCORES, Answer, Material, Unit, unit_order
from vcjax.roles.cache import SPENT, CallCache, fingerprint
from vcjax.roles.verdict import AXES

JOURNAL = "journal.jsonl"
SCORES_AGAINST = "scores_against.jsonl"
KEY = ("id", "fingerprint")
"""Identifies a score record, as it does a model judge's."""
FAMILY = "human"

Record = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What an annotator sees now, of the units in the languages that were asked for.

    Attributes:
      unit: None where all are decided.
      position: its number, from 0.
      decision: the current one on this unit.
      undoable: the event that `undo` would take back.
    """

    unit: Unit | None
    position: int
    total: int
    scored: int
    skipped: int
    decision: Decision | None
    can_go_forward: bool
    undoable: int | None


class Session:
    """One review, as its methods are called; a context manager. Safe to use from many threads."""

    def __init__(self, material: Material, folder: Path, seed: int) -> None:
        """Opens the files in `folder`, or makes them, and restores the state.

        Raises:
          UserError: a line of the journal isn't one.
        """
        self.material, self._seed = material, seed
        self.units = {unit.code: unit for unit in material.units}
        self.languages = tuple(sorted({unit.item.lang for unit in material.units}))
        self._lock = threading.RLock()
        self._annotators: dict[str, Annotator] = {}
        self.strays = 0
        """Actions on answers that are no longer there, as the evaluation has changed since."""
        self._journal = CallCache(folder / JOURNAL, ("event", "annotator", "action", "unit"))
        for record in self._journal.records.values():
            self._replay(record)
        names = (SCORES, SCORES_AGAINST) if material.are_pairs else (SCORES,)
        self._scores = [CallCache(folder / name, KEY) for name in names]
        self._rewrite()

    def close(self) -> None:
        for file in (self._journal, *self._scores):
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def events(self) -> int:
        """Number of actions so far."""
        return len(self._journal.records)

    @property
    def annotators(self) -> tuple[str, ...]:
        """The names of those who have acted, sorted."""
        with self._lock:
            return tuple(sorted(self._annotators))

    def view(self, name: str, languages: Collection[str] = ()) -> View:
        """What `name` sees; without `languages`, of all units."""
        with self._lock:
            # Who only looks isn't stored: an annotator is somebody who has acted.
            annotator = self._annotators.get(name) or self._newcomer(name)
            visible = annotator.visible(languages or self.languages)
            position = annotator.position(visible)
            unit = visible[position] if position < len(visible) else None
            made = [annotator.decisions.get(each.code) for each in visible]
            skipped = sum(decision is not None and decision.is_skip for decision in made)
            decision = None if unit is None else annotator.decisions.get(unit.code)
            return View(
                unit=unit,
                position=position,
                total=len(visible),
                scored=sum(decision is not None for decision in made) - skipped,
                skipped=skipped,
                decision=decision,
                can_go_forward=decision is not None,
                undoable=annotator.history[-1][0] if annotator.history else None,
            )

    def decide(self, name: str, unit: str, decision: Decision) -> None:
        """Scores a unit, or skips it. What is there already is replaced.

        Raises:
          UserError: an unknown unit, or scores that aren't exactly those of its answers.
        """
        with self._lock:
            self._check(unit, decision)
            annotator = self._annotators.get(name)
            before = annotator and annotator.decisions.get(unit)
            if before == decision and annotator is not None:
                annotator.go_beyond(unit)  # sent twice
                return
            scores = [
                {"code": code, "score": score.score, "axes": dict(score.axes)}
                for code, score in decision.scores.items()
            ]
            # Recorded for whoever asks later whether the first place is preferred; nothing here
            # reads it.
            shown = [answer.code for answer in self._seen(name, unit).answers]
            action = "skip" if decision.is_skip else "score"
            details = {"scores": scores, "reason": decision.reason, "shown": shown}
            self._act(name, action, unit, **details)
            # A file that only grows can't take the earlier records back; mostly there are none, and
            # appending costs the same however long the file is.
            if before is not None:
                self._rewrite()
                return
            for number, file in enumerate(self._scores):
                if records := self._records(name, unit, decision, number):
                    file.extend(records)

    def undo(self, name: str, event: int) -> None:
        """Takes the annotator's last decision back, if it still is `event`."""
        with self._lock:
            annotator = self._annotators.get(name)
            if annotator is None or not annotator.history or annotator.history[-1][0] != event:
                return  # sent twice
            self._act(name, "undo", annotator.history[-1][1])
            self._rewrite()

    def move(
        self, name: str, direction: Literal["back", "forward"], languages: Collection[str] = ()
    ) -> None:
        """Goes to the unit before or after the one that `view` shows, as far as there is one; not
        beyond one that is open, which is skipped instead."""
        with self._lock:
            annotator = self._annotators.get(name) or self._newcomer(name)
            visible = annotator.visible(languages or self.languages)
            position = annotator.position(visible)
            if direction == "back" and position:
                self._act(name, "move", visible[position - 1].code)
            if direction == "forward" and position < len(visible):
                if visible[position].code not in annotator.decisions:
                    return
                after = visible[position + 1 :][:1]
                self._act(name, "move" if after else "end", (after or visible[-1:])[0].code)

    def scores(self) -> dict[str, dict[str, int]]:
        """The current scores, by annotator and code of the answer."""
        with self._lock:
            return {
                name: {
                    code: score.score
                    for decision in annotator.decisions.values()
                    for code, score in decision.scores.items()
                }
                for name, annotator in sorted(self._annotators.items())
            }

    def decisions(self, name: str) -> dict[str, Decision]:
        """The annotator's current decisions, by unit."""
        with self._lock:
            annotator = self._annotators.get(name)
            return dict(annotator.decisions) if annotator else {}

    # -------------------------------------------------------------------------------------- state

    def _newcomer(self, name: str) -> Annotator:
        return Annotator(unit_order(self.material.units, self._seed, name))

    def _seen(self, name: str, unit: str) -> Unit:
        """The unit as this annotator sees it."""
        annotator = self._annotators.get(name) or self._newcomer(name)
        return next(each for each in annotator.order if each.code == unit)

    def _check(self, unit: str, decision: Decision) -> None:
        if unit not in self.units:
            raise UserError("this answer is no longer part of the review; load the page again")
        codes = {answer.code for answer in self.units[unit].answers}
        if not decision.is_skip and set(decision.scores) != codes:
            raise UserError("a score is missing, or is that of another answer")
        if len(decision.reason) > LONGEST_REASON:
            raise UserError(f"the reason is longer than {LONGEST_REASON} characters")

    def _act(self, name: str, action: str, unit: str, **details: Any) -> None:
        record = {
            "event": len(self._journal.records),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "annotator": name,
            "action": action,
            "unit": unit,
            **details,
        }
        # On the disk first: what is in memory must be what a restart would find.
        self._journal.append(record)
        self._replay(record)

    def _replay(self, record: Record) -> None:
        name, action, unit = record["annotator"], record["action"], record["unit"]
        # Of a unit that is gone every action is skipped, so that each `undo` of another still finds
        # its own decision last.
        if unit not in self.units:
            self.strays += 1
            return
        if name not in self._annotators:
            self._annotators[name] = self._newcomer(name)
        annotator = self._annotators[name]
        if action == "move":
            annotator.go_to(unit)
        elif action == "end":
            annotator.go_beyond(unit)
        elif action == "undo":
            annotator.undo()
        else:
            scores = {each["code"]: Score(each["score"], each["axes"]) for each in record["scores"]}
            annotator.decide(record["event"], unit, Decision(scores, record["reason"]))

    # -------------------------------------------------------------------------------------- files

    def _rewrite(self) -> None:
        """Replaces the files of scores, where they differ from the current decisions."""
        made: dict[int, tuple[str, str, Decision]] = {}
        for name, annotator in self._annotators.items():
            # By the events, so that the file has the order that appending would have given it.
            latest = {unit: event for event, unit, _ in annotator.history}
            for unit, decision in annotator.decisions.items():
                made[latest[unit]] = (name, unit, decision)
        for number, file in enumerate(self._scores):
            found = (self._records(*made[event], number) for event in sorted(made))
            current = [record for records in found for record in records]
            if current != list(file.records.values()):
                file.close()
                write_jsonl(file.path, current)
                self._scores[number] = CallCache(file.path, KEY)

    def _records(self, name: str, unit: str, decision: Decision, evaluation: int) -> list[Record]:
        seen = self._seen(name, unit)
        return [
            self._record(name, seen, position, answer, decision)
            for position, answer in enumerate(seen.answers)
            if evaluation in answer.evaluations
        ]

    def _record(
        self, name: str, unit: Unit, position: int, answer: Answer, decision: Decision
    ) -> Record:
        item, score = unit.item, decision.scores.get(answer.code)
        others = [each.hash for each in unit.answers if each is not answer]
        asked = (item.question, item.rubric, item.reference)
        return {
            "id": item.id,
            # Of what is scored and not of the score, so that one that was changed replaces the
            # other.
            "fingerprint": fingerprint(FAMILY, name, asked, answer.hash),
            "answer_hash": answer.hash,
            "parallel_id": item.parallel_id,
            "domain": item.domain,
            "lang": item.lang,
            "judge": name,
            "family": FAMILY,
            "score": None if score is None else score.score,
            "unscored": "skipped" if score is None else None,
            "reason": decision.reason or None,
            "reply": None,
            "checks": None if answer.checks is None else dict(answer.checks),
            "axes": None
            if score is None or not score.axes
            else {axis: score.axes.get(axis) for axis in AXES},
            "sample": 0,
            "prompt_lang": item.lang,
            SPENT: None,
            # Of a pair: the answer's position, and what it was compared with.
            "pair": {"position": position, "other": others[0]} if others else None,
        }
