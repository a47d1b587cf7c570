"""How an engine holds a model's parameters: unstacked, in one dtype, quantised, over a mesh."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vcjax.core.errors import UserError
from vcjax.generate import FORMS
from vcjax.model.build import Params, abstract, logical_axes
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig
from vcjax.model.quantised import quantise_base
from vcjax.parallel import OnMesh, shardings


@dataclass(frozen=True)
class Placing:
    """What the parameters of one model shape become on the devices.

    Attributes:
      form: one of FORMS.
      lora: of the adapters that stay unmerged; None is none.
      on: the mesh that they lie on; None is the default device.
    """

    config: LlamaConfig
    dtype: Any
    form: str = ""
    lora: LoraConfig | None = None
    on: OnMesh | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            known = ", ".join(repr(form) for form in FORMS)
            raise UserError(f"weights must be one of {known}, not {self.form!r}")
        if self.form and self.lora is not None:
            raise UserError(f"weights {self.form!r}: adapters must be merged first")

    @cached_property
    def graph(self) -> Any:
        """The static graph of the model that runs them."""
        return self._abstract[0]

    @cached_property
    def shapes(self) -> Params:
        """What `place` returns, as shapes and dtypes."""
        return nnx.to_pure_dict(self._abstract[1])

    def place(self, params: Params) -> Params:
        """Lays parameters out. Those of the right dtype that lie right are shared, not copied.

        Args:
          params: of the model, stacked or not, on the host or on devices.

        Raises:
          UserError: they are of another shape.
        """
        if 0 in params["layers"]:
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
        if self.on is None:
            return jax.tree.map(_put, params, self.shapes)
        axes = logical_axes(self.config, **self._options)
        places = shardings(self.on.mesh, self.on.rules, axes, self.shapes)
        return jax.tree.map(_put, params, self.shapes, places)

    @cached_property
    def _abstract(self) -> tuple[Any, nnx.State]:
        return abstract(self.config, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        lora = LoraConfig(rank=0, base=self.form) if self.form else self.lora
        return {"dtype": self.dtype, "param_dtype": self.dtype, "stacked": False, "lora": lora}


def _put(leaf: Any, to: jax.ShapeDtypeStruct, place: Any = None) -> jax.Array:
    """The leaf itself where it is what it is to be."""
    if leaf.dtype != to.dtype:
        leaf = jnp.asarray(leaf).astype(to.dtype)
    if isinstance(leaf, jax.Array) and place in (None, leaf.sharding):
        return leaf
    return jax.device_put(leaf, place)


def _sizes(params: Params) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree.flatten_with_path(params)
    return {
        ".".join(str(part.key) for part in path): tuple(leaf.shape)  # type: ignore[attr-defined]
        for path, leaf in leaves
    }
