"""Models that a process hosts for others."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from vcjax.core.errors import UserError
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import SamplingParams
from vcjax.roles.host import ModelHost
from vcjax.roles.local import LocalRole
from vcjax.roles.role import Ask

CONFIG = EngineConfig(slots=2, context=256)


def asks(count: int) -> list[Ask]:
    messages = [({"role": "user", "content": f"Why {n}?"},) for n in range(count)]
    return [
        Ask(f"{n}", each, 4 + n % 5, temperature=1.0, seed=n) for n, each in enumerate(messages)
    ]


def test_asks_from_any_thread_have_the_replies_of_a_role(tiny_folder):
    wanted = LocalRole(ModelPool(CONFIG), str(tiny_folder), family="").ask(asks(12))
    host = ModelHost(CONFIG, 1)
    with ThreadPoolExecutor(4) as threads:
        replies = threads.map(lambda ask: host.ask(str(tiny_folder), ask, 256).result(60), asks(12))
        assert list(replies) == wanted
    hosted = host.load(str(tiny_folder)).result(60)
    assert (hosted.slots, hosted.context, hosted.origin.hash) == (2, 256, wanted[0].model)


def test_an_ask_is_too_long_where_it_is_elsewhere(tiny_folder):
    host, [ask] = ModelHost(CONFIG, 1), asks(1)
    fits = host.ask(str(tiny_folder), ask, 256).result(60)
    assert fits.outcome == "ok"
    least = fits.prompt_tokens + ask.max_tokens
    assert host.ask(str(tiny_folder), ask, least).result(60) == fits
    assert host.ask(str(tiny_folder), ask, least - 1).result(60).outcome == "too long"
    with pytest.raises(UserError, match=r"room for .* tokens here and for 512 elsewhere"):
        host.ask(str(tiny_folder), ask, 512).result(60)


def test_what_cannot_be_loaded_or_ends_an_engine_is_told_to_who_asked(tiny_folder, monkeypatch):
    host, reference = ModelHost(CONFIG, 1), str(tiny_folder)
    for refused in (host.load("nowhere/x/y"), host.ask("nowhere/x/y", asks(1)[0], 9)):
        with pytest.raises(UserError, match="no such folder"):
            refused.result(60)
    host.load(reference).result(60)
    engine = host._roles[reference].text.engine

    def fails() -> bool:
        raise MemoryError("full")

    monkeypatch.setattr(engine, "step", fails)
    for ended in [host.ask(reference, ask, 256) for ask in asks(5)]:
        with pytest.raises(MemoryError, match="full"):
            ended.result(60)
    monkeypatch.undo()
    assert engine.generate([host._roles[reference].text.request("Why?", SamplingParams(2))])
