"""`prompt_logprobs`: how likely each token of a prompt is, as vLLM's server returns it.

A list with an entry for each token of the prompt. The first is null, as nothing is before that
token; the others are objects of `{token id: {"logprob", "rank", "decoded_token"}}`, the prompt's
own token first and then the likeliest ones. In an answer of `/v1/chat/completions` the list is a
field of the answer, in one of `/v1/completions` a field of each choice.

Source: vLLM's OpenAI-compatible server (`entrypoints/openai`, versions 0.6 to 0.15); Inspect's
`vllm` provider reads the first of a position's objects as that of the prompt's own token.
"""

from collections.abc import Sequence
from typing import Any

from vcjax.generate.requests import Scored
from vcjax.serve.protocol import MIN_LOGPROB
from vcjax.text.tokenizer import Tokenizer

PromptLogprobs = list[dict[str, dict[str, Any]] | None]


def prompt_logprobs(
    tokenizer: Tokenizer, ids: Sequence[int], scored: Scored, count: int
) -> PromptLogprobs:
    """The list of one prompt.

    Args:
      scored: of all tokens but the first, with at least `count` alternatives.
      count: number of the likeliest tokens beside each one.
    """
    positions: PromptLogprobs = [None]
    tops = scored.top or [()] * len(scored.ranks)
    for token, logprob, rank, top in zip(ids[1:], scored.logprobs, scored.ranks, tops, strict=True):
        ranked = [(token, logprob, rank)]
        ranked += [(*each, n) for n, each in enumerate(top[:count], start=1) if each[0] != token]
        positions.append(
            {
                str(each): {
                    "logprob": max(value, MIN_LOGPROB),
                    "rank": its_rank,
                    "decoded_token": tokenizer.decode([each], skip_special=False),
                }
                for each, value, its_rank in ranked
            }
        )
    return positions
