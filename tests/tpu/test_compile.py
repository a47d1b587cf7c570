"""The real step compiles for TPUs, with the memory that a plan counts. Needs libtpu: `make tpu`."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding

from configs import adversarial, sft
from tests.train.gradients import mean_gradients
from vcjax.generate import paged_programs, programs
from vcjax.generate.layout import ModelLayout
from vcjax.generate.paged_programs import CHUNK_FIELDS
from vcjax.generate.paged_state import PagedState
from vcjax.generate.slots import free_rows
from vcjax.model.attention.paged import PAGE, POOL_AXES
from vcjax.model.attention.splash import splash_attention
from vcjax.model.build import NAMED, logical_axes
from vcjax.parallel import make_mesh, partition_spec
from vcjax.plan.compiled import compile_step
from vcjax.plan.memory import count_memory
from vcjax.plan.plan import make_plan
from vcjax.plan.setting import abstract_batch, plan_config, settle
from vcjax.plan.topology import compile_devices, read_topology
from vcjax.train.layout import sharding_of
from vcjax.train.losses import make_loss

FULL = {"rank": 0}


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """A fifth of the time to compile, for slower programs; the kernels stay the same.

    And no cache of programs, which `compile_devices` switches off for the process.
    """
    jax.config.update("jax_exec_time_optimization_effort", -1.0)
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_exec_time_optimization_effort", 0.0)
    jax.config.update("jax_enable_compilation_cache", True)


def setting_of(topology: str, layers: int = 2, stage=sft, **changes):
    """The 8B variant of a stage, cut to a few layers of full width."""
    values = stage.get_config("8b").to_dict()
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    config, slice_ = plan_config(values), read_topology(topology)
    model = replace(NAMED[config.model], num_layers=layers)
    return settle(model, config, slice_, compile_devices(slice_))


@pytest.mark.parametrize(
    ("topology", "changes", "least"),
    [
        ("v5e-64", {"layers": 32, "lora": FULL}, 0.7),
        ("v5p-8", {"batch_size": 16, "microbatches": 2, "mesh": {"fsdp": 2, "tensor": 2}}, 0.4),
    ],
    ids=["full", "adapters"],
)
def test_a_step_compiles_and_holds_what_was_counted(topology, changes, least):
    """Splash attention over packed segments in bfloat16, with full remat.

    What is temporary may be counted too high, where XLA frees a layer's values early, but never
    too low.
    """
    setting = setting_of(topology, **changes)
    assert setting.attention == "splash"
    held = count_memory(setting)
    compiled = compile_step(setting, held)
    assert compiled.fits
    assert compiled.arguments == pytest.approx(held.arguments, rel=0.1)
    assert least * held.temporaries < compiled.temporaries < 1.05 * held.temporaries


def test_preferences_compile():
    setting = setting_of(
        "v5e-4",
        stage=adversarial,
        objective="dpo",
        batch_size=4,
        length=1024,
        learning_rate=1e-6,
        lora=FULL,
    )
    assert compile_step(setting, count_memory(setting)).fits


def test_parameters_optimiser_and_gradients_are_as_large_as_counted():
    """Each by itself: a compiled step tells their sum, and gradients among its temporaries."""
    setting = setting_of("v5e-4", batch_size=4, length=256, lora=FULL)
    held, layout = count_memory(setting), setting.layout
    gradients = mean_gradients(layout, make_loss(setting.config), 1)

    def alone(trainable, frozen, batch):
        return gradients(trainable, frozen, batch)[2]

    places = sharding_of(layout.trainable)
    lowered = jax.jit(alone, out_shardings=places).lower(
        layout.trainable, layout.frozen, abstract_batch(setting)
    )
    memory = lowered.compile().memory_analysis()
    assert memory.output_size_in_bytes == pytest.approx(held.gradients, rel=0.1)
    given = held.parameters + held.batch
    assert memory.argument_size_in_bytes == pytest.approx(given, rel=0.1)
    state = jax.jit(lambda state: jax.tree.map(jnp.negative, state)).lower(layout.optimizer)
    size = state.compile().memory_analysis().argument_size_in_bytes
    assert size == pytest.approx(held.optimizer, rel=0.1)


def test_an_offloaded_state_is_never_on_the_device():
    """Moments come a layer at a time, once the backward pass has given its memory back."""
    needed = {}
    for offload in (False, True):
        setting = setting_of("v5e-4", batch_size=4, length=1024, lora=FULL, offload=offload)
        held = count_memory(setting)
        needed[offload] = compile_step(setting, held).needed
        assert 0.6 * held.total < needed[offload] < 1.05 * held.total
        if not offload:
            state = held.optimizer
    assert needed[False] - needed[True] == pytest.approx(state, rel=0.05)


@pytest.mark.parametrize(
    ("mesh", "heads", "head_dim", "window"),
    [
        ({"fsdp": 2, "tensor": 2}, (9, 3), 64, None),  # SmolLM2's heads go into no axis
        ({"tensor": 4}, (8, 2), 128, 1000),
        ({"fsdp": 2, "sequence": 2}, (8, 2), 128, None),
    ],
)
def test_splash_compiles_on_every_kind_of_mesh(mesh, heads, head_dim, window):
    devices = compile_devices(read_topology("v5e-4"))
    mesh = make_mesh(mesh, devices)
    attention = partial(splash_attention, window=window, mesh=mesh)

    def array(axes, *shape, dtype=jnp.bfloat16):
        place = NamedSharding(mesh, partition_spec(mesh, axes, shape))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

    def loss(*inputs):
        return jnp.sum(attention(*inputs).astype(jnp.float32))

    rows = ("batch", "length")
    query = array((*rows, "heads", "head_dim"), 4, 2048, heads[0], head_dim)
    key = array((*rows, "kv_heads", "head_dim"), 4, 2048, heads[1], head_dim)
    segments = array(rows, 4, 2048, dtype=jnp.int32)
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(query, key, key, segments).compile()
    assert "tpu_custom_call" in compiled.as_text()


@pytest.mark.parametrize(("topology", "tensor"), [("v5e-1", 1), ("v5e-4", 4)])
def test_a_step_over_pages_compiles_and_holds_what_was_planned(topology, tensor):
    """Chunks of prompts and drawn tokens of 64 slots in one program, with JAX's kernel."""
    mesh = make_mesh({"tensor": tensor}, compile_devices(read_topology(topology)))
    model = replace(NAMED["llama3-8b"], num_layers=2)
    layout, slots, tokens = ModelLayout(model, jnp.dtype("bfloat16"), mesh=mesh), 64, 2**18
    state = PagedState(layout, slots, tokens, model.max_position, has_prefixes=True)

    def array(axes, *shape, dtype=jnp.int32):
        place = NamedSharding(mesh, partition_spec(mesh, axes, shape))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

    axes = logical_axes(model, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, stacked=False)
    params = jax.tree.map(
        lambda leaf, names: array(names, *leaf.shape, dtype=leaf.dtype), layout.shapes, axes
    )
    shape = tokens // PAGE, PAGE, 2 * model.num_kv_heads, model.head_dim
    pool = tuple(array(POOL_AXES, *shape, dtype=jnp.bfloat16) for _ in range(model.num_layers))
    logits = array(programs.LOGITS_AXES, slots, model.vocab_size, dtype=jnp.float32)
    rows = free_rows(slots).shape[1] + len(CHUNK_FIELDS) + model.max_position // PAGE
    lowered = paged_programs.run.lower(
        layout.graph,
        mesh,
        params,
        pool,
        logits,
        prompts=array(("length",), 512),
        drawn=array(("length",), slots),
        rows=array(("length", "head_dim"), slots, rows, dtype=jnp.uint32),
    )
    compiled = lowered.compile()
    assert "tpu_custom_call" in compiled.as_text()
    memory = compiled.memory_analysis()
    # A device has its heads of the pool, and all logits: both take their old memory.
    numbers = slots * model.vocab_size * 4
    pool_bytes = state.planned_bytes(state.context) - 2 * numbers  # logits and counts
    assert memory.alias_size_in_bytes == pytest.approx(pool_bytes // tensor + numbers, rel=0.01)
    assert memory.temp_size_in_bytes < pool_bytes // tensor // model.num_layers  # it isn't copied


def test_a_step_that_doesnt_fit_says_so_and_what_to_turn():
    values = {**sft.get_config("8b").to_dict(), "remat": "none"}
    config = plan_config({**values, "lora": {**values["lora"], **FULL}})
    plan = make_plan(NAMED["llama3-8b"], config, read_topology("v5e-64"))
    assert plan.compiled is not None
    assert not plan.fits
    assert f"({plan.needed / 2**30:.2f}G)" in plan.compiled.message  # arguments are part of it
    assert "exceeds available HBM (15.75G)" in plan.compiled.message
    assert "--config.remat=full" in {knob.flags for knob in plan.knobs}
