"""Models on the devices of a cluster of Ray: an engine on each, of which the least loaded is asked.

    ClusterRole.ask --> Replicas --> an actor of Ray, which has a ModelHost --> its engine

Every node loads the models by their references. An engine that dies is set aside; its calls go to
others, and Ray starts it anew on its node. Where the node is gone, it begins on one that has come
since. A reply depends on its ask alone, so one that was lost is the same from another engine.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.hardware import reserve_gpu
from vcjax.core.ray_cluster import connect
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.asking import Emit, FedAsking, ask_all
from vcjax.roles.background import Feed, work_off
from vcjax.roles.host import Hosted, ModelHost
from vcjax.roles.replicas import Replicas
from vcjax.roles.role import Ask, Reply

_BACKOFF = 1.0
"""Seconds for which an engine that has died is set aside at first: Ray starts it in a few."""
_PATIENCE = 120.0
"""Seconds without any reply that end a run where all engines have died."""
_ACCELERATORS = ("TPU", "GPU")
"""Ray's names of them."""


class Lost(Exception):
    """An engine died, and what it was asked with it.

    Attributes:
      is_gone: it can't be started anew, as its node is gone.
    """

    def __init__(self, where: str, *, is_gone: bool) -> None:
        super().__init__(f"{where}: it has died or its node is gone; others have its calls")
        self.is_gone = is_gone


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
      engines: how many it has room for.
      resources: of Ray that each of them takes.
      share: engines for which its memory is; accelerators have memory of their own.
    """

    id: str
    address: str
    engines: int
    resources: Mapping[str, float]
    share: int


def plan_nodes(rows: Iterable[Mapping[str, Any]], config: EngineConfig) -> list[Node]:
    """The nodes that are alive: where any has accelerators, only these have engines.

    Args:
      rows: as `ray.nodes` returns them.
      config: `tensor` devices are an engine's; a node has at most `replicas` engines, 0 is as many
        as it has devices for, and one where it has only CPUs.
    """
    alive = [row for row in rows if row["Alive"]]
    found = {name for row in alive for name in _ACCELERATORS if row["Resources"].get(name)}
    # One kind for all: an engine on a CPU beside accelerators would keep the last calls of a run
    # waiting.
    kind = next((name for name in _ACCELERATORS if name in found), "")
    nodes = []
    for row in alive:
        if kind:
            engines = int(row["Resources"].get(kind, 0)) // config.tensor
            engines = min(config.replicas or engines, engines)
        else:
            engines = (config.replicas or 1) if row["Resources"].get("CPU") else 0
        resources = {kind: float(config.tensor)} if kind else {}
        share = 1 if kind else max(1, engines)
        nodes.append(Node(row["NodeID"], row["NodeManagerAddress"], engines, resources, share))
    return nodes


class EngineCluster:
    """Engines on all devices of a cluster, by name; each is an actor of Ray."""

    def __init__(self, config: EngineConfig, models: int) -> None:
        """Starts the engines, which load nothing yet.

        Args:
          config: of them; see `plan_nodes`.
          models: how many are to be loaded together.

        Raises:
          UserError: no Ray, no cluster, or none with the devices.
        """
        connect("--executor=ray")
        self._config, self._models = config, models
        self._actors: dict[str, Any] = {}
        self._nodes: dict[str, Node] = {}  # of each
        for node in self._planned():
            for _ in range(node.engines):
                self._start(f"engine {len(self._actors) + 1}", node)
        if not self._actors:
            raise UserError(
                f"--executor=ray: no node of the cluster has {config.tensor} device(s) or a CPU"
            )

    def load(self, reference: str) -> dict[str, Hosted]:
        """Loads a model everywhere. Returns what each engine has, by its name.

        Raises:
          UserError: a node can't read it, or reads another one than the others.
          GateNotMet: no engine is left.
        """
        import ray

        loading = {name: actor.load.remote(reference) for name, actor in self._actors.items()}
        hosted: dict[str, Hosted] = {}
        for name, pending in loading.items():
            try:
                with _reraising(self._where(name)):
                    hosted[name] = ray.get(pending)
            except Lost as lost:
                print(lost, file=sys.stderr)
            except UserError as error:
                raise UserError(
                    f"{self._where(name)}: {error}; name the model by what every node of the "
                    "cluster can read"
                ) from None
        if not hosted:
            raise GateNotMet(f"{reference}: all engines of the cluster died while they loaded it")
        # A path may be another file on another node.
        hashes = {each.origin.hash: name for name, each in hosted.items()}
        if len(hashes) > 1:
            places = " and ".join(map(self._where, hashes.values()))
            raise UserError(f"{reference}: {places} have other models there")
        slots = sum(each.slots for each in hosted.values())
        print(
            f"{reference}: {slots} slots in {len(hosted)} engines of the cluster", file=sys.stderr
        )
        return hosted

    async def ask(self, name: str, reference: str, ask: Ask, context: int) -> Reply:
        """Has an engine answer; see `ModelHost.ask`.

        Raises:
          Lost: it died meanwhile.
        """
        actor, where = self._actors[name], self._where(name)
        try:
            with _reraising(where):
                return await actor.ask.remote(reference, ask, context)
        except Lost as lost:
            # Of calls that are lost together, the first moves it.
            moved = self._actors[name] is not actor or (lost.is_gone and self._move(name))
            raise Lost(where, is_gone=lost.is_gone and not moved) from None

    def _where(self, name: str) -> str:
        return f"{name} at {self._nodes[name].address}"

    def _move(self, name: str) -> bool:
        """Starts an engine whose node is gone on one that has come since; False without any."""
        used = Counter(node.id for node in self._nodes.values())
        for node in self._planned():
            if used[node.id] < node.engines:
                self._start(name, node)
                return True
        return False

    def _planned(self) -> list[Node]:
        import ray

        return plan_nodes(ray.nodes(), self._config)

    def _start(self, name: str, node: Node) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        resources = dict(node.resources)
        options = {
            # None is reserved, so that a node whose CPUs other work of Ray has taken gets its
            # engines too.
            "num_cpus": 0,
            "num_gpus": resources.pop("GPU", 0),
            "resources": resources,
            # Without end: whether it is worth waiting is decided by `_PATIENCE`, for all engines
            # together.
            "max_restarts": -1,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
        }
        # An actor sees the devices of its own engine alone.
        config = EngineConfig(**{**self._config.engine_fields, "replicas": 1})
        actor: Any = ray.remote(Engine).options(**options)
        self._actors[name] = actor.remote(config, self._models, node.share, str(Path.cwd()))
        self._nodes[name] = node


@contextmanager
def _reraising(where: str) -> Iterator[None]:
    """Raises within it what the engine has raised, or Lost where there is none any more."""
    from ray import exceptions

    try:
        yield
    except exceptions.RayTaskError as error:
        raise (error.cause or error) from None
    # Before the next clause, whose exception is the parent of these two.
    except (exceptions.ActorDiedError, exceptions.ActorUnschedulableError):
        raise Lost(where, is_gone=True) from None
    except exceptions.RayActorError:
        raise Lost(where, is_gone=False) from None


class Engine:
    """What an actor of Ray runs: models on the devices that it was given."""

    def __init__(self, config: EngineConfig, models: int, share: int, folder: str) -> None:
        """Args:
        models, share: see `ModelHost`.
        folder: the caller's, which references may be relative to.
        """
        if Path(folder).is_dir():
            os.chdir(folder)
        reserve_gpu()
        self._host = ModelHost(config, models, share)

    async def load(self, reference: str) -> Hosted:
        return await asyncio.wrap_future(self._host.load(reference))

    async def ask(self, reference: str, ask: Ask, context: int) -> Reply:
        return await asyncio.wrap_future(self._host.ask(reference, ask, context))


class ClusterRole:
    """A model on the engines of a cluster. Several roles may share them."""

    def __init__(self, cluster: EngineCluster, reference: str, *, family: str) -> None:
        """Loads the model. Raises: see `EngineCluster.load`.

        Args:
          family: declared by the caller, e.g. `smollm2`.
        """
        self.family, self._cluster, self._reference = family, cluster, reference
        hosted = cluster.load(reference)
        self.origin = next(iter(hosted.values())).origin
        self._slots = {name: each.slots for name, each in hosted.items()}
        # What is too long must not depend on which of them is asked.
        self._context = min(each.context for each in hosted.values())

    @property
    def model(self) -> str:
        """The model reference; a hub id with its commit."""
        return self.origin.reference

    @property
    def identity(self) -> str:
        """The content hash of the model; see `Role.identity`."""
        return self.origin.hash

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks; see `Role.ask`.

        Raises:
          GateNotMet: no engine is left. `on_reply` got every reply until then.
        """
        return ask_all(self, asks, on_reply)

    def asking(self, emit: Emit) -> FedAsking:
        """Takes asks at any time; see `StreamingRole`. It raises, by `emit`, what `ask` does."""
        slots = sum(self._slots.values())
        return FedAsking(slots, lambda feed: self._answer_all(feed, emit, slots), emit)

    async def _answer_all(self, feed: Feed[tuple[int, Ask]], emit: Emit, slots: int) -> None:
        replicas = Replicas(self._slots)

        async def answer(fed: tuple[int, Ask]) -> None:
            index, ask = fed
            reply = None
            while reply is None:
                reply = await self._try(replicas, ask)
            emit((index, reply))

        await work_off(feed, slots, answer)

    async def _try(self, replicas: Replicas, ask: Ask) -> Reply | None:
        """The reply of one engine; None where it died, or where all are set aside for now.

        Raises: GateNotMet where all have died.
        """
        async with replicas.chosen() as replica:
            # In short pieces, as another engine may come back before this one.
            if replica.failures and (wait := replica.until - time.monotonic()) > 0:
                await asyncio.sleep(min(wait, _BACKOFF))  # all are set aside
                return None
            try:
                reply = await self._cluster.ask(replica.name, self._reference, ask, self._context)
            except Lost as lost:
                if not replica.failures:
                    print(lost, file=sys.stderr)
                replica.failed(_BACKOFF, None, is_gone=lost.is_gone)
            else:
                replica.answered()
                return reply
        # Since anyone has answered: while one does, the others may take as long as they need.
        silent = time.monotonic() - max(each.answered_at for each in replicas.all)
        if all(each.is_gone or (each.failures and silent > _PATIENCE) for each in replicas.all):
            raise GateNotMet(
                f"{self.model}: no engine of the cluster is left; the same command continues from "
                "here"
            )
        return None
