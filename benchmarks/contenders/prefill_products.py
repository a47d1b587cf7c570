"""Every matrix product of a prefill, in the way of `benchmarks.contenders.matmul`: the limit."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from benchmarks.contenders.matmul import limit
from benchmarks.generate_products import prefill_products
from benchmarks.serve import Contender, serve
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `batch` prompts of `length` tokens; `dtype`."""
    model = LlamaConfig.from_hf(read_json(Path(asked["model"]) / "config.json"))
    return limit(
        prefill_products(model, asked["batch"], asked["length"]), jnp.dtype(asked["dtype"])
    )


if __name__ == "__main__":
    serve(setup)
