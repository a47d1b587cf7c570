"""The layers of the decoder: RMSNorm, projections with adapters, attention and SwiGLU blocks.

A layer's values have names (`checkpoint_name`), by which a remat policy chooses those that the
backward pass keeps; it computes the others again.

Sources: Touvron et al., arXiv 2302.13971; Shazeer, arXiv 2002.05202 (SwiGLU); Zhang and Sennrich,
arXiv 1910.07467 (RMSNorm).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig, drop
from vcjax.model.mixed import add_bias, rms_norm, swiglu
from vcjax.model.quantised import QuantisedKernel
from vcjax.parallel import AnyMesh

INIT = jax.nn.initializers.normal(0.02)

PROJECTED = ("query", "key", "value", "attended", "gate", "up")
"""Names, given by `checkpoint_name`, of the results of a layer's projections and attention."""

POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,
    # Projections are two-dimensional matmuls, without a batch axis. Attention's have one and are
    # computed again, all but its result, which is kept by its name.
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names("attended"),
    ),
    "projections": jax.checkpoint_policies.save_only_these_names(*PROJECTED),
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""Policy by name. `none` keeps everything; `dots` keeps attention and the matmuls with
weights; `projections` keeps what PROJECTED names; `full` keeps the input of each layer only."""


def rematerialised(function: Callable, policy: str) -> Callable:
    """`function`, of which the backward pass computes again what the policy doesn't keep."""
    if POLICIES[policy] is None:
        return function
    # `function` is the body of a scan: XLA can't merge what the loop of the backward pass computes
    # again with the loop of the forward pass, so the barriers against that would only cost time.
    return jax.checkpoint(function, prevent_cse=False, policy=POLICIES[policy])


class ParamMaker:
    """Makes parameters: names their logical axes and, for stacked layers, adds the layer axis."""

    def __init__(
        self, rngs: nnx.Rngs, dtype: Any, layers: int | None, mesh: AnyMesh | None
    ) -> None:
        self.rngs, self.dtype, self.layers, self.mesh = rngs, dtype, layers, mesh

    def __call__(
        self,
        init: Callable,
        shape: tuple[int, ...],
        axes: tuple[str, ...],
        kind: type = nnx.Param,
        dtype: Any = None,
    ) -> Any:
        if self.layers is not None:
            shape, axes = (self.layers, *shape), ("layers", *axes)
        return kind(init(self.rngs.params(), shape, dtype or self.dtype), axes=axes)


class RMSNorm(nnx.Module):
    """Normalises in float32, casts back, then multiplies by the weight (Hugging Face's order)."""

    def __init__(self, make: ParamMaker, size: int, axis: str, eps: float) -> None:
        self.weight = make(jax.nn.initializers.ones, (size,), (axis,))
        self.eps = eps

    def __call__(self, x: Float[Array, "*rows size"]) -> Float[Array, "*rows size"]:
        return rms_norm(x, self.weight[...], self.eps)


class Projection(nnx.Module):
    """A matmul over the last axes, with optional bias and low-rank adapter.

    The kernel keeps its head axes apart (`[hidden, heads, head_dim]`), so that sharding rules see
    heads; the matmul itself is two-dimensional and token-major, which XLA's CPU backend runs
    about 1.5 times faster than the three-dimensional form in the backward pass.
    """

    def __init__(
        self,
        make: ParamMaker,
        name: str,
        inputs: dict[str, int],
        outputs: dict[str, int],
        *,
        bias: bool,
        lora: LoraConfig | None,
    ) -> None:
        self.inputs, self.outputs = tuple(inputs.values()), tuple(outputs.values())
        self.kernel: Any
        if lora is not None and lora.base:
            self.kernel = QuantisedKernel(make, lora.base, inputs, outputs, make.mesh)
        else:
            self.kernel = make(INIT, (*self.inputs, *self.outputs), (*inputs, *outputs))
        self.bias = make(jax.nn.initializers.zeros, self.outputs, tuple(outputs)) if bias else None
        self.name, self.lora = name, None
        if lora is not None and lora.covers(name):
            self.lora = lora
            flat_in, flat_out = math.prod(self.inputs), math.prod(self.outputs)
            # PEFT's start: Kaiming's uniform distribution with a = sqrt(5) has this bound.
            bound = flat_in**-0.5

            def uniform(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
                return jax.random.uniform(key, shape, dtype, -bound, bound)

            # Heads and head_dim are one axis here, which is sharded by the rule for heads.
            in_axis, out_axis = next(iter(inputs)), next(iter(outputs))
            self.lora_a = make(uniform, (flat_in, lora.rank), (in_axis, "rank"), nnx.LoRAParam)
            # B is zero at the start, so that the model is the base's until the first update (Hu et
            # al., section 4.1). A must not be zero as well: each one's gradient is a product with
            # the other.
            zeros = jax.nn.initializers.zeros
            self.lora_b = make(zeros, (lora.rank, flat_out), ("rank", out_axis), nnx.LoRAParam)

    def __call__(self, x: Float[Array, "batch length *inputs"], key: Array | None = None) -> Array:
        """`key` draws what the layer's adapters leave out; None leaves nothing out."""
        batch, length = x.shape[:2]
        rows = x.reshape(batch * length, math.prod(self.inputs))
        if isinstance(self.kernel, QuantisedKernel):
            out = self.kernel(rows)
        else:
            kernel = self.kernel[...].astype(x.dtype)
            out = rows @ kernel.reshape(math.prod(self.inputs), math.prod(self.outputs))
        if self.lora is not None:
            kept = rows if key is None else drop(rows, self.name, self.lora.dropout, key)
            low = kept @ self.lora_a[...].astype(x.dtype)
            out = out + (low @ self.lora_b[...].astype(x.dtype)) * self.lora.scale
        if self.bias is not None:
            out = add_bias(out, self.bias[...].reshape(-1))
        return out.reshape(batch, length, *self.outputs)


class Block(nnx.Module):
    """One layer: attention and feed-forward, each on a normalised input, added to the stream."""

    def __init__(self, config: LlamaConfig, make: ParamMaker, lora: LoraConfig | None) -> None:
        hidden = {"embed": config.hidden_size}
        heads = {"heads": config.num_heads, "head_dim": config.head_dim}
        kv_heads = {"kv_heads": config.num_kv_heads, "head_dim": config.head_dim}
        middle = {"mlp": config.intermediate_size}

        def project(name: str, source: dict, target: dict, bias: bool) -> Projection:
            return Projection(make, name, source, target, bias=bias, lora=lora)

        self.attention_norm = RMSNorm(make, config.hidden_size, "embed", config.rms_norm_eps)
        self.q = project("q", hidden, heads, config.qkv_bias)
        self.k = project("k", hidden, kv_heads, config.qkv_bias)
        self.v = project("v", hidden, kv_heads, config.qkv_bias)
        self.o = project("o", heads, hidden, config.o_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(make, config.head_dim, "head_dim", config.rms_norm_eps)
            self.k_norm = RMSNorm(make, config.head_dim, "head_dim", config.rms_norm_eps)
        else:
            self.q_norm = self.k_norm = None
        self.mlp_norm = RMSNorm(make, config.hidden_size, "embed", config.rms_norm_eps)
        self.gate = project("gate", hidden, middle, config.mlp_bias)
        self.up = project("up", hidden, middle, config.mlp_bias)
        self.down = project("down", middle, hidden, config.mlp_bias)

    def __call__(
        self,
        x: Float[Array, "batch length hidden"],
        attention: Callable[..., Array],
        drop_key: Array | None = None,
    ) -> Float[Array, "batch length hidden"]:
        """`attention` maps query, key and value, by heads, to what the queries see.

        `drop_key` is the layer's key of dropout; None is no dropout.
        """
        with jax.named_scope("attention"):
            normal = self.attention_norm(x)
            query, key = self.q(normal, drop_key), self.k(normal, drop_key)
            value = self.v(normal, drop_key)
            # Before the rotation, which is in `attention`: Qwen3's order.
            if self.q_norm is not None and self.k_norm is not None:
                query, key = self.q_norm(query), self.k_norm(key)
            query, key = checkpoint_name(query, "query"), checkpoint_name(key, "key")
            value = checkpoint_name(value, "value")
            x = x + self.o(attention(query, key, value), drop_key)
        with jax.named_scope("mlp"):
            normal = self.mlp_norm(x)
            gate = checkpoint_name(self.gate(normal, drop_key), "gate")
            up = checkpoint_name(self.up(normal, drop_key), "up")
            return x + self.down(swiglu(gate, up), drop_key)
