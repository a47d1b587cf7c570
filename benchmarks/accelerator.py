"""How much of an accelerator's peak a training step uses, at the shapes of real models.

Model FLOP utilisation (Chowdhery et al., arXiv 2204.02311, appendix B): what remat computes again
doesn't count as work.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import CONTENDERS, ContenderFailed, Entry, Worker, summarise, take_turns
from benchmarks.results import Bound, check_bounds

OURS = "ours"


@dataclass(frozen=True)
class Shape:
    """A model without weights and what to train of it.

    Attributes:
      model: one of `vcjax.model.build.NAMED`.
      rank: of adapters on all projections; 0 is full fine-tuning.
      remat: one of `vcjax.model.layers.POLICIES`.
    """

    model: str
    batch: int
    length: int
    rank: int
    remat: str

    @property
    def name(self) -> str:
        what = f"LoRA of rank {self.rank}" if self.rank else "all parameters"
        return f"{self.model}, {self.batch} x {self.length}, {what}"


SHAPES = (
    Shape("llama3.2-1b", 8, 2048, 0, "projections"),
    Shape("llama3-8b", 4, 2048, 16, "projections"),
)
"""For a device of 80 GB. All parameters of the 8B, with float32 master weights, gradients and
moments, are 128 GB: its adapters are trained."""


def bench_accelerator(
    shapes: Sequence[Shape],
    settings: Mapping[str, Any],
    rounds: int,
    peak_flops: float | None,
    workdir: Path,
) -> dict[str, Any]:
    """Measures our step in bfloat16, with the platform's own attention, on random weights.

    Args:
      settings: fields of a `TrainConfig`.
      peak_flops: of the device, FLOP/s; None where it isn't known.

    Returns:
      `rounds`, `cases`, each with `utilisation` where the peak is known, and `bounds`.
    """
    (workdir / "logs").mkdir(parents=True, exist_ok=True)
    cases = [_measure(shape, settings, rounds, peak_flops, workdir / "logs") for shape in shapes]
    figures = {
        f"model FLOP utilisation, {case['name']}": case["utilisation"]
        for case in cases
        if "utilisation" in case
    }
    bounds = [Bound(figure, least=0.5, must=False) for figure in figures]
    return {"rounds": rounds, "cases": cases, "bounds": check_bounds(bounds, figures)}


def _measure(
    shape: Shape, settings: Mapping[str, Any], rounds: int, peak_flops: float | None, logs: Path
) -> dict[str, Any]:
    print(f"{shape.name}: setting up", file=sys.stderr, flush=True)
    config = {
        **settings,
        "model": shape.model,
        "batch_size": shape.batch,
        "length": shape.length,
        "dtype": "bfloat16",
        "remat": shape.remat,
        "lora": {**settings["lora"], "rank": shape.rank},
    }
    entry = Entry(OURS, Path(sys.executable), f"{CONTENDERS}.ours", {"config": config})
    case = {"name": shape.name, "contenders": {}, "ratios": {}, "memory_ratios": {}, "skipped": {}}
    try:
        with Worker(entry, logs / f"{shape.name}.log") as worker:
            seconds = [one[OURS] for one in take_turns([worker], rounds)]
            ready, peak = worker.ready, worker.stop()
    except ContenderFailed as error:  # such as out of the device's memory
        return {**case, "skipped": {OURS: error.reason}}
    tokens, flops = shape.batch * shape.length, ready["facts"]["flops_per_step"]
    ours = summarise(ready, seconds, peak, tokens, flops)
    case |= {"tokens_per_step": tokens, "flops_per_step": flops, "contenders": {OURS: ours}}
    if peak_flops is not None:
        case["utilisation"] = ours["flops_per_second"] / peak_flops
    return case
