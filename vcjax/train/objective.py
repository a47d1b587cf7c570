"""What a step lowers: the objective of a config as one function, whatever the data."""

from collections.abc import Callable, Mapping
from functools import partial

from jaxtyping import Array, Float

from vcjax.model.llama import Llama
from vcjax.train.config import TrainConfig
from vcjax.train.loss import next_token_loss
from vcjax.train.preference import dpo_loss, orpo_loss

Loss = Callable[[Llama, Mapping[str, Array]], tuple[Float[Array, ""], dict[str, Array]]]
"""`(model, batch) -> (summed loss, dict of sums)`.

Nothing is divided, so that sums over microbatches, devices and batches can be added. The dict has
`count`, int32, by which the others and the loss are divided in the end: the predicted tokens, or
the pairs for preferences, which have the sums of `vcjax.train.preference.MEANS` too.
"""


def make_loss(config: TrainConfig) -> Loss:
    """The loss of the config's objective."""
    if config.objective == "dpo":
        return partial(dpo_loss, beta=config.preference.beta)
    if config.objective == "orpo":
        return partial(orpo_loss, odds_weight=config.preference.odds_weight)
    return next_token_loss
