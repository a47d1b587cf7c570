"""A role behind an OpenAI-compatible endpoint: `launch.serve`, vLLM, or somebody's API.

`EndpointRole` sends several requests at a time from an event loop in a thread of its own, to one
URL or to several `Replicas`, retries those that may succeed, and keeps an `Account` of what they
cost and whether the endpoint is alive.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import tenacity

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.seeds import derive_seed
from vcjax.roles.asking import Emit, FedAsking, ask_all
from vcjax.roles.background import Feed, work_off
from vcjax.roles.endpoint_spec import EndpointSpec, is_local
from vcjax.roles.replicas import LONGEST_WAIT, Replica, Replicas
from vcjax.roles.responses import (
    BAD_REQUEST,
    CUT_OFF,
    NO_ANSWER,
    TIMEOUT,
    UNREACHABLE,
    Denied,
    FailedTry,
    parse_response,
)
from vcjax.roles.role import Ask, Reply

# Bytes, 32 MiB: more than any reply has with its alternatives, and little memory for a reply
# without an end.
_LONGEST_BODY = 2**25
_CHECK_SECONDS = 10.0


class EndpointRole:
    """Asks over HTTP, several requests at a time, with retries.

    Each ask ends in a reply with its outcome, after a bounded number of tries and of seconds. An
    error that all asks would have ends the run instead; see `ask`.
    """

    def __init__(self, spec: EndpointSpec, *, family: str) -> None:
        """Raises: UserError where the environment lacks the key."""
        self.spec, self.family = spec, family
        # Without the options, so that other bounds or prices leave the records valid.
        self.model = self.identity = spec.reference
        self.account = Account(spec)
        # Of the last call, so that a replica which hung isn't waited for once more by each call.
        self._replicas: Sequence[Replica] = ()
        key = spec.key()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def check(self) -> None:
        """Raises a UserError where nothing answers, or the key isn't accepted.

        It asks for the list of models, and accepts an error: not all endpoints have that list. Of
        several replicas one must answer; the others may come later.
        """
        silent = {url: error for url in self.spec.urls if (error := self._silence(url))}
        if len(silent) == len(self.spec.urls):
            why = "; ".join(silent.values())
            raise UserError(f"{self.model}: nobody answers there ({why})")
        for url, error in silent.items():
            print(f"{url}: nobody answers there now ({error}); others do", file=sys.stderr)

    def _silence(self, url: str) -> str:
        """Why nobody answers at a URL, or an empty text; a UserError where the key is refused."""
        options: dict[str, Any] = {"timeout": _CHECK_SECONDS, "trust_env": not is_local(url)}
        try:
            response = httpx2.get(f"{url}/models", headers=self._headers, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            return str(error) or type(error).__name__
        except httpx2.HTTPError:
            return ""
        if response.status_code in (401, 403):
            raise UserError(self._denied(f"HTTP {response.status_code}"))
        return ""

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks; see `Role.ask`. `on_reply` is called in the caller's thread.

        Raises:
          UserError: the endpoint has no such model or doesn't accept the key.
          GateNotMet: the budget is spent, or the endpoint is gone. `on_reply` got every reply until
            then, so that a later run can continue from there.
        """
        return ask_all(self, asks, on_reply)

    def asking(self, emit: Emit) -> FedAsking:
        """Takes asks at any time; see `StreamingRole`. It raises, by `emit`, what `ask` does."""
        return FedAsking(self.spec.slots, lambda feed: self._answer_all(feed, emit), emit)

    async def _answer_all(self, feed: Feed[tuple[int, Ask]], emit: Emit) -> None:
        """Answers what is fed until the feed is closed; an error closes it. Raises: see `ask`."""
        spec = self.spec
        # By default httpx2 allows 100, fewer than somebody may ask for.
        limits = httpx2.Limits(max_connections=spec.concurrency)
        # The timeouts are ours: httpx2's are of single reads, of which a slow response has many.
        options: dict[str, Any] = {"headers": self._headers, "limits": limits, "timeout": None}
        async with AsyncExitStack() as stack:
            clients = {}
            for url in spec.urls:
                client = httpx2.AsyncClient(trust_env=not is_local(url), **options)
                clients[url] = await stack.enter_async_context(client)
            replicas = Replicas(dict.fromkeys(spec.urls, spec.concurrency), self._replicas)
            self._replicas = replicas.all
            service = _Service(replicas, clients)
            await work_off(feed, spec.slots, lambda fed: self._answer_fed(service, emit, *fed))

    async def _answer_fed(self, service: "_Service", emit: Emit, index: int, ask: Ask) -> None:
        # Before each ask, as other workers spend of the same budget meanwhile.
        self.account.check_budget()
        reply = await self._answer(service, ask)
        self.account.record(reply)
        # Before the check, so that the caller has recorded the reply that ends the run.
        emit((index, reply))
        self.account.check_health(reply)

    async def _answer(self, service: "_Service", ask: Ask) -> Reply:
        start = time.monotonic()
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, FailedTry) and e.retry),
            stop=tenacity.stop_after_attempt(self.spec.tries)
            | tenacity.stop_before_delay(self.spec.total),
            wait=lambda state: self._wait(state, ask),
            reraise=True,
        )
        try:
            reply = await retrying(self._try, service, ask, start + self.spec.total)
        except Denied as denied:
            raise UserError(self._denied(str(denied))) from None
        except FailedTry as failed:
            # Nothing listens any more: every other ask would exhaust its retries, too.
            if all(replica.is_gone for replica in service.replicas.all):
                raise GateNotMet(
                    f"{self.model}: nobody answers there ({failed.detail}); the same command "
                    "continues from here"
                ) from None
            reply = Reply.failed(failed.outcome, failed.detail)
        seconds = time.monotonic() - start
        return replace(reply, seconds=seconds, cost=self.account.cost_of(reply))

    async def _try(self, service: "_Service", ask: Ask, deadline: float) -> Reply:
        """One try: with each replica that may answer, until one does."""
        tried: list[Replica] = []
        # Through all replicas within one try: a replica that is down costs no try of the ask.
        while True:
            async with service.replicas.chosen(tried) as replica:
                if time.monotonic() >= deadline:
                    # The time went by while others were waited for: this one hasn't failed.
                    raise FailedTry(TIMEOUT, "no replica was free in time", retry=False)
                tried.append(replica)
                try:
                    client = service.clients[replica.name]
                    reply = await self._ask_one(client, replica.name, ask, deadline)
                except FailedTry as failed:
                    # It has answered, only not as wanted: the fault is the ask's or the model's,
                    # and another replica would do the same.
                    if failed.outcome not in (*NO_ANSWER, UNREACHABLE):
                        replica.answered()
                        raise
                    replica.failed(
                        self.spec.backoff, failed.wait, is_gone=failed.outcome == UNREACHABLE
                    )
                    if time.monotonic() >= deadline or not service.replicas.others(tried):
                        raise
                else:
                    replica.answered()
                    return reply

    async def _ask_one(
        self, client: httpx2.AsyncClient, url: str, ask: Ask, deadline: float
    ) -> Reply:
        seconds = min(self.spec.timeout, deadline - time.monotonic())
        try:
            async with asyncio.timeout(seconds):
                return await self._post(client, url, ask)
        except TimeoutError:
            raise FailedTry(TIMEOUT, f"no whole answer in {seconds:.3g} s", retry=True) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise FailedTry(UNREACHABLE, str(error), retry=True) from None
        except httpx2.RequestError as error:
            raise FailedTry(CUT_OFF, f"{type(error).__name__}: {error}", retry=True) from None

    async def _post(self, client: httpx2.AsyncClient, base: str, ask: Ask) -> Reply:
        url, body = f"{base}/chat/completions", bytearray()
        # Streamed, so that a response without an end is given up instead of filling the memory.
        async with client.stream("POST", url, json=_request(self.spec.model, ask)) as response:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _LONGEST_BODY:
                    raise FailedTry(CUT_OFF, f"more than {_LONGEST_BODY} bytes", retry=False)
        return parse_response(response.status_code, response.headers, bytes(body), ask)

    def _wait(self, state: tenacity.RetryCallState, ask: Ask) -> float:
        """Seconds until the next try: what the endpoint asks for, or exponential backoff."""
        error = None if state.outcome is None else state.outcome.exception()
        if isinstance(error, FailedTry) and error.wait is not None:
            return error.wait
        # Spread out (seeds are below 2**31, so by 0.5 to 1), so that requests which failed together
        # aren't all sent again together.
        spread = 0.5 + derive_seed(ask.key, state.attempt_number, "wait") / 2**32
        return spread * min(LONGEST_WAIT, self.spec.backoff * 2 ** (state.attempt_number - 1))

    def _denied(self, reason: str) -> str:
        key = f"the key in {self.spec.key_env}" if self.spec.key_env else "without a key (key_env)"
        return f"{self.model}: {reason}; asked for model {self.spec.model!r}, {key}"


@dataclass(frozen=True)
class _Service:
    """What the workers of one call share: the replicas, and a client for each of their URLs."""

    replicas: Replicas
    clients: dict[str, httpx2.AsyncClient]


class Account:
    """What one endpoint has cost in a run, and whether it still answers.

    Attributes:
      tokens: of prompts and replies together.
      cost: in the currency of the endpoint's prices, as far as it is known.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        self._spec = spec
        self.tokens, self.cost = 0, 0.0
        self._answered = False
        self._failed_in_a_row = 0
        self._read: set[Path] = set()

    def charge_once(self, path: Path, spent: Iterable[Mapping[str, Any]]) -> None:
        """Counts what the records in a file have cost, but for those that this process has made.

        Args:
          path: of the file. Of each the first call counts, which comes before any record is made.
          spent: `prompt_tokens`, `tokens` and `cost` of each; one whose price wasn't known has that
            of now.
        """
        if path in self._read:
            return
        self._read.add(path)
        for each in spent:
            read, written, cost = each["prompt_tokens"], each["tokens"], each["cost"]
            cost = self._spec.cost(read, written) if cost is None else cost
            self.charge(read + written, cost or 0.0)

    def charge(self, tokens: int, cost: float) -> None:
        """Counts spending, of this process or an earlier one, towards the budget."""
        self.tokens += tokens
        self.cost += cost

    def cost_of(self, reply: Reply) -> float | None:
        """The cost of a reply; None where its price isn't known."""
        return self._spec.cost(reply.prompt_tokens, reply.tokens)

    def record(self, reply: Reply) -> None:
        """Counts a reply's cost, and whether it is one."""
        self.charge(reply.prompt_tokens + reply.tokens, reply.cost or 0.0)
        # A rejected request doesn't mean that the endpoint is down, unless none has ever been
        # accepted: then it is a mistake that all requests of the run have in common.
        always_rejected = reply.outcome == BAD_REQUEST and not self._answered
        # An ask ends unreachable while other replicas fail otherwise; once all are gone, so is the
        # run.
        if reply.outcome in (*NO_ANSWER, UNREACHABLE) or always_rejected:
            self._failed_in_a_row += 1
        else:
            self._failed_in_a_row, self._answered = 0, True

    def check_budget(self) -> None:
        """Raises GateNotMet where the run's budget is spent."""
        spec = self._spec
        if spec.token_budget and self.tokens >= spec.token_budget:
            spent, bound = f"{self.tokens:,} tokens", f"token_budget={spec.token_budget}"
        elif spec.cost_budget and self.cost >= spec.cost_budget:
            spent, bound = f"a cost of {self.cost:.2f}", f"cost_budget={spec.cost_budget:g}"
        else:
            return
        raise GateNotMet(f"{spec.reference}: its budget is spent: {spent} of {bound}")

    def check_health(self, last: Reply) -> None:
        """Raises GateNotMet where too many asks in a row failed. Args: `last` is the last reply."""
        if self._failed_in_a_row >= self._spec.in_a_row:
            raise GateNotMet(
                f"{self._spec.reference}: {self._failed_in_a_row} asks in a row failed, the last "
                f"one: {last.outcome} ({last.detail}); the same command continues from here"
            )


def _request(model: str, ask: Ask) -> dict[str, Any]:
    """The body of a request: https://platform.openai.com/docs/api-reference/chat/create."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(ask.messages),
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        # Some servers ignore it: then a sampled reply can't be had a second time.
        "seed": ask.seed,
    }
    if ask.json_schema is not None:
        schema = {"name": "reply", "strict": True, "schema": ask.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if ask.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": ask.top_logprobs}
    return body
