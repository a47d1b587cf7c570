"""How a model's parameters are laid out for the engine: unstacked, cast, quantised, sharded."""

import operator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vcjax.core.errors import UserError
from vcjax.generate import WEIGHT_FORMS
from vcjax.model.build import Params, abstract, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig
from vcjax.model.quantised import quantise_base
from vcjax.parallel import AnyMesh, replica_count, replicated, shardings


@dataclass(frozen=True)
class ModelLayout:
    """The parameters that the engine needs of one model shape.

    Attributes:
      form: one of WEIGHT_FORMS.
      lora: of adapters that stay unmerged; None if there are none.
      mesh: the mesh to shard over; None is the default device.

    Raises:
      UserError: an unknown form, or unmerged adapters on quantised weights.
    """

    config: LlamaConfig
    dtype: Any
    form: str = ""
    lora: LoraConfig | None = None
    mesh: AnyMesh | None = None

    def __post_init__(self) -> None:
        if self.form not in WEIGHT_FORMS:
            known = ", ".join(repr(form) for form in WEIGHT_FORMS)
            raise UserError(f"weights must be one of {known}, not {self.form!r}")
        if self.form and self.lora is not None:
            raise UserError(f"weights {self.form!r}: adapters must be merged first")

    @cached_property
    def graph(self) -> Any:
        """The static graph of the model that runs the parameters."""
        return self._abstract[0]

    @cached_property
    def shapes(self) -> Params:
        """Shapes and dtypes of what `apply` returns."""
        return nnx.to_pure_dict(self._abstract[1])

    @cached_property
    def nbytes(self) -> int:
        """Bytes of what `apply` returns, on all devices together."""
        options = {**self._options, "stacked": True}  # as many bytes, and made faster
        parameters = shapes(self.config, **options)
        sizes = jax.tree.map(lambda leaf: leaf.size * leaf.dtype.itemsize, parameters)
        if (mesh := self.mesh) is not None:
            axes = logical_axes(self.config, **options)
            copies = jax.tree.map(
                lambda leaf, names: replica_count(mesh, names, leaf.shape), parameters, axes
            )
            sizes = jax.tree.map(operator.mul, sizes, copies)
        return sum(jax.tree.leaves(sizes))

    def apply(self, params: Params) -> Params:
        """Lays parameters out. Leaves that are already as they must be are shared, not copied.

        Args:
          params: of the model, stacked or not, on the host or on devices.

        Raises:
          UserError: they are of another shape.
        """
        if 0 in params["layers"]:  # unstacked layers have their numbers as names
            if self.form:
                raise UserError(f"weights {self.form!r}: give stacked parameters")
        else:
            params = unstack(quantise_base(params, self.form))
        expected, given = _sizes(self.shapes), _sizes(params)
        if expected != given:
            wrong = sorted(set(expected.items()) ^ set(given.items()))[0][0]
            raise UserError(
                f"parameters are of another model: {wrong} is {given.get(wrong, 'absent')}, "
                f"and the engine's {expected.get(wrong, 'absent')}"
            )
        if self.mesh is None:
            return jax.tree.map(_put, params, self.shapes)
        axes = logical_axes(self.config, **self._options)
        targets = shardings(self.mesh, axes, self.shapes)
        return jax.tree.map(_put, params, self.shapes, targets)

    def upload(self, array: np.ndarray) -> jax.Array:
        """Puts a small array on all the devices; the caller doesn't change it afterwards."""
        return jax.device_put(array, None if self.mesh is None else replicated(self.mesh))

    @cached_property
    def _abstract(self) -> tuple[Any, nnx.State]:
        return abstract(self.config, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        # The model class knows quantised kernels as the frozen base of adapters, here of rank 0.
        lora = LoraConfig(rank=0, base=self.form) if self.form else self.lora
        return {"dtype": self.dtype, "param_dtype": self.dtype, "stacked": False, "lora": lora}


def _put(leaf: Any, like: jax.ShapeDtypeStruct, target: Any = None) -> jax.Array:
    if leaf.dtype != like.dtype:
        leaf = jnp.asarray(leaf).astype(like.dtype)
    if isinstance(leaf, jax.Array) and target in (None, leaf.sharding):
        return leaf
    return jax.device_put(leaf, target)


def _sizes(params: Params) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree.flatten_with_path(params)
    return {
        ".".join(str(part.key) for part in path): tuple(leaf.shape)  # type: ignore[attr-defined]
        for path, leaf in leaves
    }
