"""What moves a judge's score beside the answer's worth: its length."""

import math
from collections.abc import Mapping, Sequence

from vcjax.evaluation.judging.panel import Record
from vcjax.stats.intervals import Interval
from vcjax.stats.slopes import slope_within


def doublings(text: str) -> float:
    """The length of an answer, so that a difference of 1 is a doubling of its characters."""
    # By doublings, as what a judge sees in length is relative: ten words more are much of twenty
    # and little of a thousand.
    return math.log2(max(len(text), 1))


def length_slope(
    records: Sequence[Record], answers: Mapping[str, str], confidence: float = 0.95
) -> Interval:
    """By how much the score rises with each doubling of the answer's length, among the answers of
    one domain and language.

    It isn't a bias by itself: longer answers may be better ones. The same slope among planted
    answers of one kind (`judge_check`) is nearer to one.

    Args:
      records: combined score records.
      answers: their texts by id.
    """
    scored = [record for record in records if record["score"] is not None]
    scored.sort(key=lambda record: record["id"])  # sums depend on the order in their last bits
    return slope_within(
        [doublings(answers[record["id"]]) for record in scored],
        [record["score"] for record in scored],
        [(record["domain"], record["lang"]) for record in scored],
        [record["parallel_id"] for record in scored],
        confidence=confidence,
    )
