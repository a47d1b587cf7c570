"""Prints, as JSON, how far an adapted model on meshes of 8 virtual devices is from that on one.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.model.adapters_on_meshes

Its base is quantised and its adapters have dropout. It needs a separate process, because the
number of devices is fixed when JAX starts.
"""

import json
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.parity.random_models import CASES, TensorSource, tensors, tokens
from vcjax.model.build import Params, abstract, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import PROJECTIONS, LoraConfig, join_params, split_adapters
from vcjax.model.quantised import quantise_base
from vcjax.parallel import AnyMesh, make_mesh, shardings
from vcjax.train.layout import shard_batch
from vcjax.weights.mapping import import_params

MESHES = ({"fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2})
# 128 inputs are two blocks of NF4, which go on 2 devices but not on 8.
RAW = {**CASES["llama31"], "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}


def main() -> None:
    config = LlamaConfig.from_hf(RAW)
    base = import_params(TensorSource(tensors(RAW)), config, np.float32, "random")
    rows = tokens(8 * 32).reshape(8, 32)
    lora = LoraConfig(rank=4, dropout=0.2, base="nf4")
    draw = np.random.default_rng(5).standard_normal
    tree, axes = shapes(config, lora=lora), logical_axes(config, lora=lora)
    adapters = jax.tree.map(
        lambda leaf: 0.1 * draw(leaf.shape, np.float32), split_adapters(tree)[0]
    )
    params = join_params(adapters, quantise_base(base, lora.base))

    def compiled(mesh: AnyMesh | None, *inputs: Any) -> Any:
        graph, _ = abstract(config, lora=lora, mesh=mesh)

        @jax.jit
        @jax.value_and_grad
        def mean_square(adapters: Params, frozen: Params, rows: jax.Array) -> jax.Array:
            model = nnx.merge(graph, join_params(adapters, frozen))
            model.drop_key = jax.random.key(7)
            places = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
            return jnp.mean(jnp.square(model.logits(model(rows, places, jnp.ones_like(rows)))))

        return mean_square.lower(*inputs).compile()

    one = jax.device_put(params, jax.devices()[0])
    alone = (*split_adapters(one), rows)
    loss, grads = jax.device_get(compiled(None, *alone)(*alone))
    report = []
    for sizes in MESHES:
        mesh = make_mesh(sizes)
        placed = jax.device_put(params, shardings(mesh, axes, tree))
        inputs = shard_batch({"tokens": rows}, mesh, len(rows))["tokens"]
        given = (*split_adapters(placed), inputs)
        step = compiled(mesh, *given)
        found, found_grads = jax.device_get(step(*given))
        pairs = zip(jax.tree.leaves(found_grads), jax.tree.leaves(grads), strict=True)
        codes = placed["layers"]["gate"]["kernel"]["codes"]
        report.append(
            {
                "mesh": sizes,
                "loss": float(loss),
                "difference": abs(float(found - loss)),
                "gradient": max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs),
                "held": codes.addressable_shards[0].data.nbytes / codes.nbytes,
                "gathered": gathered_by_layer(step.as_text()),
            }
        )
    kernels = [params["layers"][name]["kernel"] for name in PROJECTIONS]
    codes = sum(each["codes"][0].nbytes for each in kernels)
    # As float32: a byte of NF4's codes has two of the kernel's elements.
    smallest = min(8 * each["codes"][0].nbytes for each in kernels)
    print(json.dumps({"meshes": report, "layer": {"codes": codes, "smallest_kernel": smallest}}))


def gathered_by_layer(program: str) -> dict[str, list[int]]:
    """Bytes, by dtype, of each all-gather for one layer, in all loops over layers."""
    found = re.findall(r"= (\w+)\[([\d,]*)\]\S* all-gather\(.*while/body", program)
    gathered: dict[str, list[int]] = {}
    for dtype, shape in found:
        size = math.prod(map(int, shape.split(","))) * {"u8": 1, "f32": 4}[dtype]
        gathered.setdefault(dtype, []).append(size)
    return gathered


if __name__ == "__main__":
    main()
