"""Our engine under a JSON schema, or without one for as many tokens.

Both sample at a temperature. An unconstrained request generates as many tokens as the same request
does under the schema, so that both run the same batches.
"""

from dataclasses import replace
from typing import Any

from benchmarks.contenders.engine import CompilationCounter
from benchmarks.serve import Contender, serve
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.text import TextEngine
from vcjax.weights.load import load_model

SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": 40, "maxLength": 200},
        "tags": {
            "type": "array",
            "minItems": 1,
            "maxItems": 4,
            "items": {"type": "string", "maxLength": 20},
        },
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "accept": {"type": "boolean"},
    },
    "required": ["reason", "tags", "score", "accept"],
    "additionalProperties": False,
}
PROMPT = "Grade answer number {number} to the question, with a reason. Reply with JSON only."
MOST = 256
"""New tokens; more than the schema lets any text have, nearly."""


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `engine`, options of an `Engine`; `requests`, how
    many; `constrained`, whether they are."""
    compilations = CompilationCounter()
    loaded = load_model(asked["model"], "float32")
    text = TextEngine(loaded, Engine(loaded.config, loaded.params, **asked["engine"]))
    schema = SamplingParams(max_tokens=MOST, temperature=0.8, json_schema=SCHEMA)

    def constrained() -> list[Request]:
        # Anew for each step: a constraint is used up. Their seeds are the same.
        return [
            text.request(
                [{"role": "user", "content": PROMPT.format(number=number)}],
                replace(schema, seed=number),
            )
            for number in range(asked["requests"])
        ]

    lengths = [len(result.tokens) for result in text.engine.generate(constrained())]
    free = [
        replace(
            request,
            sampling=replace(request.sampling, max_tokens=length),
            eos_ids=(),
            constraint=None,
        )
        for request, length in zip(constrained(), lengths, strict=True)
    ]

    def step() -> None:
        requests = constrained() if asked["constrained"] else free
        made = [len(result.tokens) for result in text.engine.generate(requests)]
        assert made == lengths
        compilations.settle()

    facts = {"tokens": sum(lengths), **asked["engine"]}
    return Contender(step, facts, measured=lambda: {"compilations": compilations.counts()})


if __name__ == "__main__":
    serve(setup)
