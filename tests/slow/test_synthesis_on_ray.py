"""A synthesis on a cluster of Ray with two nodes: that of one machine, whoever dies meanwhile."""

import time
from collections import Counter
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.adversarial.test_synthesize import config, ledger, undisturbed
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import UserError
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.asking import AskQueue
from vcjax.roles.cluster import ClusterRole, EngineCluster
from vcjax.roles.local import LocalRole
from vcjax.roles.role import Ask, Reply

__all__ = ["config", "undisturbed"]  # fixtures

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(autouse=True)
def at_address(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)


class Watched(EngineCluster):
    """Counts what each engine has answered."""

    def __init__(self, *args: Any) -> None:
        self.answered: Counter[str] = Counter()
        super().__init__(*args)

    async def ask(self, name: str, reference: str, ask: Ask, context: int) -> Reply:
        reply = await super().ask(name, reference, ask, context)
        self.answered[name] += 1
        return reply


def test_a_run_is_that_of_one_machine_where_a_node_is_killed_half_way(
    cluster, config, undisturbed, tmp_path, capsys
):
    calls = len(ledger(undisturbed[0])["calls"])
    asked: list[str] = []
    killed = cluster.worker_nodes.copy().pop()

    def kills(call) -> None:
        asked.append(call.attempt)
        if len(asked) == calls // 2:
            cluster.remove_node(killed, allow_graceful=False)

    summary = synthesize(config, tmp_path / "run", on_ask=kills, executor="ray")
    assert len(asked) >= calls
    assert ledger(tmp_path / "run") == ledger(undisturbed[0])
    for name in ("accepted.jsonl", "preferences.jsonl"):
        wanted = (undisturbed[0] / name).read_text(encoding="utf-8")
        assert (tmp_path / "run" / name).read_text(encoding="utf-8") == wanted
    assert summary["parents"] == undisturbed[1]["parents"]
    said = capsys.readouterr().err
    assert "8 slots in 2 engines of the cluster" in said
    assert "it has died or its node is gone; others have its calls" in said


def test_an_engine_that_died_comes_back_and_one_whose_node_did_begins_on_another(
    cluster, tiny_folder
):
    if len(cluster.worker_nodes) < 1:  # another test has killed it
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
    settings = EngineConfig(slots=2, context=256)
    engines = Watched(settings, 1)
    role = ClusterRole(engines, str(tiny_folder), family="tiny")
    last = max(engines._nodes, key=lambda name: engines._nodes[name].id != _head())
    asks = [
        Ask(f"{n}", ({"role": "user", "content": f"Why {n}?"},), 12, temperature=1.0, seed=n)
        for n in range(200)
    ]
    wanted = LocalRole(ModelPool(settings), str(tiny_folder), family="tiny").ask(asks)
    replies: dict[int, Reply] = {}

    def ask(queue: AskQueue, until: int) -> None:
        for index in range(len(replies), until):
            queue.add(role, index, asks[index])
        while queue.open:
            queue.wait()

    def comes_back(queue: AskQueue) -> None:
        before = engines.answered[last]
        while engines.answered[last] == before and len(replies) < len(asks):
            time.sleep(0.1)
            ask(queue, len(replies) + 1)
        assert engines.answered[last] > before

    with AskQueue(replies.__setitem__) as queue:
        ask(queue, 12)
        assert min(engines.answered.values()) > 0
        assert len(engines.answered) == 2
        ray.kill(engines._actors[last], no_restart=False)
        ask(queue, 24)
        comes_back(queue)
        node = next(
            each for each in cluster.worker_nodes if each.node_id == engines._nodes[last].id
        )
        cluster.remove_node(node, allow_graceful=False)
        ask(queue, len(replies) + 12)
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        comes_back(queue)
        queue.finish()
    assert [replies[n] for n in range(len(replies))] == wanted[: len(replies)]


def _head() -> str:
    return next(
        each["NodeID"] for each in ray.nodes() if "node:__internal_head__" in each["Resources"]
    )


def test_what_the_nodes_can_t_read_is_one_line(config, tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match=r"^engine \d at .*: nowhere/model/x: no such .* every node"
    ):
        ClusterRole(EngineCluster(EngineConfig(), 1), "nowhere/model/x", family="tiny")
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"^RAY_ADDRESS=127.0.0.1:1: no cluster of Ray is there"):
        synthesize(config, tmp_path / "run", executor="ray")
    assert not (tmp_path / "run").exists()
