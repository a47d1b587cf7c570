"""One annotator of a review: their order of the units, what they decided, and where they are."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vcjax.core.errors import UserError
from vcjax.review.units import Unit
from vcjax.roles.verdict import AXES, HIGHEST, LOWEST

LONGEST_NAME, LONGEST_REASON = 40, 4000
"""The longest name of an annotator and reason of a score, in characters."""


@dataclass(frozen=True)
class Score:
    """The score of one answer, 0 to 5, and the scores by axis that the annotator gave."""

    score: int
    axes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises: UserError for a number that is out of range, or an unknown axis."""
        if unknown := set(self.axes) - set(AXES):
            raise UserError(f"{min(unknown)}: no axis; they are {', '.join(AXES)}")
        for name, value in {"score": self.score, **self.axes}.items():
            if not LOWEST <= value <= HIGHEST:
                raise UserError(f"{name}: {value} is not from {LOWEST} to {HIGHEST}")


@dataclass(frozen=True)
class Decision:
    """What an annotator decided on a unit: scores by the codes of its answers.

    Without scores the unit was skipped.
    """

    scores: Mapping[str, Score]
    reason: str = ""

    @property
    def is_skip(self) -> bool:
        return not self.scores


@dataclass
class Annotator:
    """Attributes:
    order: all units, as this annotator sees them.
    decisions: the current ones by the units' codes, the latest last.
    history: the events that can be undone: number, unit, and the decision that it replaced.
    current: the unit that was acted on last.
    shows_current: whether the page shows that unit, and not the next open one.
    """

    order: tuple[Unit, ...]
    decisions: dict[str, Decision] = field(default_factory=dict)
    history: list[tuple[int, str, Decision | None]] = field(default_factory=list)
    current: str | None = None
    shows_current: bool = False

    def decide(self, event: int, unit: str, decision: Decision) -> None:
        """Records a decision, which replaces an earlier one, and goes on from its unit."""
        self.history.append((event, unit, self.decisions.pop(unit, None)))
        self.decisions[unit] = decision
        self.go_beyond(unit)

    def undo(self) -> None:
        """Restores what was there before the last decision, and shows its unit."""
        _, unit, before = self.history.pop()
        del self.decisions[unit]
        if before is not None:
            self.decisions[unit] = before
        self.go_to(unit)

    def go_to(self, unit: str) -> None:
        """Shows this unit, decided or not."""
        self.current, self.shows_current = unit, True

    def go_beyond(self, unit: str) -> None:
        """Shows the next open unit after this one."""
        self.current, self.shows_current = unit, False

    def visible(self, languages: Collection[str]) -> list[Unit]:
        """The units in these languages, in the annotator's order."""
        return [unit for unit in self.order if unit.item.lang in languages]

    def position(self, visible: Sequence[Unit]) -> int:
        """The index of the unit to show; the number of units where all are decided."""
        codes = [unit.code for unit in visible]
        start = codes.index(self.current) if self.current in codes else 0
        if self.shows_current and self.current in codes:
            return start
        # Once around: after another choice of languages, units before the current one may be open.
        turned = [*range(start, len(codes)), *range(start)]
        return next((i for i in turned if codes[i] not in self.decisions), len(codes))


def check_name(name: str) -> str:
    """An annotator's name without white space around it, in Unicode's composed form.

    Raises:
      UserError: it is empty, too long, or has characters that aren't printed.
    """
    # One spelling for one person: keyboards write an accented letter as one character or as two.
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise UserError("annotator: give a name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"annotator: at most {LONGEST_NAME} printable characters")
    return name
