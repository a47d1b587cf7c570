"""Which values of a layer the backward pass keeps, and which it computes again."""

from collections.abc import Callable
from typing import Any

import jax

PROJECTED = ("query", "key", "value", "attended", "gate", "up")
"""Names, given by `checkpoint_name`, of the results of a layer's projections and attention."""

POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names("attended"),
    ),
    "projections": jax.checkpoint_policies.save_only_these_names(*PROJECTED),
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""Policy by name. `none` keeps everything; `dots` keeps attention and the products with
weights; `projections` keeps what PROJECTED names; `full` keeps the input of each layer only."""


def rematerialised(function: Callable, policy: str) -> Callable:
    """`function`, computed again in the backward pass as far as the policy says."""
    if POLICIES[policy] is None:
        return function
    return jax.checkpoint(function, prevent_cse=False, policy=POLICIES[policy])
