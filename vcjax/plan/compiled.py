"""The real training step, compiled for devices that needn't be here, and its memory by the
compiler's account."""

import re
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh

from vcjax.parallel import replicated
from vcjax.plan.memory import Memory
from vcjax.plan.setting import Setting, abstract_batch
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_schedule
from vcjax.train.step import make_step

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Compiled:
    """Bytes per device, by the compiler's own account.

    Attributes:
      arguments: parameters, optimiser state and batch, as far as they are on the device; the
        step's results reuse their memory. None of a step that doesn't fit, which isn't reported.
      temporaries: the most that is live beside them at a time.
      needed: both.
      fits: whether the compiler has made a program of it.
      seconds: that compiling took.
      message: the compiler's, where it refused.
    """

    arguments: int | None
    temporaries: int
    needed: int
    fits: bool
    seconds: float
    message: str = ""


def compile_step(setting: Setting, counted: Memory) -> Compiled:
    """Compiles the step of a setting whose mesh is of devices, and not abstract.

    Args:
      counted: of a step that doesn't fit the compiler reports only what it needs in all, and the
        arguments are taken from here.

    Raises:
      JaxRuntimeError: an error of the compiler other than a lack of memory.
    """
    config, layout = setting.config, setting.layout
    assert isinstance(setting.mesh, Mesh)
    step = make_step(
        layout,
        make_loss(config),
        setting.optimizer,
        make_schedule(config),
        config.microbatches,
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
        needed, seconds = _refused(str(error)), time.perf_counter() - start
        message = str(error).splitlines()[0]
        return Compiled(
            arguments=None,
            temporaries=needed - counted.arguments,
            needed=needed,
            fits=False,
            seconds=seconds,
            message=message,
        )
    seconds, arguments = time.perf_counter() - start, memory.argument_size_in_bytes
    needed = _needed(memory, setting.topology.platform)
    return Compiled(
        arguments=arguments,
        temporaries=needed - arguments,
        needed=needed,
        fits=True,
        seconds=seconds,
    )


def _needed(memory: Any, platform: str) -> int:
    """The most bytes of a device that are live at a time.

    A TPU's `temp_size_in_bytes` isn't that: the compiler accepts steps whose arguments and
    temporaries, so counted, are a third more than the device has. Its peak is what it checks
    against the memory there is, and counts arguments in the host's memory too. A CPU's peak leaves
    out the arguments.
    """
    if platform == "tpu":
        peak = memory.peak_memory_in_bytes - memory.host_argument_size_in_bytes
        return peak + memory.generated_code_size_in_bytes
    # Results that reuse no argument's memory: the metrics.
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    beside = memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    return memory.argument_size_in_bytes + beside + results


def _refused(message: str) -> int:
    """Reads how much the compiler would have needed.

    It calls that temporaries, but it is the peak of them and the arguments.
    """
    found = re.search(r"temporaries \(([\d.]+)([KMGT]?)\)", message)
    if found is None:
        raise RuntimeError(f"the compiler's message is of an unknown form: {message}")
    return int(float(found[1]) * _UNITS[found[2]])
