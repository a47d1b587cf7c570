"""Prints, as JSON, how far logits on meshes of 8 virtual devices are from those on one.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.model.eight_devices

It needs a separate process, because the number of devices is fixed when JAX starts.
"""

import json

import jax
import numpy as np

from tests.parity.random_models import CASES, TensorSource, tensors, tokens
from vcjax.model.build import abstract, logical_axes, plain_logits, shapes
from vcjax.model.config import LlamaConfig
from vcjax.parallel import make_mesh, shardings
from vcjax.train.layout import shard_batch
from vcjax.weights.mapping import import_params

MESHES = ({"fsdp": 8}, {"fsdp": 2, "tensor": 4}, {"data": 2, "fsdp": 2, "tensor": 2})
# 12 heads of 8 on a stream of 96; the 3 key/value heads go into no tensor axis.
RAW = {
    **CASES["llama31"],
    "hidden_size": 96,
    "num_attention_heads": 12,
    "num_key_value_heads": 3,
    "num_hidden_layers": 2,
}


def main() -> None:
    config = LlamaConfig.from_hf(RAW)
    params = import_params(TensorSource(tensors(RAW)), config, np.float32, "random")
    graph, _ = abstract(config)
    rows = tokens(8 * 32).reshape(8, 32)
    expected = np.asarray(plain_logits(graph, jax.device_put(params, jax.devices()[0]), rows))
    report = []
    for sizes in MESHES:
        mesh = make_mesh(sizes)
        placed = jax.device_put(params, shardings(mesh, logical_axes(config), shapes(config)))
        logits = plain_logits(
            graph, placed, shard_batch({"tokens": rows}, mesh, len(rows))["tokens"]
        )
        query, key = (placed["layers"][name]["kernel"].sharding.spec for name in "qk")
        head = placed["head"]
        report.append(
            {
                "mesh": sizes,
                "devices": len(logits.sharding.device_set),
                "difference": float(np.abs(np.asarray(logits) - expected).max()),
                "query_heads": query[2],
                "key_heads": key[2],
                "head_held": head.addressable_shards[0].data.nbytes / head.nbytes,
            }
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
