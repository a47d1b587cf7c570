"""A synthesis on a cluster of Ray with two nodes: that of one machine, whoever dies meanwhile."""

from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.adversarial.test_synthesize import config, ledger, undisturbed
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import UserError
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.cluster import ClusterRole, EngineCluster

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
