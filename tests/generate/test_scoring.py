"""Given tokens are scored as in the full forward pass, whatever their layout."""

import string
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.core.errors import UserError
from vcjax.generate import scoring
from vcjax.generate.likelihood import encode_pair, log_likelihood
from vcjax.generate.scoring import score, score_batch
from vcjax.model import build
from vcjax.model.build import abstract, plain_logits

CONTEXT = 96  # no power of two, so the longest rows aren't either


@pytest.fixture(scope="module")
def model(tiny):
    graph, _ = abstract(replace(tiny.config, max_position=CONTEXT))
    return graph, jax.device_put(tiny.params)


def ids(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(100, 700, length).tolist()


@pytest.fixture(scope="module")
def mixed() -> list[tuple[list[int], int]]:
    """Of all lengths, some of them prefixes of others."""
    own = [
        (ids(n, length), start)
        for n, (length, start) in enumerate(
            [(5, 1), (97, 1), (64, 63), (65, 30), (30, 29), (97, 96), (2, 1), (80, 79)]
        )
    ]
    context = ids(20, 40)
    shared = [([*context, token], 40) for token in (101, 300, 555)]
    return [*own, *shared, ([*context, 300, 9], 41), (context, 1)]


def expected(model, sequence, top):
    """Log-probabilities, argmax and most likely tokens from the full forward pass, in float64."""
    tokens, start = sequence
    logits = np.asarray(plain_logits(*model, jnp.asarray([tokens[:-1]])), np.float64)[0]
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rows = logprobs[start - 1 :]
    best = np.argsort(-rows, axis=-1, kind="stable")[:, :top]
    chosen = np.take_along_axis(rows, np.asarray(tokens[start:])[:, None], -1)[:, 0]
    return chosen, rows.argmax(-1) == tokens[start:], best, np.take_along_axis(rows, best, -1)


def test_scores_are_those_of_the_full_forward_pass_in_the_order_asked(model, mixed):
    results = score(*model, mixed, top=3, token_budget=256)
    assert len(results) == len(mixed)
    for sequence, result in zip(mixed, results, strict=True):
        chosen, greedy, best, best_logprobs = expected(model, sequence, 3)
        np.testing.assert_allclose(result.logprobs, chosen, atol=2e-4)
        assert result.greedy == tuple(greedy)
        assert [rank == 1 for rank in result.ranks] == list(greedy)
        assert [[token for token, _ in position] for position in result.top] == best.tolist()
        logprobs = [[logprob for _, logprob in position] for position in result.top]
        np.testing.assert_allclose(logprobs, best_logprobs, atol=2e-4)


def test_no_alternatives_are_returned_unless_they_are_requested(model, mixed):
    assert all(result.top == () for result in score(*model, mixed))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(2, 97), st.floats(0, 1)), max_size=12),
    st.sampled_from([1, 128, 512]),
)
def test_together_is_what_alone_is_whatever_the_budget(model, asked, token_budget):
    # Few seeds, so that many sequences share a prefix.
    sequences = [
        (ids(seed, 97)[:length], 1 + int(share * (length - 2))) for seed, length, share in asked
    ]
    scored = {}
    together = score(*model, sequences, token_budget=token_budget, on_scored=scored.__setitem__)
    assert scored == dict(enumerate(together))
    for sequence, result in zip(sequences, together, strict=True):
        (alone,) = score(*model, [sequence])
        np.testing.assert_allclose(result.logprobs, alone.logprobs, atol=2e-5)
        assert len(result.logprobs) == len(result.greedy) == len(sequence[0]) - sequence[1]


def test_in_a_row_of_the_same_shape_the_bits_are_the_same_whatever_is_beside_it(model):
    one = (ids(1, 50), 10)
    first, *_ = score(*model, [one, *((ids(n, 60), 5) for n in range(2, 5))])
    *_, last = score(*model, [*((ids(n, 33), 30) for n in range(5, 8)), one])
    assert first == last


def test_a_prompt_is_run_once_for_all_of_its_answers(model, monkeypatch):
    """Counted: the tokens that the model is given are those of the prompts and of each answer."""
    prompts = [ids(40 + n, 30) for n in range(3)]
    answers = [ids(50 + n, 5) for n in range(4)]
    sequences = [([*prompt, *answer], 30) for prompt in prompts for answer in answers]
    given = []

    def counting(graph, params, tokens, positions, ends, *rest, **options):
        given.append(tokens)
        return score_batch(graph, params, tokens, positions, ends, *rest, **options)

    monkeypatch.setattr(scoring, "score_batch", counting)
    results = score(*model, sequences, top=1)
    # Of each answer the last token is only predicted. No id is 0, which is padding.
    assert sum(np.count_nonzero(tokens) for tokens in given) == 3 * (30 + 4 * 4)
    for sequence, result in zip(sequences, results, strict=True):
        chosen, greedy, best, _ = expected(model, sequence, 1)
        np.testing.assert_allclose(result.logprobs, chosen, atol=2e-4)
        assert result.greedy == tuple(greedy)
        assert [position[0][0] for position in result.top] == best[:, 0].tolist()


def test_answers_do_not_see_each_other_in_a_model_with_sliding_windows(tiny):
    config = replace(tiny.config, windows=(7, 0), max_position=CONTEXT)
    model = abstract(config)[0], jax.device_put(tiny.params)
    prompt = ids(60, 20)
    sequences = [([*prompt, *ids(61 + n, 9)], 20) for n in range(4)]
    for sequence, result in zip(sequences, score(*model, sequences), strict=True):
        np.testing.assert_allclose(result.logprobs, expected(model, sequence, 1)[0], atol=2e-4)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (([3], 1), "can't be scored"),
        (([3, 4], 0), "can't be scored"),
        (([3, 4], 2), "can't be scored"),
        (([3] * 98, 1), "98 tokens don't fit a context of 96 and one more"),
        (([3, 4000], 1), "isn't in the model's vocabulary of "),
        (([3, -1], 1), "isn't in the model's vocabulary"),
    ],
)
def test_a_sequence_that_cannot_be_scored_is_named(model, sequence, message):
    with pytest.raises(UserError, match=f"sequence 1: .*{message}"):
        score(*model, [([3, 4], 1), sequence])


def test_logits_never_exist_for_all_tokens(tiny):
    config = replace(tiny.config, vocab_size=50_000)
    graph, _ = abstract(config)
    numbers = {name: jax.ShapeDtypeStruct((4096,), jnp.int32) for name in ("indices", "targets")}
    rows = {
        name: jax.ShapeDtypeStruct((64, 64), jnp.int32) for name in ("tokens", "positions", "ends")
    }
    program = score_batch.lower(
        graph,
        build.shapes(config),
        count=jax.ShapeDtypeStruct((), jnp.int32),
        top=4,
        is_tree=True,
        **rows,
        **numbers,
    ).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4096 * config.vocab_size * 4 / 8


def test_many_pairs_score_as_each_alone(model, tiny):
    contexts = ["Both sides", "Both sides", "两面", "", "Grade the answer. " * 3]
    continuations = [" have", " reply", "都有理由。", "Alone.", "Why"]
    arguments = (*model, tiny.tokenizer)
    together = log_likelihood(*arguments, contexts, continuations, max_position=CONTEXT)
    for context, continuation, (total, greedy) in zip(
        contexts, continuations, together, strict=True
    ):
        ((alone, its_greedy),) = log_likelihood(
            *arguments, [context], [continuation], max_position=CONTEXT
        )
        assert total == pytest.approx(alone, abs=1e-4)
        assert greedy == its_greedy


def test_white_space_at_a_contexts_end_is_scored_with_the_continuation(tiny):
    tokenizer = tiny.tokenizer
    for word in string.ascii_letters:
        assert encode_pair(tokenizer, "Both ", word) == encode_pair(tokenizer, "Both", f" {word}")


def test_special_tokens_are_parsed_only_where_that_is_asked_for(tiny):
    end = tiny.tokenizer.special_tokens["<|im_end|>"]
    plain, _ = encode_pair(tiny.tokenizer, "Both<|im_end|>", "So")
    parsed, start = encode_pair(tiny.tokenizer, "Both<|im_end|>", "So", special=True)
    assert end not in plain
    assert parsed[start - 1] == end
