"""The real training step, compiled for devices that needn't be here, and what the compiler says."""

import re
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh

from vcjax.parallel import replicated
from vcjax.plan.batch import abstract_batch
from vcjax.plan.memory import Memory
from vcjax.plan.setting import Setting
from vcjax.train.objective import make_loss
from vcjax.train.optim import make_schedule
from vcjax.train.step import make_step

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Compiled:
    """Bytes per device, by the compiler's own account.

    Attributes:
      arguments: parameters, optimiser state and batch; the step's results take their place. Of a
        step that doesn't fit the compiler doesn't tell them.
      temporaries: all that the step holds beside them.
      needed: both.
      fits: whether the compiler has made a program of it.
      seconds: that compiling took.
      says: the compiler's words, where it refused.
    """

    arguments: int | None
    temporaries: int
    needed: int
    fits: bool
    seconds: float
    says: str = ""


def compile_step(setting: Setting, held: Memory) -> Compiled:
    """Compiles the step of a setting that was laid out over devices, and not over an idea of them.

    Args:
      held: as counted; of a step that doesn't fit the compiler tells its temporaries alone.

    Raises:
      JaxRuntimeError: a fault of the compiler other than a lack of memory.
    """
    config, layout = setting.config, setting.layout
    assert isinstance(setting.mesh, Mesh)
    step = make_step(
        layout,
        make_loss(config),
        setting.optimizer,
        make_schedule(config),
        config.microbatches,
        setting.mesh,
        setting.rules,
    )
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(setting.mesh))
    start = time.perf_counter()
    lowered = step.lower(
        layout.trainable, layout.optimizer, layout.frozen, abstract_batch(setting), count
    )
    try:
        memory = lowered.compile().memory_analysis()
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed, seconds = _temporaries(str(error)), time.perf_counter() - start
        says = str(error).splitlines()[0]
        return Compiled(None, needed, held.arguments + needed, False, seconds, says)
    # Results that take no argument's place: the metrics.
    arguments = memory.argument_size_in_bytes
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    temporaries = memory.temp_size_in_bytes + memory.generated_code_size_in_bytes + results
    seconds = time.perf_counter() - start
    return Compiled(arguments, temporaries, arguments + temporaries, True, seconds)


def _temporaries(says: str) -> int:
    """Reads how much the compiler would have needed beside the arguments."""
    found = re.search(r"temporaries \(([\d.]+)([KMGT]?)\)", says)
    if found is None:
        raise RuntimeError(f"the compiler's message is of an unknown form: {says}")
    return int(float(found[1]) * _UNITS[found[2]])
