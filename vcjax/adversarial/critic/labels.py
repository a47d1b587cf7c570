"""Answers that people have labelled, with the Critic's decisions on them: calibration data."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from vcjax.adversarial.calls import ACTOR
from vcjax.adversarial.critic.panel import CriticPanel, Poll
from vcjax.adversarial.critic.rules import RuleVerdict, rule_verdicts
from vcjax.adversarial.critic.votes import Submission
from vcjax.adversarial.reasons import AnswerReason
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.core.validation import explain
from vcjax.roles.role import Reply
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.text.language import Language

Label = StrictStr | StrictInt
Text = Annotated[StrictStr, Field(min_length=1)]
ACCEPT, REJECT = "accept", "reject"


class Labelled(BaseModel):
    """One answer with people's labels, one line of a calibration file.

    Attributes:
      gold: its true label; without it, the label of more than half of the annotators.
      annotators: their labels, in the same order in every record; null where one gave none.
      critic: the Critic's label, if that is recorded; then `judged_by` may name the Critic.
      unscored: why the recorded Critic has no verdict.
      question, answer: needed where the Critic is still to be asked.
      domain: any name; a subdomain of the charter makes its principles relevant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    lang: Language
    domain: StrictStr = ""
    gold: Label | None = None
    annotators: tuple[Label | None, ...] = ()
    critic: Label | None = None
    unscored: Text | None = None
    judged_by: StrictStr = ""
    question: StrictStr = ""
    answer: StrictStr = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gold is None and self._majority() is None:
            raise ValueError("gold: there is none, and no majority of annotators")
        if self.critic is not None and self.unscored is not None:
            raise ValueError("unscored: the Critic has a verdict")
        if not self.judged and not (self.question.strip() and self.answer.strip()):
            raise ValueError("critic: there is no verdict, and no question and answer to judge")
        return self

    @property
    def truth(self) -> Label:
        label = self._majority() if self.gold is None else self.gold
        assert label is not None
        return label

    @property
    def judged(self) -> bool:
        return self.critic is not None or self.unscored is not None

    def _majority(self) -> Label | None:
        given = [label for label in self.annotators if label is not None]
        label, times = Counter(given).most_common(1)[0] if given else (None, 0)
        # More than half: of a tie either label would be our choice, not the people's.
        return label if 2 * times > len(given) else None


def read_calibration(path: str | Path, accept_score: int | None = None) -> list[Labelled]:
    """Reads a JSONL file of `Labelled` records.

    Args:
      accept_score: turns all labels into `accept` or `reject`, which they may be already; of
        scores from 0 to 5, those from `accept_score` on accept. None leaves the labels as they are.

    Raises:
      UserError: a bad record, an id that comes twice, a label that is no decision, no records.
    """
    items: dict[str, Labelled] = {}
    for number, record in read_jsonl(path):
        try:
            item = Labelled.model_validate(record)
            if accept_score is not None:
                item = _decided(item, accept_score)
        except ValidationError as failure:
            raise UserError(f"{path}:{number}: {explain(failure, Labelled)}") from None
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        # Two records of one id would be judged under one call's key, and the second get the first's
        # verdict.
        if item.id in items:
            raise UserError(f"{path}:{number}: the id {item.id!r} comes twice")
        items[item.id] = item
    if not items:
        raise UserError(f"{path}: no labelled answers")
    return list(items.values())


def submissions(items: Iterable[Labelled], charter: Charter) -> list[Submission]:
    """What the Critic is still to judge: the answers without a recorded verdict.

    Raises:
      UserError: one is in a language that the charter doesn't have.
    """
    known = {subdomain.id for subdomain in charter.subdomains()}
    found = []
    for item in items:
        if item.judged:
            continue
        if item.lang not in charter.languages:
            raise UserError(
                f"calibration: {item.id!r} is in {item.lang!r}, and charter {charter.name!r} is not"
            )
        subdomain = item.domain if item.domain in known else None
        found.append(
            Submission(f"calibration/{item.id}", item.lang, item.question, item.answer, subdomain)
        )
    return found


def rules_on(
    item: Labelled, charter: Charter, filters: Collection[AnswerReason]
) -> list[RuleVerdict]:
    """The rules by which a run would reject the answer; none where its text isn't in the file."""
    if not item.answer or item.lang not in charter.languages:
        return []
    known = {subdomain.id for subdomain in charter.subdomains()}
    return rule_verdicts(
        charter,
        ACTOR,
        query=item.question,
        reply=Reply(item.answer, "stop", 0, 0),
        lang=item.lang,
        subdomain=item.domain if item.domain in known else None,
        filters=filters,
    )


def judge_labelled(
    items: Sequence[Labelled], panel: CriticPanel, poll: Poll, judged_by: str
) -> list[Labelled]:
    """The items with the panel's decisions where none was recorded.

    Args:
      judged_by: the panel's name in the report.
    """
    unjudged = submissions(items, panel.charter)
    verdicts = iter(panel.judge(unjudged, poll) if unjudged else [])
    done = []
    for item in items:
        if not item.judged:
            verdict = next(verdicts)
            decision = {"accepted": ACCEPT, "rejected": REJECT}.get(verdict.kind)
            why = verdict.reason.removeprefix("critic: ") if decision is None else None
            update = {"critic": decision, "unscored": why, "judged_by": judged_by}
            item = item.model_copy(update=update)
        done.append(item)
    return done


def _decided(item: Labelled, accept_score: int) -> Labelled:
    def decision(label: Label | None, field: str) -> str | None:
        if label is None or label in (ACCEPT, REJECT):
            return label  # pyright: ignore[reportReturnType]
        if isinstance(label, int) and LOWEST <= label <= HIGHEST:
            return ACCEPT if label >= accept_score else REJECT
        raise ValueError(
            f"{field}: {label!r} is neither {ACCEPT!r} nor {REJECT!r} nor a score from {LOWEST} to "
            f"{HIGHEST}"
        )

    return item.model_copy(
        update={
            "gold": decision(item.truth, "gold"),
            "critic": decision(item.critic, "critic"),
            "annotators": tuple(decision(label, "annotators") for label in item.annotators),
        }
    )
