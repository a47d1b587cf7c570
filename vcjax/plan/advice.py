"""The knobs that make a run fit, and the fastest setting among those that train the same."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from vcjax.core.hardware import Hardware
from vcjax.model.layers import POLICIES
from vcjax.model.quantised import FORMS
from vcjax.parallel import AXES
from vcjax.plan.memory import count_memory, count_state
from vcjax.plan.setting import Setting, settle
from vcjax.plan.time import StepTime, step_time
from vcjax.train.config import TrainConfig

Flags = dict[str, Any]
Turn = Callable[[TrainConfig], TrainConfig]

_NOTABLE = 0.03
"""Share of a step's time below which one setting isn't called faster than another."""

SHORTEST = 512
"""Rows are not made shorter than this, in tokens."""

_LESS_KEPT = {
    "none": ("projections", "full"),
    "dots": ("full",),
    "projections": ("full",),
    "full": (),
}


@dataclass(frozen=True)
class Knob:
    """Flags of the command line, and the bytes per device that are needed with them."""

    flags: str
    needed: int
    fits: bool


@dataclass(frozen=True)
class Choice:
    """A setting that trains the same on the same batch, by the flags that it takes.

    Attributes:
      flags: what differs from the setting that was asked about; '' for that setting itself.
      needed: bytes per device, estimated.
      time: of a step.
    """

    flags: str
    needed: int
    time: StepTime


def fastest(setting: Setting, needed: int, limit: int, hardware: Hardware) -> Choice | None:
    """The fastest of the settings that fit, over remat, microbatches, offload and the mesh.

    None of these changes what is trained. The mesh keeps its sequence axis, and copies nothing
    (data 1), since sharding by fsdp brings the same weights at the same rate for less memory.
    Of equals, the one closest to the setting that was asked about.

    Args:
      needed: what the setting needs, by the best account there is; what others need is estimated
        in proportion, and never below what is counted.
      limit: what a device has.
    """
    # Where the compiler found more than is counted, it would for similar settings too.
    scale = max(1.0, needed / count_memory(setting).total)
    best = None
    for other in _same_training(setting):
        # Activations are counted last, and only where they decide: the search is long for tracing.
        state = count_state(other)
        took = step_time(other, state, hardware)
        if best is not None and took.most >= (1 - _NOTABLE) * best.time.most:
            continue
        asked = other.config == setting.config
        if not asked and scale * state.least > limit:
            continue
        total = needed if asked else int(scale * count_memory(other).total)
        if total <= limit:
            best = Choice(_difference(setting.config, other.config), total, took)
    return best


def _same_training(setting: Setting) -> Iterator[Setting]:
    """The setting itself, then all others that train the same on the same batch."""
    # First, so that of equals it is kept.
    yield setting
    config, model = setting.config, setting.model
    devices, sequence = setting.topology.devices, setting.mesh.shape["sequence"]
    offloads = {config.offload}
    if setting.topology.platform != "cpu" and not config.adapters:
        offloads = {False, True}
    sizes = [config.mesh]
    # Up to the devices of a node: beyond it the all-reduces of the tensor axis go over the network.
    # It divides the key/value heads, which would else be stored more than once.
    for tensor in (1, 2, 4, 8):
        if devices % (tensor * sequence) == 0 and model.num_kv_heads % tensor == 0:
            sizes.append(replace(config.mesh, data=1, fsdp=-1, tensor=tensor))
    for mesh, offload in product(dict.fromkeys(sizes), sorted(offloads)):
        base = replace(config, mesh=mesh, offload=offload, microbatches=1)
        parts = devices // (mesh.tensor * sequence) if mesh.fsdp == -1 else None
        if parts and config.batch_size % parts:
            continue  # a larger batch would train something else
        laid = settle(model, base, setting.topology, beside=setting.beside)
        times = 1
        # Powers of two that divide a device's rows: other numbers rarely do, and the search stays
        # short.
        while laid.local_items % times == 0:
            for remat in POLICIES:
                yield replace(laid, config=replace(base, microbatches=times, remat=remat))
            times *= 2


def _difference(asked: TrainConfig, other: TrainConfig) -> str:
    flags = {
        name: getattr(other, name)
        for name in ("remat", "microbatches", "offload")
        if getattr(other, name) != getattr(asked, name)
    }
    for axis in AXES:
        if getattr(other.mesh, axis) != getattr(asked.mesh, axis):
            flags[f"mesh.{axis}"] = getattr(other.mesh, axis)
    return _text(flags)


def _text(flags: Flags) -> str:
    return " ".join(f"--config.{name}={value}" for name, value in flags.items())


def advise(setting: Setting, needed: int, limit: int) -> list[Knob]:
    """The knobs that make a setting fit, each alone; where none does, together until they do.

    Args:
      needed: what the setting needs, by the best account there is; what others need is estimated
        in proportion.
      limit: what a device has.
    """
    # What the compiler finds beyond the count, or below it, is taken to be the same share of other
    # settings.
    scale = needed / count_memory(setting).total

    def knob(flags: Flags, config: TrainConfig) -> Knob:
        other = settle(setting.model, config, setting.topology, beside=setting.beside)
        total = int(scale * count_memory(other).total)
        return Knob(_text(flags), total, total <= limit)

    alone = [knob(flags, turn(setting.config)) for flags, turn in _knobs(setting)]
    if any(each.fits for each in alone):
        return [each for each in alone if each.fits]
    flags, config, together = {}, setting.config, []
    for more, turn in _knobs(setting):
        flags, config = {**flags, **more}, turn(config)
        together = [knob(flags, config)]
        if together[0].fits:
            break
    return together


def _knobs(setting: Setting) -> Iterator[tuple[Flags, Turn]]:
    """The knobs that can still be changed: first those that only cost time, last those that change
    what is trained."""
    config, mesh = setting.config, setting.mesh.shape
    if mesh["data"] > 1:
        sizes = replace(config.mesh, data=1, fsdp=-1)
        yield {"mesh.data": 1, "mesh.fsdp": -1}, lambda c: replace(c, mesh=sizes)
    for remat in _LESS_KEPT[config.remat]:
        yield {"remat": remat}, lambda c, remat=remat: replace(c, remat=remat)
    times = 2
    while setting.local_items % times == 0:
        count = config.microbatches * times
        yield {"microbatches": count}, lambda c, count=count: replace(c, microbatches=count)
        times *= 2
    if not config.adapters and config.optimizer != "adafactor":
        yield {"optimizer": "adafactor"}, lambda c: replace(c, optimizer="adafactor")
    if setting.topology.platform != "cpu" and not config.offload:
        yield {"offload": True}, lambda c: replace(c, offload=True)
    if config.adapters and not config.lora.base:
        for base in FORMS:
            lora = replace(config.lora, base=base)
            yield {"lora.base": base}, lambda c, lora=lora: replace(c, lora=lora)
    if config.length >= 2 * SHORTEST:
        length = config.length // 2
        yield {"length": length}, lambda c: replace(c, length=length)
    if not config.adapters and not config.groups:
        # Any rank frees nearly all of the memory of the optimiser; 16 is a usual one.
        adapters = replace(config.lora, rank=16)
        yield {"lora.rank": 16}, lambda c: replace(c, lora=adapters)
