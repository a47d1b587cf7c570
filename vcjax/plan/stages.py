"""How long the paper's three stages take at a speed.

The sizes of the data are the paper's (arXiv 2601.13137); how many tokens they are is not stated
there, nor is the number of epochs: those below are assumptions.
"""

from dataclasses import dataclass

BYTES_PER_TOKEN = 4.0
"""Of UTF-8 text, Chinese and English, in Llama 3's vocabulary."""


@dataclass(frozen=True)
class Stage:
    """A stage of the paper: `size` is what the paper states, `tokens` what is made of it."""

    name: str
    size: str
    assumed: str
    tokens: float


STAGES = (
    Stage("cpt", "33.7 GB of text", f"{BYTES_PER_TOKEN:g} bytes a token", 33.7e9 / BYTES_PER_TOKEN),
    Stage("sft", "940 k pairs", "400 tokens a pair", 940e3 * 400),
    Stage("adversarial", "64 k pairs", "600 tokens a pair", 64e3 * 600),
)


def hours(stage: Stage, tokens_per_second: float) -> float:
    """Of one epoch in full rows."""
    return stage.tokens / tokens_per_second / 3600
