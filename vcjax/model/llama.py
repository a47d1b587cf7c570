"""The decoder in Flax NNX: embedding, rotary grouped-query attention and SwiGLU layers, head.

`Llama(stacked=True)` has each layer parameter once, with a leading `layers` axis, and runs one
`jax.lax.scan`: the form for training. `Llama(stacked=False)` has a list of blocks and unrolls:
the form for decoding, where a scan would copy every layer's weights and cache at each token.
`unstack` turns the parameters of the first form into those of the second.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vcjax.model.attention.blockwise import tree_attention
from vcjax.model.attention.cached import BLOCK, attend_rows, attend_tiles
from vcjax.model.attention.packed import attend_packed, choose_backend
from vcjax.model.attention.paged import PAGE, Ragged, attend_ragged, write_pages
from vcjax.model.config import LlamaConfig
from vcjax.model.layers import INIT, Block, ParamMaker, RMSNorm, rematerialised
from vcjax.model.lora import LoraConfig
from vcjax.model.mixed import embed
from vcjax.model.rope import rotate, rotation
from vcjax.parallel import AnyMesh

Cache = tuple[tuple[Array, Array], ...]
"""Per layer, keys [rows, kv_heads, blocks, head_dim, BLOCK] and values [rows, kv_heads, blocks,
BLOCK, head_dim]."""
PagePool = tuple[Array, ...]
"""Per layer, keys and values [pages, PAGE, 2 kv_heads, head_dim]; see
`vcjax.model.attention.paged`."""


class Llama(nnx.Module):
    """Token ids in, hidden states or logits out. See the module's docstring for `stacked`."""

    def __init__(
        self,
        config: LlamaConfig,
        *,
        rngs: nnx.Rngs,
        dtype: Any = jnp.float32,
        param_dtype: Any = jnp.float32,
        lora: LoraConfig | None = None,
        stacked: bool = True,
        remat: str = "none",
        attention: str = "auto",
        mesh: AnyMesh | None = None,
    ) -> None:
        """Args: `dtype` is that of the computation, `param_dtype` that of the parameters.

        `remat` is one of `vcjax.model.layers.POLICIES`, `attention` one of the backends of
        `vcjax.model.attention.packed`, `mesh` the mesh that rows are sharded over; all three
        concern whole rows.

        Adapters drop inputs only where the attribute `drop_key`, None at first, is set to a key
        of JAX: a training step does so, anew for each microbatch.
        """
        self.config, self.dtype, self.stacked, self.remat = config, dtype, stacked, remat
        choose_backend(attention, config, dtype, mesh)  # which raises where it can't run
        self.attention, self.mesh = attention, mesh
        self.dropout = 0.0 if lora is None else lora.dropout
        # Without `nnx.data` None would make the attribute static, and no array could be set later.
        self.drop_key: Array | None = nnx.data(None)
        make = ParamMaker(rngs, param_dtype, None, mesh)
        size = (config.vocab_size, config.hidden_size)
        self.embedding = make(INIT, size, ("vocab", "embed"))
        self.norm = RMSNorm(make, config.hidden_size, "embed", config.rms_norm_eps)
        if config.tie_embeddings:
            self.head = None
        else:
            self.head = make(INIT, size[::-1], ("embed", "vocab"))
        self.layers: Any
        if stacked:
            self.layers = Block(
                config, ParamMaker(rngs, param_dtype, config.num_layers, mesh), lora
            )
        else:
            self.layers = nnx.List(Block(config, make, lora) for _ in range(config.num_layers))

    def __call__(
        self,
        tokens: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        *,
        is_tree: bool = False,
    ) -> Float[Array, "batch length hidden"]:
        """Runs whole rows. Tokens attend to earlier tokens of their own segment.

        Args:
          tokens: vocabulary ids.
          positions: position of each token in its own segment, for RoPE.
          segment_ids: which packed text a token belongs to; padding is a segment of its own (0).
          is_tree: texts have the prefixes that they share once, and `segment_ids` are the `ends`
            of `vcjax.model.attention.blockwise.tree_attention`; without a gradient.

        Returns:
          Final hidden states, normalised, in the compute dtype. `logits` maps them to logits.
        """
        length = tokens.shape[1]
        backend = choose_backend(self.attention, self.config, self.dtype, self.mesh, length)
        x = embed(self.embedding[...], tokens, self.dtype, self.mesh)
        cos, sin = rotation(self.config.rope, self.config.head_dim, positions)

        def run(block: Block, x: Array, window: Any, drop_key: Any) -> Array:
            def attention(query: Array, key: Array, value: Array) -> Array:
                query, key = rotate(query, cos, sin), rotate(key, cos, sin)
                if is_tree:
                    return tree_attention(query, key, value, positions, segment_ids, window)
                return attend_packed(
                    query, key, value, segment_ids, window=window, backend=backend, mesh=self.mesh
                )

            return block(x, attention, drop_key)

        drop_keys = None
        if self.dropout and self.drop_key is not None:
            # With one key for all layers, each of them would leave out the same inputs.
            drop_keys = jax.random.split(self.drop_key, self.config.num_layers)
        if not self.stacked:
            keys = [None] * self.config.num_layers if drop_keys is None else drop_keys
            for block, window, key in zip(self.layers, self._windows(), keys, strict=True):
                x = run(block, x, window, key)
            return self.norm(x)
        graph, stack = nnx.split(self.layers)
        # One window for all layers is a constant, which kernels need; else the scan carries them.
        shared, *others = set(self.config.windows) or {0}
        windows = jnp.asarray(self.config.windows) if others else None

        def step(x: Array, layer: tuple) -> tuple[Array, None]:
            state, window, drop_key = layer
            if window is None:
                window = shared or None
            else:  # 0 means none: then the row's length excludes nothing
                window = jnp.where(window == 0, length + 1, window)
            return run(nnx.merge(graph, state), x, window, drop_key), None

        # Where there are no windows or keys, None is a tree without leaves: nothing to scan over.
        # One body for all layers: XLA compiles a layer once, however many there are, and remat has
        # a boundary at which a layer's input is kept.
        x, _ = jax.lax.scan(rematerialised(step, self.remat), x, (stack, windows, drop_keys))
        return self.norm(x)

    def extend(
        self,
        tokens: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        cache: Cache,
        rows: Int[Array, " batch"] | None = None,
    ) -> tuple[Float[Array, "batch length hidden"], Cache]:
        """Runs new tokens on top of a cache whose rows have position s at index s.

        Keys and values of the new tokens are written at `positions`; what is beyond the cache isn't
        written. There may be padding after a row's real tokens: what it writes is beyond every real
        query and is overwritten later. Needs `stacked=False`.

        Args:
          rows: of the cache, to which each row of tokens belongs; several may be of one, and see
            each other as their positions say. None is the first rows, with one token each.
        """
        x = embed(self.embedding[...], tokens, self.dtype)
        cos, sin = rotation(self.config.rope, self.config.head_dim, positions)
        count = tokens.shape[0]
        at = jnp.arange(count) if rows is None else rows
        index = at[:, None], slice(None), positions // BLOCK
        layers = []
        for block, window, (keys, values) in zip(self.layers, self._windows(), cache, strict=True):

            def attention(query, key, value, keys=keys, values=values, window=window):
                # By their own positions, which never change: keys are rotated once, before they are
                # cached. Scores depend on the difference of two positions alone.
                query, key = rotate(query, cos, sin), rotate(key, cos, sin)
                # Indices on both sides of a slice put their axes first, as NumPy does: what is set
                # is [batch, length, kv_heads, head_dim], the order that `key` has.
                keys = keys.at[*index, :, positions % BLOCK].set(key.astype(keys.dtype))
                values = values.at[*index, positions % BLOCK].set(value.astype(values.dtype))
                layers.append((keys, values))
                if rows is None:
                    return attend_rows(query, keys[:count], values[:count], positions, window)
                return attend_tiles(query, keys, values, rows, positions, window)

            x = block(x, attention)
        return self.norm(x), tuple(layers)

    def extend_pages(
        self,
        tokens: Int[Array, " tokens"],
        pool: PagePool,
        ragged: Ragged,
        mesh: AnyMesh | None,
    ) -> tuple[Float[Array, "tokens hidden"], PagePool]:
        """Runs new tokens of several sequences on top of their pages; see `extend`.

        Args:
          ragged: of which sequence each token is.
          mesh: the mesh that heads are sharded over; None is one device.
        """
        x = embed(self.embedding[...], tokens[None], self.dtype)
        positions = ragged.tokens(len(tokens))[1]
        cos, sin = rotation(self.config.rope, self.config.head_dim, positions[None])
        layers = []
        for block, window, pages in zip(self.layers, self._windows(), pool, strict=True):

            def attention(query, key, value, pages=pages, window=window):
                query, key = rotate(query, cos, sin), rotate(key, cos, sin)
                pages = write_pages(pages, key[0], value[0], ragged)
                layers.append(pages)
                return attend_ragged(query[0], pages, ragged, window, mesh)[None]

            x = block(x, attention)
        return self.norm(x)[0], tuple(layers)

    def logits(self, hidden: Float[Array, "*rows hidden"]) -> Float[Array, "*rows vocab"]:
        """Logits, float32."""
        # Rounded to the compute dtype before, as transformers' are. Those of the training loss
        # aren't; see `vcjax.train.cross_entropy`.
        return (hidden @ self.head_matrix().astype(self.dtype).T).astype(jnp.float32)

    def head_matrix(self) -> Float[Array, "vocab hidden"]:
        """What maps hidden states to logits, as it is stored; a tied one is the embedding."""
        return self.embedding[...] if self.head is None else self.head[...].T

    def _windows(self) -> list[Any]:
        return [window or None for window in self.config.windows] or [None] * self.config.num_layers


def unstack(params: dict) -> dict:
    """Splits the stacked layers: `layers: {...[layers, ...]}` -> `layers: {0: {...}, 1: ...}`."""
    count = jax.tree.leaves(params["layers"])[0].shape[0]
    layers = {n: jax.tree.map(lambda leaf, n=n: leaf[n], params["layers"]) for n in range(count)}
    return {**params, "layers": layers}


def init_cache(config: LlamaConfig, rows: int, context: int, dtype: Any) -> Cache:
    """An empty cache: per layer, zeros for keys and values of `context` tokens in each row, whole
    blocks of them."""
    outer, head_dim = (rows, config.num_kv_heads, context // BLOCK), config.head_dim
    return tuple(
        (jnp.zeros((*outer, head_dim, BLOCK), dtype), jnp.zeros((*outer, BLOCK, head_dim), dtype))
        for _ in range(config.num_layers)
    )


def init_pages(config: LlamaConfig, pages: int, dtype: Any) -> PagePool:
    """An empty pool of so many pages."""
    shape = pages, PAGE, 2 * config.num_kv_heads, config.head_dim
    return tuple(jnp.zeros(shape, dtype) for _ in range(config.num_layers))
