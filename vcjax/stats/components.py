"""Why the scores of a question's versions differ: variance by wording, framing and language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vcjax.stats.intervals import Scale


@dataclass(frozen=True)
class Component:
    """A part of the variance of scores.

    Attributes:
      parts: of each question an estimate whose mean, over the questions, estimates the variance
        without bias. One of them may be negative, as noise has been subtracted from it.
      scale: the least and the greatest value that a part can have.
    """

    parts: Float[np.ndarray, " questions"]
    scale: Scale


def variance_components(
    neutral: Float[np.ndarray, "questions languages wordings"],
    opposing: Float[np.ndarray, "questions languages"],
    width: float,
) -> dict[str, Component]:
    """Splits the variance of scores into its causes, by the method of moments (Searle, Casella &
    McCulloch 1992, "Variance Components", chapter 4).

    - `wording`: between neutral wordings of one question in one language. What chance adds to each
      answer and to each score is in it, too.
    - `framing`: between neutral wordings and an opposing one.
    - `language`: between the languages of one question, where there are two or more; a gap that all
      questions share is in it, too.
    - `question`: between the questions, where there are two or more.

    The noise that a mean of few wordings inherits from `wording` is subtracted from the others.

    Args:
      neutral, opposing: scores without NaN; at least two wordings.
      width: of the scale of the scores.

    Raises:
      ValueError: fewer than two wordings.
    """
    questions, languages, wordings = neutral.shape
    if wordings < 2:
        raise ValueError(f"{wordings} neutral wordings show no variance between them")
    levels = neutral.mean(axis=2)
    noise = neutral.var(axis=2, ddof=1)
    most = width**2
    # Two values that differ by d have the variance d^2 / 2.
    # An opposing score minus the mean of w neutral ones varies by noise * (1 + 1 / w) without any
    # framing, which is subtracted.
    framing = ((opposing - levels) ** 2 - noise * (1 + 1 / wordings)) / 2
    components = {
        "wording": Component(noise.mean(axis=1), (0.0, largest_variance(wordings) * most)),
        "framing": Component(
            framing.mean(axis=1),
            (-largest_variance(wordings) * most * (1 + 1 / wordings) / 2, most / 2),
        ),
    }
    inherited = noise.mean(axis=1) / wordings
    if languages > 1:
        lowest = -largest_variance(wordings) * most / wordings
        components["language"] = Component(
            levels.var(axis=1, ddof=1) - inherited, (lowest, largest_variance(languages) * most)
        )
    if questions > 1:
        # The deviations from means over the questions are too small by the share 1 / questions.
        known = questions / (questions - 1)
        own = levels.mean(axis=1)
        shared = inherited / languages
        if languages > 1:
            apart = (levels - levels.mean(axis=0)).var(axis=1, ddof=1) * known
            shared = apart / languages
        lowest = -known * most * largest_variance(max(languages, 2))
        parts = known * (own - own.mean()) ** 2 - shared
        components["question"] = Component(parts, (lowest, known * most))
    return components


def largest_variance(values: int) -> float:
    """The largest variance, with the denominator n - 1, of n values from 0 to 1."""
    half = values // 2
    return half * (values - half) / (values * (values - 1))
