"""What a synthesis run takes on hardware that isn't here, from what a small one has spent.

A run of any size spends its tokens by the attempt, and needs more attempts for a pair the larger it
is: what it asks begins to repeat itself. So the tokens for each attempt that a small run has
measured, role by role, are taken for the large one, and the yield of the small run's last half for
all attempts beyond it (a yield that falls further makes the large run longer still). How fast a
role reads and writes the tokens on the named hardware is a roofline of operations and memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.hardware import GiB, Hardware
from vcjax.generate.cache import state_bytes
from vcjax.generate.layout import ModelLayout
from vcjax.generate.room import SPARE, Room, least_bytes, plan_room
from vcjax.model.config import LlamaConfig
from vcjax.model.flops import parameters
from vcjax.parallel import abstract_mesh
from vcjax.plan.setting import read_shape
from vcjax.plan.time import MATMULS, MEMORY
from vcjax.plan.topology import Topology

_EACH = 8
"""Attempts with one prompt, beyond which an Attacker mostly repeats itself. An estimate."""


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
      room: slots of each copy's engine, and its longest sequence.
      memory: bytes of a copy's weights and of its cache with the longest sequence in every slot.
      written_rate: tokens a second that all copies write together.
      hours: on all devices, for the planned pairs.
    """

    spent: Spent
    model: str
    devices: int
    room: Room
    memory: int
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
        # A smaller run than the measured one is a part of it, and is taken at its average: how its
        # yield began isn't used.
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

    As a run does, the plan has a copy of each model on every `tensor` devices, which the models
    share. Where `config.tensor` isn't enough, it is planned with the next power of two that is.

    Raises:
      UserError: a role that no model plays, hardware without known peaks, or a model that doesn't
        fit all of it.
    """
    attempts = measured.attempts_for(accepted)
    roles = [(_model(config, one.role), one) for one in measured.spent]
    models = len({model for model, _ in roles})
    planned = [_Planned.of(model, one.role, config, topology, models) for model, one in roles]
    # The same for all models, as the run has one `config.tensor`.
    devices = max(each.devices for each in planned)
    return [
        _share(each.on(devices), one, attempts)
        for each, (_, one) in zip(planned, roles, strict=True)
    ]


def synthesis_lines(
    shares: Sequence[Share],
    measured: Measured,
    accepted: int,
    config: Mapping[str, Any],
    topology: Topology,
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
        f"{'slots':>7}{'context':>9}{'GiB':>8}{'tokens/s':>12}{'hours':>10}"
    )
    for share in shares:
        spent = share.spent
        yield (
            f"{spent.role:<12}{share.model:<24}{spent.calls:>8.1f}{spent.read:>10,.0f}"
            f"{spent.written:>10,.0f}{share.room.slots:>7}{share.room.context:>9,}"
            f"{share.memory / GiB:>8.2f}{share.written_rate:>12,.0f}"
            f"{share.hours:>10.2f}"
        )
    yield f"{'in all':<12}{total:.2f} h, {total * topology.devices:,.1f} device hours"
    devices = shares[0].devices
    needed = "" if devices == config["tensor"] else f"; needs --config.tensor={devices}"
    yield (
        f"{'copies':<12}{topology.devices // devices} of each model, on {devices} device(s) each, "
        f"one queue before their engines{needed}"
    )
    if (node := topology.hardware.node if topology.hardware else 0) and topology.devices > node:
        yield (
            f"{'hosts':<12}{topology.devices // node} of {node} devices: with --executor=ray a run "
            "has all of them, else each host makes a shard (config.shard)"
        )
    yield (
        "calls, tokens read and written are for each attempt, as measured; slots, context (the "
        "longest sequence) and GiB (weights, and the cache when every slot has one) are a copy's; "
        "tokens/s are written by all copies"
    )
    yield (
        f"assumed: bfloat16, {MATMULS:.0%} of the peak in matmuls and {MEMORY:.0%} in memory; no "
        "prefix is reused, links within a copy cost nothing, models are loaded once"
    )


def _model(config: Mapping[str, Any], role: str) -> str:
    """The model that plays a role: the Actor's, where the config has no field of the role."""
    return str(config.get(role) or config["actor"])


@dataclass(frozen=True)
class _Planned:
    """A model on the devices that one copy of it has.

    Attributes:
      models: how many share the devices.
    """

    reference: str
    shape: LlamaConfig
    config: Mapping[str, Any]
    topology: Topology
    hardware: Hardware
    models: int
    devices: int

    @classmethod
    def of(
        cls, reference: str, role: str, config: Mapping[str, Any], topology: Topology, models: int
    ) -> "_Planned":
        """On `config.tensor` devices, or on as many as the model needs.

        Raises:
          UserError: it can't be planned, or doesn't fit all devices.
        """
        if topology.hardware is None:
            raise UserError(f"--topology: no table has the peaks of {topology.name}")
        if reference.startswith(("http://", "https://", "endpoint:", "recorded:")):
            raise UserError(
                f"config.{role}: {reference} isn't run on the hardware; name a model or its shape"
            )
        shape, hardware = read_shape(reference), topology.hardware
        planned = cls(
            reference=reference,
            shape=shape,
            config=config,
            topology=topology,
            hardware=hardware,
            models=models,
            devices=config["tensor"],
        )
        while planned.least > planned.memory:
            if 2 * planned.devices > topology.devices:
                raise UserError(
                    f"config.{role}: {reference} and the least of its cache take "
                    f"{planned.least / GiB:.1f} GiB, more than {topology.name} has"
                )
            planned = planned.on(2 * planned.devices)
        return planned

    def on(self, devices: int) -> "_Planned":
        """On more devices."""
        return replace(self, devices=devices)

    @cached_property
    def layout(self) -> ModelLayout:
        """The parameters over the devices of a copy."""
        mesh = abstract_mesh(
            {"tensor": self.devices}, self.devices, self.hardware.kinds[0], self.topology.platform
        )
        return ModelLayout(self.shape, jnp.dtype("bfloat16"), self.config["weights"], mesh=mesh)

    @property
    def memory(self) -> int:
        """Bytes that models may take of a copy's devices."""
        return int(self.devices * self.hardware.memory * (1 - SPARE))

    @cached_property
    def least(self) -> int:
        """Bytes of a copy with the engine that it gets where it is larger than its share."""
        return least_bytes(self.layout, self.config["slots"], self.config["context"])

    @cached_property
    def room(self) -> Room:
        """What the engine of each copy has."""
        share = max(self.memory // self.models, self.least)
        return plan_room(
            self.layout,
            share - self.layout.nbytes,
            slots=self.config["slots"],
            context=self.config["context"],
        )


def _share(planned: _Planned, spent: Spent, attempts: float) -> Share:
    shape, hardware, slots = planned.shape, planned.hardware, planned.room.slots
    # The mean length of a call, as the cache that is read while decoding is that of real sequences.
    context = min(planned.room.context, round((spent.read + spent.written) / spent.calls))
    copies = planned.topology.devices // planned.devices
    flops = MATMULS * planned.devices * hardware.flops
    bandwidth = MEMORY * planned.devices * hardware.bandwidth
    # Decoding reads all weights and the whole cache for each token that it adds to every slot.
    weights = planned.layout.nbytes
    cached = state_bytes(planned.layout, slots, context, prefix_tokens=0)
    # Two operations for each parameter and token, a multiplication and an addition.
    step = max(2 * parameters(shape) * slots / flops, (weights + cached) / bandwidth)
    rate = copies * slots / step
    read = 2 * parameters(shape) * spent.read / flops / copies
    seconds = attempts * (spent.written / rate + read)
    memory = weights + state_bytes(planned.layout, slots, planned.room.context)
    return Share(
        spent=spent,
        model=planned.reference,
        devices=planned.devices,
        room=planned.room,
        memory=memory,
        written_rate=rate,
        hours=seconds / 3600,
    )
