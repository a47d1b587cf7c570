"""Options under letters, and how probable a model finds each letter."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.special
from jaxtyping import Float

from vcjax.evaluation.likelihoods import score_answers
from vcjax.evaluation.options.rows import LETTERS
from vcjax.roles.role import LikelihoodAsk, ScoringRole
from vcjax.text.language import Language

LIKELIHOODS = "likelihoods.jsonl"
ITEMS = "items.jsonl"
"""What a measure found of each item, in its folder."""
_TASK = {
    "en": "Answer with the letter of one option.",
    "zh": "请只回答一个选项的字母。",
}


def option_ask(key: str, lang: Language, question: str, options: Sequence[str]) -> LikelihoodAsk:
    """The question with its options, each under a letter; the answers are the letters.

    A letter is one token, whatever its option: options aren't compared by their lengths.
    """
    letters = LETTERS[: len(options)]
    listed = "\n".join(
        f"{letter}. {option}" for letter, option in zip(letters, options, strict=True)
    )
    content = f"{question}\n\n{listed}\n\n{_TASK[lang]}"
    return LikelihoodAsk(key, ({"role": "user", "content": content},), tuple(letters))


def option_probabilities(
    role: ScoringRole, asks: Sequence[LikelihoodAsk], folder: Path
) -> Mapping[str, Float[np.ndarray, " options"]]:
    """By the asks' keys, the probability of each option among the options.

    What was scored is in `likelihoods.jsonl`, and isn't scored again.

    Raises:
      UserError: see `score_answers`.
    """
    found = score_answers(role, asks, [ask.answers for ask in asks], folder / LIKELIHOODS)
    return {
        # Among the options alone: what else the model might write is left out.
        ask.key: scipy.special.softmax([found[ask.key][letter] for letter in ask.answers])
        for ask in asks
    }
