"""Talks to a model: one prompt, prompts from a pipe, or a conversation in the terminal.

python -m launch.chat --model=smollm2-135m-instruct --prompt="Why do people disagree?"
"""

import sys
from collections.abc import Iterator

import jax.numpy as jnp
from absl import flags

from launch.guard import run
from vcjax.charter.load import load_charter
from vcjax.generate.engine import Engine
from vcjax.generate.text import Sampling, TextEngine
from vcjax.weights.bundle import DTYPES, load_bundle

MODEL = flags.DEFINE_string("model", "smollm2-135m-instruct", "Any model reference.")
PROMPT = flags.DEFINE_string("prompt", None, "Asks this once and exits.")
CHARTER = flags.DEFINE_string("charter", None, "Answers under this charter's persona.")
LANG = flags.DEFINE_enum("lang", "en", ["en", "zh"], "Language of the persona.")
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 256, "Bound of an answer.", lower_bound=1)
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0)
TOP_P = flags.DEFINE_float("top_p", 1.0, "Probability mass to sample from.")
SEED = flags.DEFINE_integer("seed", 0, "Of the sampling.")
DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, "Of the weights; default: the source's own.")


def main() -> None:
    lang = "zh" if LANG.value == "zh" else "en"
    system = load_charter(CHARTER.value).system_prompt(lang) if CHARTER.value else None
    bundle = load_bundle(MODEL.value, DTYPE.value)
    engine = Engine(bundle.config, bundle.params, slots=1, dtype=jnp.dtype(bundle.dtype))
    text = TextEngine(bundle, engine)
    history = [{"role": "system", "content": system}] if system else []
    sampling = Sampling(MAX_TOKENS.value, TEMPERATURE.value, 0, TOP_P.value, SEED.value)
    for prompt in _prompts():
        history.append({"role": "user", "content": prompt})
        answer = ""
        for piece in text.stream(history, sampling):
            print(piece, end="", flush=True)
            answer += piece
        print()
        history.append({"role": "assistant", "content": answer or " "})


def _prompts() -> Iterator[str]:
    if PROMPT.value is not None:
        yield PROMPT.value
        return
    terminal = sys.stdin.isatty()
    while True:
        try:
            line = input("> " if terminal else "").strip()
        except EOFError:
            return
        if line:
            yield line


if __name__ == "__main__":
    run(main)
