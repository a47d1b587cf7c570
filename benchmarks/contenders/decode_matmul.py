"""Every matmul of a decode step at its real shape, and nothing else: the limit.

The limit is generous, so that no layout of operands makes it slower than it could be:

- each matmul runs on the real weights of all layers, in the layout that is fastest on this machine,
  which is found during setup;
- none depends on another's result, and they run as one program or as one program each, whichever
  is faster;
- attention is its matmuls alone, over the context that a sequence has in the middle of a run.
"""

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks.matmuls import ATTENTION, decode_matmuls
from benchmarks.serve import Contender, serve
from vcjax.model.flops import Matmul
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel

TRIES = 10  # of a form; the fastest counts

FORMS = {
    "plain": (False, "...ri,...ic->...rc"),
    "transposed": (True, "...ri,...ci->...rc"),
    "swapped": (True, "...ci,...ri->...cr"),
}
"""Whether the second factor is stored as [columns, inner] rather than [inner, columns], and how it
is multiplied by the first, [rows, inner]. In the swapped form the weight is the first operand."""

Operands = tuple[Array, list[Array]]
"""The first factor of a matmul, and the second factors of all layers."""


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `batch` rows, each with `context` tokens; `dtype`."""
    loaded, dtype = load_model(asked["model"], "float32"), jnp.dtype(asked["dtype"])
    matmuls = list(decode_matmuls(loaded.config, asked["batch"], asked["context"]))
    forms, operands = {}, {}
    for matmul in matmuls:
        made = operands_of(matmul, loaded, asked["batch"], dtype)
        forms[matmul.name] = _fastest(made)
        operands[matmul.name] = made[forms[matmul.name]]
    del loaded, made

    together = _multiply(forms)
    separate = {name: _multiply({name: form}) for name, form in forms.items()}

    def in_one() -> None:
        jax.block_until_ready(together(operands))

    def each() -> None:
        jax.block_until_ready([separate[name]({name: given}) for name, given in operands.items()])

    programs = {"one": in_one, "one for each matmul": each}
    seconds = {name: _seconds(run) for name, run in programs.items()}
    fastest = min(seconds, key=seconds.__getitem__)
    weights = [one for one in matmuls if one.name not in ATTENTION]
    facts = {
        "jax": version("jax"),
        "flops": sum(matmul.flops for matmul in matmuls),
        "weight_bytes": sum(one.inner * one.columns * one.count for one in weights)
        * dtype.itemsize,
        "forms": forms,
        "programs": fastest,
    }
    return Contender(programs[fastest], facts)


def operands_of(matmul: Matmul, loaded: LoadedModel, batch: int, dtype: Any) -> dict[str, Operands]:
    """The operands of a matmul by form; the weights are the model's."""
    config, layers = loaded.config, loaded.params["layers"]
    outer: tuple[int, ...] = ()
    if matmul.name == "head":
        head = loaded.params["embedding"].T if config.tie_embeddings else loaded.params["head"]
        seconds = [np.asarray(head)]
    elif matmul.name in ATTENTION:
        outer = (batch, config.num_kv_heads)
        shape = (*outer, matmul.inner, matmul.columns)
        seconds = [np.ones(shape, np.float32) for _ in range(config.num_layers)]
    else:
        kernels = np.asarray(layers[matmul.name]["kernel"])
        seconds = list(kernels.reshape(config.num_layers, matmul.inner, matmul.columns))
    first = jnp.ones((*outer, matmul.rows, matmul.inner), dtype)
    plain = [jnp.asarray(second, dtype) for second in seconds]
    swapped = [jnp.asarray(np.swapaxes(second, -1, -2), dtype) for second in seconds]
    return {name: (first, swapped if turned else plain) for name, (turned, _) in FORMS.items()}


def _multiply(forms: Mapping[str, str]) -> Callable[[Mapping[str, Operands]], Any]:
    """A program that runs these matmuls of all layers, in the given forms."""

    @jax.jit
    def run(operands: Mapping[str, Operands]) -> dict[str, list[Array]]:
        return {
            name: [multiplied(forms[name], first, second) for second in seconds]
            for name, (first, seconds) in operands.items()
        }

    return run


def multiplied(form: str, first: Array, second: Array) -> Array:
    """The matmul in one of FORMS."""
    _, subscripts = FORMS[form]
    factors = (second, first) if form == "swapped" else (first, second)
    return jnp.einsum(subscripts, *factors)


def _fastest(operands: Mapping[str, Operands]) -> str:
    seconds = {}
    for form, given in operands.items():
        run = _multiply({"": form})
        seconds[form] = _seconds(
            lambda run=run, given=given: jax.block_until_ready(run({"": given}))
        )
    return min(seconds, key=seconds.__getitem__)


def _seconds(run: Callable[[], object]) -> float:
    """Seconds of the fastest of TRIES runs, after one that compiles."""
    taken = []
    for _ in range(1 + TRIES):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


if __name__ == "__main__":
    serve(setup)
