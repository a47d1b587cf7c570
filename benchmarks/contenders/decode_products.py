"""Every matrix product of a decode step at its real shape, and nothing else: the limit.

Generous to the limit, so that no step is held up by the form of its products alone:

- each product runs on the real weights, those of all layers, in the form that is fastest here,
  tried out while setting up;
- none waits for another's result, and they run as one program or as one for each product,
  whichever is faster;
- attention has its products alone, over as many tokens as a row has in the middle of a run.
"""

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks.generate_products import ATTENTION, decode_products
from benchmarks.serve import Contender, serve
from vcjax.model.flops import Product
from vcjax.weights.bundle import Bundle, load_bundle

TRIES = 10  # of a form; the fastest counts

FORMS = {
    "plain": (False, "...ri,...ic->...rc"),
    "transposed": (True, "...ri,...ci->...rc"),
    "swapped": (True, "...ci,...ri->...cr"),
}
"""Whether the second factor lies as [columns, inner] rather than [inner, columns], and how it is
multiplied by the first, which lies as [rows, inner]. The swapped form has the weight first."""

Operands = tuple[Array, list[Array]]
"""The first factor of a product, and the second ones of all layers."""


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `batch` rows, each with `context` tokens; `dtype`."""
    bundle, dtype = load_bundle(asked["model"], "float32"), jnp.dtype(asked["dtype"])
    products = list(decode_products(bundle.config, asked["batch"], asked["context"]))
    forms, operands = {}, {}
    for product in products:
        made = operands_of(product, bundle, asked["batch"], dtype)
        forms[product.name] = _fastest(made)
        operands[product.name] = made[forms[product.name]]
    del bundle, made

    together = _multiply(forms)
    apart = {name: _multiply({name: form}) for name, form in forms.items()}

    def in_one() -> None:
        jax.block_until_ready(together(operands))

    def each() -> None:
        jax.block_until_ready([apart[name]({name: given}) for name, given in operands.items()])

    programs = {"one": in_one, "one for each product": each}
    seconds = {name: _seconds(run) for name, run in programs.items()}
    fastest = min(seconds, key=seconds.__getitem__)
    weights = [one for one in products if one.name not in ATTENTION]
    facts = {
        "jax": version("jax"),
        "flops": sum(product.flops for product in products),
        "weight_bytes": sum(one.inner * one.columns * one.count for one in weights)
        * dtype.itemsize,
        "forms": forms,
        "programs": fastest,
    }
    return Contender(programs[fastest], facts)


def operands_of(product: Product, bundle: Bundle, batch: int, dtype: Any) -> dict[str, Operands]:
    """What a product multiplies, by form; weights are the model's."""
    config, layers = bundle.config, bundle.params["layers"]
    outer: tuple[int, ...] = ()
    if product.name == "head":
        head = bundle.params["embedding"].T if config.tie_embeddings else bundle.params["head"]
        seconds = [np.asarray(head)]
    elif product.name in ATTENTION:
        outer = (batch, config.num_kv_heads)
        shape = (*outer, product.inner, product.columns)
        seconds = [np.ones(shape, np.float32) for _ in range(config.num_layers)]
    else:
        kernels = np.asarray(layers[product.name]["kernel"])
        seconds = list(kernels.reshape(config.num_layers, product.inner, product.columns))
    first = jnp.ones((*outer, product.rows, product.inner), dtype)
    plain = [jnp.asarray(second, dtype) for second in seconds]
    swapped = [jnp.asarray(np.swapaxes(second, -1, -2), dtype) for second in seconds]
    return {name: (first, swapped if turned else plain) for name, (turned, _) in FORMS.items()}


def _multiply(forms: Mapping[str, str]) -> Callable[[Mapping[str, Operands]], Any]:
    """What runs these products of all layers, in the forms given."""

    @jax.jit
    def run(operands: Mapping[str, Operands]) -> dict[str, list[Array]]:
        return {
            name: [multiplied(forms[name], first, second) for second in seconds]
            for name, (first, seconds) in operands.items()
        }

    return run


def multiplied(form: str, first: Array, second: Array) -> Array:
    """The product in one of FORMS."""
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
    """Of the fastest of some runs, after one that compiles."""
    taken = []
    for _ in range(1 + TRIES):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


if __name__ == "__main__":
    serve(setup)
