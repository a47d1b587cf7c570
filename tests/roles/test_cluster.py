"""What is decided of a cluster of Ray before there is one; the rest is in `tests/slow`."""

import sys

import pytest

from vcjax.core.errors import UserError
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.cluster import Node, plan_nodes
from vcjax.roles.references import RoleSpec, open_roles


def row(number: int, alive: bool = True, **resources: float) -> dict:
    return {
        "NodeID": f"{number}",
        "NodeManagerAddress": f"10.0.0.{number}",
        "Alive": alive,
        "Resources": resources,
    }


@pytest.mark.parametrize(
    ("settings", "rows", "engines", "taken", "share"),
    [
        ({}, [row(1, CPU=4), row(2, CPU=2), row(3)], [1, 1, 0], {}, 1),
        ({"replicas": 2}, [row(1, CPU=4)], [2], {}, 2),
        ({}, [row(1, CPU=8), row(2, CPU=8, GPU=8), row(3, GPU=1)], [0, 8, 1], {"GPU": 1}, 1),
        ({"tensor": 4}, [row(1, GPU=8), row(2, GPU=2)], [2, 0], {"GPU": 4}, 1),
        ({"replicas": 3}, [row(1, GPU=8), row(2, GPU=2)], [3, 2], {"GPU": 1}, 1),
        ({"tensor": 4}, [row(1, CPU=1, TPU=8), row(2, GPU=8)], [2, 0], {"TPU": 4}, 1),
    ],
)
def test_each_device_has_an_engine_and_where_there_is_none_each_node(
    settings, rows, engines, taken, share
):
    nodes = plan_nodes([*rows, row(9, alive=False, CPU=64, GPU=8)], EngineConfig(**settings))
    assert [node.engines for node in nodes] == engines
    assert [node.address for node in nodes] == [each["NodeManagerAddress"] for each in rows]
    assert {tuple(node.resources.items()) for node in nodes} == {tuple(taken.items())}
    assert all(isinstance(node, Node) and node.share in (1, share) for node in nodes)
    assert max(node.share for node in nodes) == share


def test_without_ray_the_extra_is_named(tiny_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    specs = {"actor": RoleSpec(str(tiny_folder), "tiny")}
    with pytest.raises(UserError, match=r"^--executor=ray needs ray: pip install 'vcjax\[ray\]'$"):
        open_roles(specs, EngineConfig(), executor="ray")
