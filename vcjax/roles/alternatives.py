"""What the numbers in a JSON reply might have been, and the score that this makes one expect."""

import math
import re
from collections.abc import Sequence

from vcjax.roles.role import Alternatives

_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*')
_WHOLE_NUMBER = re.compile(r"\s*(\d+)\D*")


def number_alternatives(
    tokens: Sequence[tuple[str, float]], top: Sequence[Alternatives]
) -> tuple[Alternatives, ...]:
    """For each number in a JSON reply, in the reply's order, the texts that might have begun it.

    Only these are kept of a reply's alternatives: a score is one token, a reply has hundreds.

    Args:
      tokens: the text of each token of the reply and its log-probability. Bytes of a character
        that several tokens share may be U+FFFD: they stand in strings alone.
      top: for each token the likeliest texts in its place, with their log-probabilities.

    Returns the alternatives, the chosen token among them: a constraint may choose one that isn't
    likely. They come without what they share with it before the number (a token may be `:4`);
    those that begin otherwise are left out.
    """
    if len(tokens) != len(top):
        raise ValueError(f"{len(tokens)} tokens, but alternatives for {len(top)}")
    texts = [text for text, _ in tokens]
    starts, length = [], 0
    for text in texts:
        starts.append(length)
        length += len(text)
    found, place = [], 0
    for match in _STRING_OR_NUMBER.finditer("".join(texts)):
        if match.group().startswith('"'):
            continue
        while place + 1 < len(starts) and starts[place + 1] <= match.start():
            place += 1
        before = texts[place][: match.start() - starts[place]]
        chosen = () if texts[place] in dict(top[place]) else (tokens[place],)
        found.append(
            tuple(
                (text.removeprefix(before), logprob)
                for text, logprob in (*top[place], *chosen)
                if text.startswith(before)
            )
        )
    return tuple(found)


def expected_score(alternatives: Alternatives, lowest: int, highest: int) -> float | None:
    """The mean of the scores that might have been written, weighted by their probabilities.

    Texts that aren't a whole number from `lowest` to `highest` don't count, and the rest is
    normalised, so that it is the same whether a constraint's mask came before the probabilities or
    not. None where there are no scores among them. (Liu et al., G-Eval, arXiv 2303.16634, eq. 1.)
    """
    logprobs: list[tuple[int, float]] = []
    for text, logprob in alternatives:
        number = _WHOLE_NUMBER.fullmatch(text)
        if number and lowest <= int(number[1]) <= highest and logprob > -math.inf:
            logprobs.append((int(number[1]), logprob))
    if not logprobs:
        return None
    most = max(logprob for _, logprob in logprobs)
    weights = [(score, math.exp(logprob - most)) for score, logprob in logprobs]
    return sum(score * weight for score, weight in weights) / sum(w for _, w in weights)
