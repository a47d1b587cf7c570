"""A plan: a run laid out, counted, and compiled where that is possible."""

import sys
from dataclasses import dataclass, replace

import jax

from vcjax.core.machine import machine_memory
from vcjax.model.config import LlamaConfig
from vcjax.plan.advice import Choice, Knob, advise, fastest
from vcjax.plan.compiled import Compiled, compile_step
from vcjax.plan.memory import Memory, count_memory
from vcjax.plan.setting import Setting, settle, shareable
from vcjax.plan.time import StepTime, step_time
from vcjax.plan.topology import Topology, can_compile, compile_devices
from vcjax.train.config import TrainConfig


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it is run.

    Attributes:
      asked: the configuration as it was given; the planned one is `setting.config`.
      compiled: None where nothing was compiled.
      time: None where no peaks are known.
      limit: bytes that a device has.
      knobs: what to turn where it doesn't fit.
      fastest: of the settings that fit and train the same; None where there is none, or no peaks
        are known.
    """

    asked: TrainConfig
    setting: Setting
    memory: Memory
    compiled: Compiled | None
    time: StepTime | None
    limit: int
    knobs: list[Knob]
    fastest: Choice | None = None

    @property
    def needed(self) -> int:
        """Bytes per device, by the compiler's account where there is one."""
        if self.compiled is None:
            return self.memory.total
        return self.compiled.needed + self.memory.beside

    @property
    def fits(self) -> bool:
        """Whether a device has what is needed."""
        refused = self.compiled is not None and not self.compiled.fits
        return self.needed <= self.limit and not refused


def make_plan(
    model: LlamaConfig,
    config: TrainConfig,
    topology: Topology,
    beside: tuple[LlamaConfig, ...] = (),
    compile: bool | None = None,
) -> Plan:
    """Plans a run. Must be called before anything asks JAX for devices.

    Args:
      beside: models that are on the same devices while it runs.
      compile: compile the step; None does so where the compiler is here.

    Raises:
      UserError: what `vcjax.train` would refuse, a batch that the devices can't share out apart
        (the next larger one is planned); or the compiler was asked for and isn't here.
    """
    jax.config.update("jax_platforms", "cpu")  # a plan touches no accelerator
    wanted = can_compile(topology) if compile is None else compile
    devices = compile_devices(topology) if wanted else None
    setting = settle(model, shareable(config, topology), topology, devices, beside)
    memory, compiled, time = count_memory(setting), None, None
    if wanted:
        print(f"compiling the step for {topology.name}", file=sys.stderr)
        compiled = compile_step(setting, memory)
    if topology.hardware is not None:
        time = step_time(setting, memory, topology.hardware)
        limit = topology.hardware.memory
    else:
        # Virtual devices share the machine's memory.
        limit = machine_memory() // topology.devices
    plan = Plan(
        asked=config,
        setting=setting,
        memory=memory,
        compiled=compiled,
        time=time,
        limit=limit,
        knobs=[],
    )
    if not plan.fits:
        plan = replace(plan, knobs=advise(setting, plan.needed, limit))
    if topology.hardware is not None:
        best = fastest(setting, plan.needed, limit, topology.hardware)
        plan = replace(plan, fastest=best)
    return plan
