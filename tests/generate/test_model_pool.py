"""The model pool: one memory plan for all models, one copy of a base that adapters share."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.adapted import write_run
from tests.tiny import CONTEXT
from vcjax.core.errors import UserError
from vcjax.generate import model_pool
from vcjax.generate.cache import state_bytes
from vcjax.generate.engine import Engine
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import TextEngine
from vcjax.model.lora import LoraConfig
from vcjax.weights.load import load_model

PROMPTS = ["Why?", "为什么？"]
CONFIG = EngineConfig(slots=2, context=128, dtype="float32")
SMALL = {"config": CONFIG, "prefix_tokens": 64}


@pytest.fixture(scope="module")
def adapted(tiny_folder, tmp_path_factory) -> list[str]:
    """Two runs' adapters of the same base."""
    folder = tmp_path_factory.mktemp("runs")
    for name, rank in (("one", 2), ("other", 4)):
        write_run(folder / name, tiny_folder, LoraConfig(rank, 8.0, "q|v|down"))
    return [str(folder / "one"), str(folder / "other")]


def size(tree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def test_adapters_share_their_base_and_answer_as_if_merged(tiny_folder, adapted):
    pool = ModelPool(**SMALL)
    base, *others = [pool.get(reference).text for reference in (str(tiny_folder), *adapted)]
    kernel = lambda text: text.engine.params["layers"][1]["gate"]["kernel"]  # noqa: E731
    assert all(kernel(text) is kernel(base) for text in others)
    weights = [one.weights for one in pool.plan()]
    assert weights[0] == size(base.engine.params)
    assert max(weights[1:]) < 0.2 * weights[0]
    answers = [text.generate(PROMPTS, SamplingParams(12)) for text in (base, *others)]
    for reference, answer in zip((str(tiny_folder), *adapted), answers, strict=True):
        merged = load_model(reference, "float32")
        alone = TextEngine(merged, Engine(merged.config, merged.params, slots=2))
        assert answer == alone.generate(PROMPTS, SamplingParams(12))
    assert len({tuple(answer) for answer in answers}) == 3


def test_an_adapter_alone_loads_its_base(adapted):
    pool = ModelPool(**SMALL)
    one, other = (pool.get(reference).text.engine.params for reference in adapted)
    assert one["embedding"] is other["embedding"]


def test_an_adapter_is_merged_into_weights_that_are_quantised(adapted):
    quantised = SMALL | {"config": replace(CONFIG, dtype="", weights="int8")}
    text = ModelPool(**quantised).get(adapted[0]).text
    assert "lora_a" not in text.engine.params["layers"][0]["q"]
    assert len(text.generate(PROMPTS, SamplingParams(4))) == 2


def test_a_model_is_loaded_once(tiny_folder):
    pool = ModelPool(**SMALL)
    assert pool.get(str(tiny_folder)) is pool.get(str(tiny_folder))


def test_the_least_recently_asked_model_makes_room_but_not_one_that_answers(
    tiny_folder, tmp_path, adapted
):
    full = write_run(tmp_path / "full", tiny_folder, None)
    assert size(full) > 0
    names = [str(tiny_folder), str(tmp_path / "full")]
    first = ModelPool(**SMALL)
    first.get(names[0])
    room = sum(one.weights + one.state for one in first.plan())
    pool = ModelPool(memory=int(1.5 * room), **SMALL)
    pool.get(names[0])
    pool.get(names[1])
    assert [one.reference for one in pool.plan()] == [names[1]]
    text = pool.get(names[1]).text
    events = text.engine.stream(text.request("Why?", SamplingParams(20)))
    next(events)
    with pytest.raises(UserError, match=r"with it the models take .* GiB.*lower the slots"):
        pool.get(names[0])
    assert len(list(events)) > 1
    assert pool.get(names[1]).text is text
    keeping = ModelPool(memory=int(1.5 * room), keep=True, **SMALL)
    keeping.get(names[0])
    with pytest.raises(UserError, match="with it the models take"):
        keeping.get(names[1])
    assert [one.reference for one in keeping.plan()] == names[:1]


def test_a_model_is_unloaded_before_another_is_loaded(tiny_folder, tmp_path, monkeypatch):
    write_run(tmp_path / "full", tiny_folder, None)
    names, live = [str(tiny_folder), str(tmp_path / "full")], []
    pool = ModelPool(**SMALL)
    weights = size(pool.get(names[0]).text.engine.params)
    pool.get(names[0]).text.generate(PROMPTS, SamplingParams(4))
    pool.memory = int(1.5 * sum(one.weights + one.state for one in pool.plan()))
    before = size(jax.live_arrays())
    read = model_pool.load_located

    def watched(located, dtype, on_open):
        def opened(stored):
            on_open(stored)
            live.append(size(jax.live_arrays()))

        return read(located, dtype, opened)

    monkeypatch.setattr(model_pool, "load_located", watched)
    pool.get(names[1])
    assert before - live[0] > weights  # and its cache


def test_models_that_are_planned_together_share_the_memory(tiny, tiny_folder, capsys):
    config = EngineConfig(slots=2, dtype="float32")
    layout = config.layout(tiny.config, "float32")
    each = layout.nbytes + state_bytes(layout, 2, 2500)
    alone, half = (ModelPool(config, models=n, memory=2 * each) for n in (1, 2))
    whole, part = (pool.get(str(tiny_folder)).text.engine for pool in (alone, half))
    assert (part.context, whole.context) == (2560, CONTEXT)
    planned = half.plan()[0]
    assert planned.weights + planned.state <= each
    said = f"{tiny_folder}: 2 slots of {part.context:,} tokens; "
    assert said in capsys.readouterr().err


def test_the_plan_is_what_the_engine_takes(tiny_folder):
    pool = ModelPool(**SMALL)
    (engine,) = pool.get(str(tiny_folder)).text.engine.engines
    engine.generate(
        [pool.get(str(tiny_folder)).text.request("x" * 90, SamplingParams(20)) for _ in range(2)]
    )
    state = engine._state
    used = size([state._cache, state._pool, state._logits, state._counts])
    assert pool.plan()[0].state == used
    engine.release()
    assert state._cache is None
    np.testing.assert_equal(engine.generate([]), [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": -1}, "config.slots must be at least 0, not -1"),
        ({"context": -1}, "config.context must be at least 0, not -1"),
        ({"tensor": -1}, "config.tensor must be at least 1, not -1"),
        ({"dtype": "float8"}, "dtype 'float8' is not supported"),
        ({"weights": "int4"}, "config.weights must be one of '', 'int8', not 'int4'"),
    ],
)
def test_an_engine_config_is_checked(changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        EngineConfig(**changes)


def test_devices_that_are_not_there_are_an_error():
    assert EngineConfig().devices() == [jax.local_devices()[:1]]
    with pytest.raises(UserError, match=r"tensor=64: this machine has \d+ device"):
        EngineConfig(tensor=64).devices()
    with pytest.raises(UserError, match=r"replicas=64, tensor=1: this machine has \d+ device"):
        EngineConfig(replicas=64).devices()


def test_an_engine_has_the_settings_of_its_config(tiny_folder):
    loaded = load_model(str(tiny_folder), "bfloat16")
    engine = EngineConfig(slots=3, context=96, weights="int8").engine(loaded, part=32)
    assert (engine.slots, engine.context) == (3, 96)
    assert (engine.dtype, engine.weights) == (jnp.bfloat16, "int8")
    assert engine.engines == (engine,)
    assert engine.engines[0].layout.nbytes == size(engine.params)
