"""How the models of a run are held on this machine's devices, as its config says."""

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vcjax.core.errors import UserError
from vcjax.generate import FORMS
from vcjax.generate.engine import Engine
from vcjax.model.lora import LoraConfig
from vcjax.parallel import make_mesh
from vcjax.weights.bundle import Bundle, check_dtype


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What every config has whose run asks models of its own.

    Attributes:
      slots: texts that a model decodes together.
      dtype: of computation, parameters and cache; empty is each source's own.
      weights: '' or 'int8', the form of the projections' kernels.
      tensor: devices that share each model, the first ones of this machine.
    """

    slots: int = 16
    dtype: str = ""
    weights: str = ""
    tensor: int = 1

    def __post_init__(self) -> None:
        """Raises: UserError for a value that is out of its range."""
        for name in ("slots", "tensor"):
            if getattr(self, name) < 1:
                raise UserError(f"config.{name} must be at least 1, not {getattr(self, name)}")
        if self.dtype:
            check_dtype(self.dtype)
        if self.weights not in FORMS:
            known = ", ".join(repr(form) for form in FORMS)
            raise UserError(f"config.weights must be one of {known}, not {self.weights!r}")

    def devices(self) -> list[Any]:
        """Those that share each model.

        Raises:
          UserError: there aren't as many.
        """
        here = jax.local_devices()
        if self.tensor > len(here):
            raise UserError(f"tensor={self.tensor}: this machine has {len(here)} device(s)")
        return here[: self.tensor]

    @property
    def held(self) -> dict[str, Any]:
        """The fields, for another config that holds its models alike."""
        return {field.name: getattr(self, field.name) for field in fields(Holding)}

    def engine(self, bundle: Bundle, lora: LoraConfig | None = None, **options: Any) -> Engine:
        """An engine on a model that was loaded in `dtype`; `options` are of `Engine`."""
        return Engine(
            bundle.config,
            bundle.params,
            slots=self.slots,
            dtype=jnp.dtype(bundle.dtype),
            weights=self.weights,
            lora=lora,
            mesh=self._mesh(),
            **options,
        )

    def _mesh(self) -> Mesh | None:
        return make_mesh({"tensor": self.tensor}, self.devices()) if self.tensor > 1 else None
