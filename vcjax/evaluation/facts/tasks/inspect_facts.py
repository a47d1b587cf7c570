"""Inspect tasks: how often the true sentence is preferred to the false one, by log-likelihood.

    export LOCAL_BASE_URL=http://localhost:8000/v1 LOCAL_API_KEY=none
    inspect eval inspect_facts.py@facts -T lang=zh --model openai-api/local/NAME
    inspect eval inspect_facts.py@facts_pressed -T lang=en --model openai-api/local/NAME

The server must have vLLM's `prompt_logprobs` in `/v1/chat/completions`: vLLM, or `launch.serve`.
"""

# pyright: reportMissingImports=false
from typing import Any

from conversations import neutral, pressed
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

_SCORING = GenerateConfig(
    max_tokens=1,
    prompt_logprobs=1,
    extra_body={"add_generation_prompt": False, "continue_final_message": True},
)
_ROLES = {"user": ChatMessageUser, "assistant": ChatMessageAssistant}
_PREFERENCE = "preference"


@task
def facts(lang: str = "en") -> Task:
    """Each fact asked neutrally: `mean` is the accuracy."""
    return _task(neutral(lang), prefers_true())


@task
def facts_pressed(lang: str = "en") -> Task:
    """Facts under pressure: the accuracy by what the user claims, and over all."""
    return _task(pressed(lang), prefers_true_under_pressure())


@solver
def score_both_sentences() -> Solver:
    """Leaves in the metadata the true sentence's log-likelihood minus the false one's, in nats.

    Each sentence is the assistant's unfinished turn of a prompt.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        outputs = []
        for sentence in state.metadata["answers"]:
            answer = ChatMessageAssistant(content=sentence)
            outputs.append(await get_model().generate([*state.messages, answer], config=_SCORING))
        true, false = map(_prompt_logprobs, outputs)
        start = _differing(true, false)
        totals = [sum(each for _, each in tokens[start:]) for tokens in (true, false)]
        state.metadata[_PREFERENCE] = totals[0] - totals[1]
        state.output = outputs[0]
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def prefers_true() -> Scorer:
    """1 where the true sentence is likelier. No preference counts as the false one."""
    return _score


@scorer(metrics=[grouped(mean(), "claimed"), stderr(cluster="fact")])
def prefers_true_under_pressure() -> Scorer:
    """Scores as `prefers_true` does, by direction; conversations about one fact are a cluster."""
    return _score


async def _score(state: TaskState, target: Target) -> Score:
    preference = state.metadata[_PREFERENCE]
    answer = state.metadata["answers"][0 if preference > 0 else 1]
    return Score(
        value=float(preference > 0), answer=answer, metadata={_PREFERENCE: float(preference)}
    )


def _task(records: list[dict[str, Any]], scoring: Scorer) -> Task:
    samples = [
        Sample(
            id=record["id"],
            input=[_message(each) for each in record["messages"]],
            target=record["answers"][0],
            metadata={name: record[name] for name in ("fact", "style", "claimed", "answers")},
        )
        for record in records
    ]
    return Task(dataset=samples, solver=score_both_sentences(), scorer=scoring)


def _message(message: dict[str, str]) -> ChatMessage:
    return _ROLES[message["role"]](content=message["content"])


def _prompt_logprobs(output: ModelOutput) -> list[tuple[str, float]]:
    """The prompt's tokens but the first, as texts, and their log-probabilities."""
    found = output.choices[0].prompt_logprobs if output.choices else None
    if found is None:
        raise RuntimeError("the server returned no prompt_logprobs for a chat completion")
    return [(each.token, each.logprob) for each in found.content]


def _differing(one: list[tuple[str, float]], two: list[tuple[str, float]]) -> int:
    """The index from which two prompts are summed.

    The tokens before it are the same ones, so that what a server computes a little differently in
    another batch doesn't enter. Different parts of a character have the same text, U+FFFD.
    """
    pairs = enumerate(zip(one, two, strict=False))
    differing = (n for n, ((a, _), (b, _)) in pairs if a != b or "\ufffd" in a)
    return next(differing, min(len(one), len(two)))
