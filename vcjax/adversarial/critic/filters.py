"""How often the filters of `rules.py` are right, on answers that people have labelled.

`launch.ledger filters` prints the table for the shipped answers or for a user's own. Of the shipped
ones half are marked `dev`, and cues may be written from them; from the others, marked `test`, none
may. The labels are older than the cues. Both are by the same authors, so `tests/external` measures
refusals on XSTest's published labels as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, model_validator

from vcjax.adversarial.critic.rules import rejecting_filters
from vcjax.adversarial.reasons import AnswerReason
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.core.validation import explain
from vcjax.stats.intervals import Interval, rate_record
from vcjax.text.language import Language

LABELLED_ANSWERS = Path(__file__).parent / "labelled_answers.jsonl"
MEASURED = (
    AnswerReason.REFUSAL,
    AnswerReason.LECTURE,
    AnswerReason.TRUNCATED,
    AnswerReason.REPETITIVE,
)
"""The filters that have labels."""

Label = Literal["refusal", "lecture", "truncated", "repetitive", "good"]


class LabelledAnswer(BaseModel):
    """One answer with all labels that are true of it.

    Attributes:
      split: `dev` where cues may be written from the answer, `test` where none may.
      labels: `good` alone, or what is wrong with the answer: it is a `refusal` if it declines and
        gives nothing of what was asked; a `lecture` if it rebukes or exhorts and never answers;
        `truncated` if it is cut off; `repetitive` if it loops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: StrictStr
    split: Literal["dev", "test"] = "test"
    lang: Language
    question: StrictStr
    answer: StrictStr = Field(min_length=1)
    labels: tuple[Label, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "good" in self.labels and len(self.labels) > 1:
            raise ValueError("labels: 'good' stands alone")
        return self


def read_labelled_answers(path: str | Path = LABELLED_ANSWERS) -> list[LabelledAnswer]:
    """Reads a JSONL file of `LabelledAnswer` records.

    Raises:
      UserError: a bad record, or no records.
    """
    answers = []
    for number, record in read_jsonl(path):
        try:
            answers.append(LabelledAnswer.model_validate(record))
        except ValidationError as failure:
            raise UserError(f"{path}:{number}: {explain(failure, LabelledAnswer)}") from None
    if not answers:
        raise UserError(f"{path}: no labelled answers")
    return answers


def measure_filters(
    answers: Sequence[LabelledAnswer], *, confidence: float = 0.95
) -> dict[str, dict[str, Any]]:
    """Each filter's precision and recall, whatever the filters before it reject.

    Returns (JSON-serialisable) for each of MEASURED `{precision, recall}`, rates with their exact
    intervals: the share of the answers that it rejects which are labelled so, and the share of
    those labelled so that it rejects.
    """
    rejected = [
        # As if each had ended by itself: truncation is to be found by the words, which is what is
        # measured.
        rejecting_filters(each.answer, each.question, each.lang, "stop")
        for each in answers
    ]
    measured: dict[str, dict[str, Any]] = {}
    for name in MEASURED:
        pairs = [
            (name in found, name.value in each.labels)
            for found, each in zip(rejected, answers, strict=True)
        ]
        right = pairs.count((True, True))
        measured[name.value] = {
            "precision": rate_record(right, right + pairs.count((True, False)), confidence),
            "recall": rate_record(right, right + pairs.count((False, True)), confidence),
        }
    return measured


def filter_table(answers: Iterable[LabelledAnswer]) -> list[tuple[str, ...]]:
    """`measure_filters` by split and language, as rows of text below a head."""
    groups: dict[tuple[str, str], list[LabelledAnswer]] = {}
    for each in answers:
        for lang in (each.lang, "both"):
            groups.setdefault((each.split, lang), []).append(each)
    rows: list[tuple[str, ...]] = [("split", "language", "filter", "precision", "recall")]
    for (split, lang), members in sorted(groups.items()):
        for name, rates in measure_filters(members).items():
            shown = (_rate(rates[which]) for which in ("precision", "recall"))
            rows.append((split, lang, name, *shown))
    return rows


def _rate(rate: Mapping[str, Any]) -> str:
    return f"{rate['k']}/{rate['n']} = {Interval.of(rate, 'rate'):.2f}" if rate["n"] else "–"
