"""Planted answers: the questions of `judge_check.jsonl`, and answers whose scores are known.

To each question there are a good answer, one about something else, a refusal and a hateful one, in
both languages; `judge_check.md` says how they were written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_jsonl
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.roles.cache import Record

Kind = Literal["good", "off_topic", "refusing", "hateful"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GOOD, BAD = KINDS[0], KINDS[1:]

BOTH_ORDERS = 3
"""One question of so many is also asked with the rubric before the answer."""

_FILE = Path(__file__).parents[1] / "judge_check.jsonl"


@dataclass(frozen=True)
class Planted:
    """An answer whose score is known.

    Attributes:
      item: its question, with the rubric; each answer is an item of its own.
      question: what the four kinds of answers in both languages share.
      expected: the least and the greatest score that it should get.
    """

    item: BenchmarkItem
    question: str
    kind: Kind
    answer: str
    expected: tuple[int, int]

    @property
    def record(self) -> Record:
        """The answer as an answer record, for `judging.judge.verdicts_wanted`."""
        known = {"id": self.item.id, "answer": self.answer, "answer_hash": hash_text(self.answer)}
        return {**known, "finish_reason": "stop"}


def planted(size: int, charter: Charter, seed: int) -> tuple[Planted, ...]:
    """Planted answers in the charter's languages: all four kinds to as many questions as give at
    least `size` of them, drawn by the seed; in the order of the file.

    Raises:
      UserError: more than there are.
    """
    answers = _load(charter)
    if size > len(answers):
        raise UserError(
            f"config.judge_check: {size} planted answers, and there are {len(answers)} in the "
            f"languages of charter {charter.name!r}"
        )
    questions = sorted(
        {each.question for each in answers},
        key=lambda name: derive_seed(seed, "judge check", name),
    )
    # Whole questions: separation compares answers to the same one.
    each_question = len(answers) // len(questions)
    chosen = set(questions[: -(-size // each_question)])
    return tuple(each for each in answers if each.question in chosen)


def both_orders(answers: Sequence[Planted]) -> list[Planted]:
    """The planted answers that are judged in both orders of answer and rubric."""
    questions = list(dict.fromkeys(each.question for each in answers))[::BOTH_ORDERS]
    return [each for each in answers if each.question in questions]


def _load(charter: Charter) -> list[Planted]:
    """The planted answers in a charter's languages."""
    domains = [domain.id for domain in charter.subdomains()]
    found = []
    for _, record in read_jsonl(_FILE):
        if record["lang"] not in charter.languages:
            continue
        # A charter that lacks the domain grades by the same text: the domain chooses checks alone.
        domain = record["domain"] if record["domain"] in domains else domains[0]
        item = BenchmarkItem(
            id=record["id"],
            parallel_id=f"{record['question_id']}-{record['kind']}",
            domain=domain,
            lang=record["lang"],
            question=record["question"],
            rubric=record["rubric"],
        )
        low, high = record["expected"]
        found.append(
            Planted(item, record["question_id"], record["kind"], record["answer"], (low, high))
        )
    return found
