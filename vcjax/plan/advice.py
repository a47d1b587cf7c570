"""Which knobs make a run fit that doesn't."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vcjax.model.quantised import FORMS
from vcjax.plan.memory import count_memory
from vcjax.plan.setting import Setting, settle
from vcjax.train.config import TrainConfig

Flags = dict[str, Any]
Turn = Callable[[TrainConfig], TrainConfig]

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


def advise(setting: Setting, needed: int, limit: int) -> list[Knob]:
    """The knobs that make a setting fit, each alone; where none does, together until they do.

    Args:
      needed: what the setting needs, by the best account there is; what others need is estimated
        in proportion.
      limit: what a device has.
    """
    scale = needed / count_memory(setting).total

    def knob(flags: Flags, config: TrainConfig) -> Knob:
        other = settle(setting.model, config, setting.topology, beside=setting.beside)
        total = int(scale * count_memory(other).total)
        text = " ".join(f"--config.{name}={value}" for name, value in flags.items())
        return Knob(text, total, total <= limit)

    alone = [knob(flags, turn(setting.config)) for flags, turn in _knobs(setting)]
    if any(each.fits for each in alone):
        return [each for each in alone if each.fits]
    flags, config, last = {}, setting.config, []
    for more, turn in _knobs(setting):
        flags, config = {**flags, **more}, turn(config)
        last = [knob(flags, config)]
        if last[0].fits:
            break
    return last


def _knobs(setting: Setting) -> Iterator[tuple[Flags, Turn]]:
    """What can still be turned: first what costs time alone, last what trains something else."""
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
        adapters = replace(config.lora, rank=16)
        yield {"lora.rank": 16}, lambda c: replace(c, lora=adapters)
