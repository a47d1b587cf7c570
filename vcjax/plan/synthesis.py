"""What a synthesis run takes on hardware that isn't here, from what a small one has spent.

A run of any size spends its tokens by the attempt, and needs more attempts for a pair the larger it
is: what it asks begins to repeat itself. So the tokens for each attempt that a small run has
measured, role by role, are taken for the large one, and the yield of the small run's last half for
all attempts beyond it (a yield that falls further makes the large run longer still). How fast a
role reads and writes the tokens on the named hardware is a roofline of operations and memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig
from vcjax.model.flops import parameters
from vcjax.plan.setting import read_shape
from vcjax.plan.time import MATMULS, MEMORY
from vcjax.plan.topology import Topology

GiB = 2**30
BYTES = 2
"""Bytes of a weight and of a number in the cache: bfloat16."""
_EACH = 8
"""Attempts with one prompt, beyond which an Attacker mostly repeats itself. An estimate."""
_FILLED = 0.9
"""Share of a device's memory that weights and cache may take."""


@dataclass(frozen=True)
class Spent:
    """What a role has spent in a measured run, for each attempt."""

    role: str
    calls: float
    read: float
    written: float


@dataclass(frozen=True)
class Share:
    """What a role takes of the planned run.

    Attributes:
      devices: over which one copy of its model is sharded; the others have further copies.
      written_rate: tokens a second that all copies write together.
      hours: on all devices, for the planned pairs.
    """

    spent: Spent
    model: str
    devices: int
    written_rate: float
    hours: float


@dataclass(frozen=True)
class Measured:
    """A synthesis run that the plan of a larger one is made from.

    Attributes:
      spent: for each role.
      attempts, accepted: of the whole run.
      late_yield: accepted pairs for each attempt of its last half.
      prompts: how many different prompts its Attacker can be given; None where it wasn't recorded.
    """

    spent: tuple[Spent, ...]
    attempts: int
    accepted: int
    late_yield: float
    prompts: int | None = None

    def attempts_for(self, accepted: int) -> float:
        """How many attempts a run needs for a number of accepted pairs."""
        if accepted <= self.accepted:
            return accepted * self.attempts / self.accepted
        return self.attempts + (accepted - self.accepted) / self.late_yield


def read_measured(path: Path) -> Measured:
    """What a run has spent and yielded by its `summary.json`.

    Raises:
      UserError: it isn't one of a synthesis run, or no pair was accepted, all in all or in the last
        half of the attempts.
    """
    try:
        summary = read_json(path)
        rows, accepted, attempts = (summary[key] for key in ("usage", "accepted", "attempts"))
        # Earlier versions recorded no curve; their average is the best that is known.
        curve = summary.get("yield_curve") or [{"attempts": attempts, "accepted": accepted}]
        points = [(point["attempts"], point["accepted"]) for point in curve]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"--measured: {path} isn't a synthesis run's summary.json ({error})"
        ) from None
    if not accepted:
        raise UserError(f"--measured: {path}: no pair was accepted, so none can be priced")
    if not (late := _late_yield(points)):
        raise UserError(
            f"--measured: {path}: no pair was accepted in the last half of its {attempts} "
            "attempts, so more would give none; give it more topics or another Attacker"
        )
    roles = dict.fromkeys(row["role"] for row in rows)
    spent = tuple(
        Spent(
            role,
            *(
                sum(row[name] for row in rows if row["role"] == role) / attempts
                for name in ("calls", "prompt_tokens", "tokens")
            ),
        )
        for role in roles
    )
    prompts = summary.get("topics", {}).get("prompts")
    return Measured(spent, attempts, accepted, late, prompts)


def _late_yield(curve: Sequence[tuple[int, int]]) -> float:
    """Accepted pairs for each attempt after the point that is nearest to half of the attempts.

    Args:
      curve: attempts and accepted pairs so far, in order.
    """
    points = [(0, 0), *curve]
    attempts, accepted = points[-1]
    half = min(points[:-1], key=lambda point: abs(point[0] - attempts / 2))
    return (accepted - half[1]) / (attempts - half[0])


def plan_synthesis(
    config: Mapping[str, Any], measured: Measured, accepted: int, topology: Topology
) -> list[Share]:
    """Each role's share of a run of `accepted` pairs; roles take turns on all devices.

    Raises:
      UserError: a role that no model plays, hardware without known peaks, or a model that doesn't
        fit all of it.
    """
    attempts = measured.attempts_for(accepted)
    return [
        _share(_model(config, one.role), config["slots"], one, attempts, topology)
        for one in measured.spent
    ]


def synthesis_lines(
    shares: Sequence[Share], measured: Measured, accepted: int, slots: int, topology: Topology
) -> Iterator[str]:
    """The plan as text."""
    total = sum(share.hours for share in shares)
    yield f"{'topology':<12}{topology.name}: {topology.text}"
    attempts = measured.attempts_for(accepted)
    yield f"{'pairs':<12}{accepted:,} accepted, of {attempts:,.0f} attempts"
    yield (
        f"{'yield':<12}{measured.accepted / measured.attempts:.1%} of {measured.attempts:,} "
        f"measured attempts, {measured.late_yield:.1%} of their last half"
    )
    if measured.prompts and attempts > _EACH * measured.prompts:
        yield (
            f"{'prompts':<12}{measured.prompts:,} different ones to the Attacker, each "
            f"{attempts / measured.prompts:,.0f} times: the yield will fall further; more topics "
            "(config.topics) make more of them"
        )
    yield (
        f"{'role':<12}{'model':<24}{'calls':>8}{'read':>10}{'written':>10}"
        f"{'devices':>9}{'tokens/s':>12}{'hours':>10}"
    )
    for share in shares:
        spent = share.spent
        yield (
            f"{spent.role:<12}{share.model:<24}{spent.calls:>8.1f}{spent.read:>10,.0f}"
            f"{spent.written:>10,.0f}{share.devices:>9}{share.written_rate:>12,.0f}"
            f"{share.hours:>10.2f}"
        )
    yield f"{'in all':<12}{total:.2f} h, {total * topology.devices:,.1f} device hours"
    yield (
        "calls, tokens read and written are for each attempt, as measured; devices: those of one "
        "copy of a model, tokens/s are written by all copies"
    )
    yield (
        f"assumed: bfloat16, {slots} rows a copy, {MATMULS:.0%} of the peak in matmuls and "
        f"{MEMORY:.0%} in memory; no prefix is reused, links within a copy cost nothing"
    )


def _model(config: Mapping[str, Any], role: str) -> str:
    """The model that plays a role: the Actor's, where the config has no field of the role."""
    return str(config.get(role) or config["actor"])


def _share(reference: str, slots: int, spent: Spent, attempts: float, topology: Topology) -> Share:
    if topology.hardware is None:
        raise UserError(f"--topology: no table has the peaks of {topology.name}")
    if reference.startswith(("http://", "https://", "endpoint:", "recorded:")):
        raise UserError(
            f"config.{spent.role}: {reference} isn't run on the hardware; name a model or its shape"
        )
    shape, hardware = read_shape(reference), topology.hardware
    context = min(shape.max_position, round((spent.read + spent.written) / spent.calls))
    weights = parameters(shape) * BYTES
    cache = slots * context * _cache_bytes(shape)
    devices = 1
    while (weights + cache) / devices > _FILLED * hardware.memory:
        devices *= 2
        if devices > topology.devices:
            raise UserError(
                f"config.{spent.role}: {reference} and its cache of {slots} x {context} tokens "
                f"take {(weights + cache) / GiB:.1f} GiB, more than {topology.name} has"
            )
    copies = topology.devices // devices
    flops = MATMULS * devices * hardware.flops
    bandwidth = MEMORY * devices * hardware.bandwidth
    # Decoding reads all weights and the whole cache for each token that it adds to every slot.
    step = max(2 * parameters(shape) * slots / flops, (weights + cache) / bandwidth)
    rate = copies * slots / step
    read = 2 * parameters(shape) * spent.read / flops / copies
    seconds = attempts * (spent.written / rate + read)
    return Share(spent, reference, devices, rate, seconds / 3600)


def _cache_bytes(shape: LlamaConfig) -> int:
    """Bytes of the cache for one token."""
    return 2 * BYTES * shape.num_layers * shape.num_kv_heads * shape.head_dim
