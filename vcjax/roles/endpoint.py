"""A role played by an OpenAI-compatible endpoint: `launch.serve`, vLLM, or somebody's API."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import tenacity

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.seeds import derive_seed
from vcjax.roles.account import Account
from vcjax.roles.answers import CUT_OFF, TIMEOUT, UNREACHABLE, Denied, Fault, read_answer
from vcjax.roles.background import Background
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.role import Ask, Reply

_LONGEST_WAIT = 60.0
_LONGEST_BODY = 2**25
_CHECK_SECONDS = 10.0

Tell = Callable[[tuple[int, Reply]], None]


class EndpointRole:
    """Asks over HTTP, several at a time, and again where that may help.

    Each ask ends in a reply whose outcome says what became of it, after a bounded number of tries
    and of seconds. What says that no ask will be answered ends the run instead; see `ask`.
    """

    def __init__(self, spec: EndpointSpec, *, family: str) -> None:
        """Raises: UserError where the environment lacks the key."""
        self.spec, self.family, self.model = spec, family, spec.reference
        self.account = Account(spec)
        key = spec.key()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def check(self) -> None:
        """Raises a UserError where nobody is there, or the key isn't taken.

        There needn't be a list of models, which is what is asked for: not all endpoints have one.
        """
        url = f"{self.spec.url}/models"
        try:
            answer = httpx2.get(
                url, headers=self._headers, timeout=_CHECK_SECONDS, trust_env=not self.spec.is_here
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise UserError(f"{self.model}: nobody answers there ({error})") from None
        except httpx2.HTTPError:
            return
        if answer.status_code in (401, 403):
            raise UserError(self._denied(f"HTTP {answer.status_code}"))

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks; see `Role.ask`. `on_reply` is called in the caller's thread.

        Raises:
          UserError: the endpoint has no such model or won't take the key.
          GateNotMet: the budget is spent, or the endpoint is gone. `on_reply` was told all that was
            answered by then, so that a later run can go on from there.
        """
        replies: dict[int, Reply] = {}
        with Background[tuple[int, Reply]](lambda tell: self._answer_all(asks, tell)) as told:
            for index, reply in told:
                replies[index] = reply
                if on_reply is not None:
                    on_reply(index, reply)
        return [replies[index] for index in range(len(asks))]

    async def _answer_all(self, asks: Sequence[Ask], tell: Tell) -> None:
        waiting, stopped = iter(enumerate(asks)), []
        limits = httpx2.Limits(max_connections=self.spec.concurrency)
        # Timeouts are ours: httpx2's are of single reads, of which a slow answer has many.
        options = {"limits": limits, "timeout": None, "trust_env": not self.spec.is_here}
        async with httpx2.AsyncClient(headers=self._headers, **options) as client:
            works = (
                self._work(client, waiting, tell, stopped) for _ in range(self.spec.concurrency)
            )
            await asyncio.gather(*works)
        if stopped:
            raise stopped[0]

    async def _work(
        self,
        client: httpx2.AsyncClient,
        waiting: Iterator[tuple[int, Ask]],
        tell: Tell,
        stopped: list[Exception],
    ) -> None:
        """Answers asks until none is left, or there is no use in going on."""
        try:
            while not stopped:
                index, ask = next(waiting, (-1, None))
                if ask is None:
                    return
                self.account.check_budget()
                reply = await self._answer(client, ask)
                self.account.enter(reply)
                tell((index, reply))
                self.account.check_health(reply)
        except (UserError, GateNotMet) as error:
            stopped.append(error)

    async def _answer(self, client: httpx2.AsyncClient, ask: Ask) -> Reply:
        begun = time.monotonic()
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Fault) and e.again),
            stop=tenacity.stop_after_attempt(self.spec.tries)
            | tenacity.stop_before_delay(self.spec.total),
            wait=lambda state: self._wait(state, ask),
            reraise=True,
        )
        try:
            reply = await retrying(self._try, client, ask, begun + self.spec.total)
        except Denied as denied:
            raise UserError(self._denied(str(denied))) from None
        except Fault as fault:
            if fault.outcome == UNREACHABLE:
                raise GateNotMet(
                    f"{self.model}: nobody answers there ({fault.detail}); the same command goes "
                    "on from here"
                ) from None
            reply = Reply.failed(fault.outcome, fault.detail)
        seconds = time.monotonic() - begun
        return replace(reply, seconds=seconds, cost=self.account.cost_of(reply))

    async def _try(self, client: httpx2.AsyncClient, ask: Ask, end: float) -> Reply:
        seconds = min(self.spec.timeout, end - time.monotonic())
        try:
            async with asyncio.timeout(seconds):
                return await self._post(client, ask)
        except TimeoutError:
            raise Fault(TIMEOUT, f"no whole answer in {seconds:.3g} s", again=True) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Fault(UNREACHABLE, str(error), again=True) from None
        except httpx2.RequestError as error:
            raise Fault(CUT_OFF, f"{type(error).__name__}: {error}", again=True) from None

    async def _post(self, client: httpx2.AsyncClient, ask: Ask) -> Reply:
        url, body = f"{self.spec.url}/chat/completions", bytearray()
        async with client.stream("POST", url, json=_request(self.spec.model, ask)) as answer:
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _LONGEST_BODY:
                    raise Fault(CUT_OFF, f"more than {_LONGEST_BODY} bytes", again=False)
        return read_answer(answer.status_code, answer.headers, bytes(body), ask)

    def _wait(self, state: tenacity.RetryCallState, ask: Ask) -> float:
        """Seconds until the next try: what the endpoint wants, or more each time, spread out."""
        fault = None if state.outcome is None else state.outcome.exception()
        if isinstance(fault, Fault) and fault.wait is not None:
            return fault.wait
        spread = 0.5 + derive_seed(ask.key, state.attempt_number, "wait") / 2**32
        return spread * min(_LONGEST_WAIT, self.spec.backoff * 2 ** (state.attempt_number - 1))

    def _denied(self, reason: str) -> str:
        key = f"the key in {self.spec.key_env}" if self.spec.key_env else "without a key (key_env)"
        return f"{self.model}: {reason}; asked for model {self.spec.model!r}, {key}"


def _request(model: str, ask: Ask) -> dict[str, Any]:
    """The body of a request: https://platform.openai.com/docs/api-reference/chat/create."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(ask.messages),
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "seed": ask.seed,
    }
    if ask.json_schema is not None:
        schema = {"name": "reply", "strict": True, "schema": ask.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if ask.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": ask.top_logprobs}
    return body
