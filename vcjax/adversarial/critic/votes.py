"""One vote of one Critic on an answer, and the thresholds by which it accepts or rejects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor
from statistics import fmean
from typing import Self

from vcjax.adversarial.reasons import Origin
from vcjax.charter.schema import Charter
from vcjax.roles.verdict import Verdict
from vcjax.text.language import Language

PRINCIPLE = "principles/"  # before the id, in the name of a principle's score


@dataclass(frozen=True)
class Submission:
    """An answer that is to be judged, and the question that it answers.

    Attributes:
      id: distinguishes the calls on it from those on others.
      subdomain: of the charter, or None: then only principles that bind everywhere are relevant.
    """

    id: str
    lang: Language
    question: str
    answer: str
    subdomain: str | None = None


@dataclass(frozen=True)
class Vote:
    """One vote of one Critic.

    Attributes:
      scores: by aspect: `score` alone where the Critic gave one for the whole, else
        `principles/<id>`, `facts`, `helpfulness` and `fluency`.
      expected: for the same aspects the expected score under the token probabilities; empty where
        there were none.
      broken: ids of the floor rules that it finds broken.
      reason: in the Critic's words.
      unscored: why the reply couldn't be read; `scores` is empty then.
    """

    scores: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    reason: str = ""
    unscored: str | None = None

    @property
    def score(self) -> float | None:
        """The whole answer's; a broken floor rule makes it 0."""
        return self._whole(self.scores)

    @property
    def expected_score(self) -> float | None:
        """As `score`, of the expected scores; the expectation of a mean is the mean of
        expectations."""
        return self._whole(self.expected)

    def _whole(self, scores: Mapping[str, float]) -> float | None:
        if not scores:
            return None
        return 0.0 if self.broken else _whole(scores)


def _whole(scores: Mapping[str, float]) -> float:
    """The mean of the aspects; all principles together are one of them."""
    # A charter with many principles would drown facts and helpfulness otherwise.
    principles = [value for name, value in scores.items() if name.startswith(PRINCIPLE)]
    others = [value for name, value in scores.items() if not name.startswith(PRINCIPLE)]
    return fmean([*others, fmean(principles)] if principles else others)


@dataclass(frozen=True)
class AcceptThresholds:
    """The scores that an answer needs to be accepted, as a whole and aspect by aspect."""

    score: int
    principle: int
    facts: int
    helpfulness: int
    fluency: int

    @classmethod
    def of(cls, charter: Charter, accept_score: int = -1) -> Self:
        """The charter's; an `accept_score` of 0 to 5 replaces the charter's own.

        No aspect's threshold is above that of the whole: at 0 every score passes.
        """
        score = charter.accept_score if accept_score < 0 else accept_score
        lowest = charter.thresholds.model_dump()
        # Otherwise an `accept_score` that was lowered would be without effect: aspects would still
        # reject.
        return cls(score, **{name: min(value, score) for name, value in lowest.items()})

    def reject_reason(self, vote: Vote) -> str | None:
        """Why a scored vote rejects, in a few words that many answers share; None where it
        accepts."""
        if vote.broken:
            return f"floor {vote.broken[0]}"
        # The aspect that it fails most, as one word for the counts.
        low = [(value, name) for name, value in vote.scores.items() if value < self._least(name)]
        if low:
            value, name = min(low, key=lambda each: each[0])
            return f"{name.removeprefix(PRINCIPLE)} {value}"
        whole = _whole(vote.scores)
        # Rounded down: 3.97 must not be shown as the 4.0 that it misses.
        return None if whole >= self.score else f"score {floor(10 * whole) / 10:g}"

    def _least(self, aspect: str) -> int:
        return self.principle if aspect.startswith(PRINCIPLE) else getattr(self, aspect)


def vote_verdict(vote: Vote, thresholds: AcceptThresholds) -> Verdict:
    """The verdict on an answer by one vote alone."""
    if vote.unscored is not None:
        return Verdict("unscored", f"{Origin.CRITIC}: {vote.unscored}")
    reason = thresholds.reject_reason(vote)
    if reason is not None:
        return Verdict("rejected", f"{Origin.CRITIC}: {reason}", vote.score)
    return Verdict("accepted", vote.reason, vote.score)
