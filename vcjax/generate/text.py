"""The text layer on the engine: prompts, conversations and pairs in, text or scores out."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from flax import nnx

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.constraints import Constraint, Constraints
from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, Result, SamplingParams
from vcjax.generate.scoring import TOKEN_BUDGET, Scored, score
from vcjax.model.build import Params
from vcjax.text.rendering import render_prompt
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.model import LoadedModel

Conversation = Sequence[dict[str, str]]
Context = str | Conversation
"""What an answer is scored after."""
Prompt = Context | Sequence[int]


class TextEngine:
    """An engine with its model's tokenizer and chat template."""

    def __init__(self, loaded: LoadedModel, engine: Engine) -> None:
        """`engine` runs the parameters of `loaded`."""
        self.tokenizer = loaded.require_tokenizer()
        self.engine, self.eos_ids = engine, loaded.eos_ids
        self._constraints: Constraints | None = None

    def request(self, prompt: Prompt, sampling: SamplingParams) -> Request:
        """The engine's request for a prompt; see `encode_prompt`.

        Raises:
          UserError: it doesn't fit the model, or its constraint can't be compiled.
        """
        request = Request(
            prompt=encode_prompt(self.tokenizer, prompt),
            sampling=sampling,
            eos_ids=self.eos_ids,
            stopping=self._detokenizer(sampling) if sampling.stop else None,
        )
        # Before the constraint, which takes the longest to make.
        request.check(self.engine.config)
        return replace(request, constraint=self._constraint(sampling))

    @property
    def constraints(self) -> Constraints:
        """Made on first use: to take the tokenizer apart takes a second for 50,000 tokens."""
        if self._constraints is None:
            vocab_size = self.engine.config.vocab_size
            self._constraints = Constraints(self.tokenizer, vocab_size, self.eos_ids)
        return self._constraints

    def text(self, request: Request, result: Result) -> str:
        """The text of a request's tokens, up to its stop string."""
        if isinstance(request.stopping, Detokenizer):
            request.stopping.finish()
            return request.stopping.text
        return self.tokenizer.decode(result.tokens)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams,
        on_text: Callable[[int, str, Result], None] | None = None,
    ) -> list[str]:
        """Continues all prompts; prompt i draws from a seed derived from (seed, i).

        Raises:
          UserError: a single prompt instead of a list, or one that doesn't fit the context.
        """
        if isinstance(prompts, str):
            raise UserError("prompts must be a list of texts or conversations, not one text")
        requests = [
            self.request(prompt, replace(sampling, seed=derive_seed(sampling.seed, i)))
            for i, prompt in enumerate(prompts)
        ]

        def finished(index: int, result: Result) -> None:
            if on_text is not None:
                on_text(index, self.text(requests[index], result), result)

        results = self.engine.generate(requests, finished)
        return [
            self.text(request, result) for request, result in zip(requests, results, strict=True)
        ]

    def stream(self, prompt: Prompt, sampling: SamplingParams) -> Iterator[str]:
        """Yields pieces of one continuation as they are made; see `Detokenizer.take`."""
        request, detokenizer = self.detokenized(self.request(prompt, sampling))
        for _ in self.engine.stream(request):
            if piece := detokenizer.take():
                yield piece
        if piece := detokenizer.finish():
            yield piece

    def detokenized(self, request: Request) -> tuple[Request, Detokenizer]:
        """A request whose text can be read while it runs, and the detokenizer that has it."""
        detokenizer = request.stopping
        if not isinstance(detokenizer, Detokenizer):
            detokenizer = self._detokenizer(request.sampling)
            request = replace(request, stopping=detokenizer)
        return request, detokenizer

    def _detokenizer(self, sampling: SamplingParams) -> Detokenizer:
        return Detokenizer(self.tokenizer, sampling.stop, sampling.min_tokens)

    def _constraint(self, sampling: SamplingParams) -> Constraint | None:
        if sampling.json_schema is not None:
            return self.constraints.json(sampling.json_schema)
        if sampling.regex is not None:
            return self.constraints.regex(sampling.regex)
        if sampling.choices is not None:
            return self.constraints.choices(list(sampling.choices))
        return None


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt) -> tuple[int, ...]:
    """Token ids to continue.

    Args:
      prompt: a text is encoded after BOS, where the tokenizer adds one; a conversation is rendered
        with the model's chat template, up to the assistant's turn; ids are taken unchanged.
    """
    if isinstance(prompt, str):
        bos = tokenizer.bos_id if tokenizer.adds_bos else None
        return (*(() if bos is None else (bos,)), *tokenizer.encode(prompt))
    if prompt and isinstance(prompt[0], int):
        return tuple(cast(Sequence[int], prompt))
    return render_prompt(tokenizer, cast(Conversation, prompt))


# ------------------------------------------------------------------------------------- dialogue


class Dialogue:
    """A conversation with one model that stays within the model's context.

    Answer i draws from a seed derived from (`sampling.seed`, i).
    """

    def __init__(
        self,
        text: TextEngine,
        sampling: SamplingParams,
        system: str = "",
        on_forget: Callable[[], None] = lambda: None,
    ) -> None:
        """Args:
        system: the system message, which is never forgotten; empty is none.
        on_forget: called once, when the model no longer gets the oldest exchanges.
        """
        self._text, self._sampling, self._system = text, sampling, system
        self._on_forget = on_forget
        self.reset()

    def reset(self) -> None:
        """Starts a new conversation."""
        self._turns: list[dict[str, str]] = []
        self._answers, self._forgot = 0, False

    def ask(self, prompt: str) -> Generator[str, None, None]:
        """Yields an answer in pieces; of one that the caller breaks off, what came is kept.

        Raises:
          UserError: the prompt doesn't fit the context even alone.
        """
        self._turns.append({"role": "user", "content": prompt})
        seed = derive_seed(self._sampling.seed, self._answers)
        self._answers += 1
        answer = ""
        try:
            messages = self._fitting()
            for piece in self._text.stream(messages, replace(self._sampling, seed=seed)):
                answer += piece
                yield piece
        finally:
            if answer.strip():
                self._turns.append({"role": "assistant", "content": answer})
            else:  # no chat template renders an empty answer
                self._turns.pop()

    def _fitting(self) -> list[dict[str, str]]:
        """The messages, without as many of the oldest exchanges as don't fit."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        context, new = self._text.engine.config.max_position, self._sampling.max_tokens
        tokens = 0
        for start in range(0, len(self._turns), 2):
            messages = [*system, *self._turns[start:]]
            tokens = len(encode_prompt(self._text.tokenizer, messages))
            if tokens + new <= context:
                del self._turns[:start]
                if start and not self._forgot:
                    self._forgot = True
                    self._on_forget()
                return messages
        raise UserError(
            f"the prompt: {tokens} tokens and {new} new ones don't fit the model's context of "
            f"{context}"
        )


# ----------------------------------------------------------------------------------- likelihood


def score_answers(
    graph: Any,
    params: Params,
    tokenizer: Tokenizer,
    contexts: Sequence[Context],
    answers: Sequence[Sequence[str]],
    *,
    names: Sequence[str] = (),
    token_budget: int = TOKEN_BUDGET,
    on_scored: Callable[[int, list[float]], None] | None = None,
) -> list[list[float]]:
    """The natural log-probability of each answer to each context, all tokens of an answer together.

    `answers[i]` are the answers to `contexts[i]`; one list of floats for each context is returned,
    in the order of its answers. A context is run once for all of its answers. What ends a turn
    isn't scored.

    Args:
      contexts: conversations, which are rendered in the chat template up to the assistant's turn,
        or texts; see `encode_answers`.
      names: of the contexts, in errors; `context 0` and so on by default.
      token_budget: see `vcjax.generate.scoring.score`.
      on_scored: called with the index of a context and the log-probabilities of its answers once
        all of them are known, in any order of contexts: for progress, and to record what a killed
        run needn't compute again. Scores of the same contexts in other company may differ in the
        last bits: a run whose numbers must be the same after a kill scores fixed chunks whole.

    Raises:
      UserError: no answers to a context, an empty answer, a conversation that can't be rendered, or
        an answer that doesn't fit the model's context behind its conversation.
    """
    names = names or [f"context {index}" for index in range(len(contexts))]
    # The last token of an answer is only predicted, so it takes no position.
    room = nnx.merge(graph, params).config.max_position + 1
    sequences: list[tuple[list[int], int]] = []
    owners: list[int] = []
    ends = [0]
    for index, (name, context, own) in enumerate(zip(names, contexts, answers, strict=True)):
        if not own:
            raise UserError(f"{name}: no answers; give at least one")
        try:
            sequences += encode_answers(tokenizer, context, own)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        longest = max(len(ids) for ids, _ in sequences[ends[-1] :])
        if longest > room:
            raise UserError(
                f"{name}: {longest} tokens with the longest answer don't fit the model's context "
                f"of {room - 1}"
            )
        owners += [index] * len(own)
        ends.append(len(sequences))
    totals: dict[int, float] = {}
    missing = [len(own) for own in answers]

    def of(owner: int) -> list[float]:
        return [totals[n] for n in range(ends[owner], ends[owner + 1])]

    def received(sequence: int, scored: Scored) -> None:
        totals[sequence] = sum(scored.logprobs)
        owner = owners[sequence]
        missing[owner] -= 1
        if not missing[owner] and on_scored is not None:
            on_scored(owner, of(owner))

    score(graph, params, sequences, token_budget=token_budget, on_scored=received)
    return [of(owner) for owner in range(len(contexts))]


def log_likelihood(
    graph: Any,
    params: Params,
    tokenizer: Tokenizer,
    contexts: Sequence[Context],
    continuations: Sequence[str],
    *,
    max_position: int,
    token_budget: int = TOKEN_BUDGET,
) -> list[tuple[float, bool]]:
    """Returns, for each pair, the natural log-probability of the continuation and whether each
    of its tokens is the most likely one.

    Args:
      contexts: texts, or conversations, which the assistant's turn follows; see `encode_answers`.
      token_budget: see `vcjax.generate.scoring.score`.

    Raises:
      UserError: an empty continuation, a conversation that can't be rendered, or a pair longer than
        the model's context.
    """
    sequences = [
        encode_answers(tokenizer, context, [continuation])[0]
        for context, continuation in zip(contexts, continuations, strict=True)
    ]
    for ids, _ in sequences:
        if len(ids) > max_position:
            raise UserError(f"a pair of {len(ids)} tokens doesn't fit a context of {max_position}")
    scored = score(graph, params, sequences, token_budget=token_budget)
    return [(sum(each.logprobs), all(each.greedy)) for each in scored]


def encode_answers(
    tokenizer: Tokenizer, context: Context, answers: Sequence[str]
) -> list[tuple[list[int], int]]:
    """For each answer the ids of the context and the answer, and the index where the latter starts.

    After a conversation the ids are those of `render_prompt`, which the model is given to continue,
    and then those of the answer's text alone, in which strings of special tokens are text. After a
    text they are those of `encode_pair`.

    Raises:
      UserError: an empty answer, or a conversation that can't be rendered or ends with the
        assistant's turn.
    """
    if isinstance(context, str):
        return [encode_pair(tokenizer, context, answer) for answer in answers]
    if context and context[-1].get("role") == "assistant":
        raise UserError("a conversation ends with the assistant's turn; an answer can't follow it")
    prompt = list(render_prompt(tokenizer, context))
    encoded = [tokenizer.encode(answer) for answer in answers]
    if not all(encoded):
        raise UserError("a continuation is empty")
    return [([*prompt, *ids], len(prompt)) for ids in encoded]


def encode_pair(
    tokenizer: Tokenizer, context: str, continuation: str, *, special: bool = False
) -> tuple[list[int], int]:
    """The ids of both texts, and the index at which the continuation starts.

    The two are encoded together and cut where the context, encoded alone, ends; white space at the
    context's end belongs to the continuation. If no token came before the continuation, BOS or EOS
    does. All as in EleutherAI's evaluation harness (`TemplateLM._encode_pair`), but for a
    continuation that is swallowed by the context's last token: that token is then scored.

    Args:
      special: whether strings of special tokens in the texts are parsed as such.

    Raises:
      UserError: the continuation is empty.
    """
    if not continuation:
        raise UserError("a continuation is empty")
    whole = tokenizer.encode(context + continuation, special=special)
    before = tokenizer.encode(context.rstrip(), special=special)
    start = min(len(before), len(whole) - 1)
    if start > 0 and (not tokenizer.adds_bos or whole[0] == tokenizer.bos_id):
        return whole, start
    return [prefix_id(tokenizer), *whole], start + 1


def prefix_id(tokenizer: Tokenizer) -> int:
    """The token before a text that has no context: BOS, or EOS if there is none."""
    first = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    if first is None:
        raise UserError("a continuation without a context needs a tokenizer with BOS or EOS")
    return first
