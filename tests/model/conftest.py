"""Random models of every architecture, made once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from tests.parity.random_models import CASES, TensorSource, tensors
from vcjax.model.build import Params, abstract, packed_logits
from vcjax.model.config import LlamaConfig
from vcjax.weights.mapping import import_params


@dataclass(frozen=True)
class RandomModel:
    """A config of one case, and its parameters on the device."""

    config: LlamaConfig
    params: Params

    def logits(self, tokens: np.ndarray, **options: Any) -> np.ndarray:
        """Logits of plain rows in the precision of training; `options` are those of `Llama`."""
        graph, _ = abstract(self.config, **options)
        positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
        segments = np.ones_like(tokens)
        return np.asarray(packed_logits(graph, self.params, tokens, positions, segments))


@pytest.fixture(scope="session")
def random_model() -> Callable[..., RandomModel]:
    """A function from a case, with fields of its config changed, to a model."""

    @cache
    def parameters(case: str) -> Params:
        raw = CASES[case]
        return jax.device_put(
            import_params(
                TensorSource(tensors(raw)), LlamaConfig.from_hf(raw), np.float32, f"case {case}"
            )
        )

    def make(case: str, **changes: Any) -> RandomModel:
        config = LlamaConfig.from_hf({**CASES[case], **changes})
        return RandomModel(config, parameters(case))

    return make
