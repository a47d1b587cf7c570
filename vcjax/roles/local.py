"""A role played by a model on the local engine."""

from collections.abc import Callable, Sequence

from vcjax.generate.engine import Engine
from vcjax.generate.requests import Result
from vcjax.generate.text import Sampling, TextEngine
from vcjax.roles.role import Ask, Reply
from vcjax.weights.bundle import Bundle


class LocalRole:
    """One model that answers on this machine's devices. Several roles may share one."""

    def __init__(self, bundle: Bundle, *, family: str, slots: int = 16) -> None:
        """Args: `family` is declared by the caller, e.g. `smollm2`."""
        self.family, self.model = family, bundle.origin.reference
        self.text = TextEngine(bundle, Engine(bundle.config, bundle.params, slots=slots))

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks in one batch; see `Role.ask`."""
        requests = [self.text.request(ask.messages, _sampling(ask)) for ask in asks]

        def reply(index: int, result: Result) -> Reply:
            return Reply(
                text=self.text.tokenizer.decode(result.tokens).strip(),
                finish_reason=result.finish_reason,
                prompt_tokens=len(requests[index].prompt),
                tokens=len(result.tokens),
            )

        def finished(index: int, result: Result) -> None:
            if on_reply is not None:
                on_reply(index, reply(index, result))

        results = self.text.engine.generate(requests, finished)
        return [reply(index, result) for index, result in enumerate(results)]


def _sampling(ask: Ask) -> Sampling:
    return Sampling(
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        seed=ask.seed,
        json_schema=ask.json_schema,
    )
