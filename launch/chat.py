"""Chats with a model: one prompt, the prompts of a pipe (one per line), or a terminal session.

python -m launch.chat --model=smollm2-135m-instruct --prompt="Why do people disagree?"

In the terminal /help lists the commands: /reset starts a new conversation, Ctrl-C stops an answer,
and /exit or Ctrl-D exits.
"""

import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from absl import flags

from vcjax.core.errors import UserError, suggest
from vcjax.core.script import run
from vcjax.generate import WEIGHT_FORMS
from vcjax.weights import DTYPES

if TYPE_CHECKING:
    from vcjax.generate.text import Dialogue

MODEL = flags.DEFINE_string("model", "smollm2-135m-instruct", "Any model reference.")
PROMPT = flags.DEFINE_string("prompt", None, "Answer this prompt and exit.")
CHARTER = flags.DEFINE_string("charter", None, "The charter whose persona is the system message.")
LANG = flags.DEFINE_enum("lang", "en", ["en", "zh"], "Language of the persona.")
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 256, "Most new tokens of an answer.", lower_bound=1)
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0)
TOP_K = flags.DEFINE_integer(
    "top_k", 0, "Sample from the k likeliest tokens; 0: all.", lower_bound=0
)
TOP_P = flags.DEFINE_float(
    "top_p", 1.0, "Sample from the likeliest tokens with this probability mass."
)
MIN_P = flags.DEFINE_float("min_p", 0.0, "Least probability relative to the likeliest token's.")
REPETITION_PENALTY = flags.DEFINE_float(
    "repetition_penalty", 1.0, "Above 1, makes tokens that have occurred less likely."
)
STOP = flags.DEFINE_multi_string("stop", [], "A string that ends an answer; may be repeated.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the sampling.")
DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, "Dtype of the weights; default: the source's own.")
WEIGHTS = flags.DEFINE_enum(
    "weights", "", WEIGHT_FORMS, "Quantisation of the projections' kernels."
)
TENSOR = flags.DEFINE_integer(
    "tensor",
    1,
    "Devices over which the model is sharded, the first of this machine.",
    lower_bound=1,
)


_COMMANDS = ("/help", "/reset", "/exit")
_COMMAND = re.compile(r"/[a-z]+")
_HELP = """/reset   begins a new conversation
/exit    ends the chat, as Ctrl-D does
Ctrl-C   stops an answer"""


def main() -> None:
    from vcjax.charter.load import load_charter
    from vcjax.generate.engine_config import EngineConfig
    from vcjax.generate.requests import SamplingParams
    from vcjax.generate.text import Dialogue, TextEngine
    from vcjax.weights.load import load_model

    lang = "zh" if LANG.value == "zh" else "en"
    system = load_charter(CHARTER.value).system_prompt(lang) if CHARTER.value else ""
    sampling = SamplingParams(
        max_tokens=MAX_TOKENS.value,
        temperature=TEMPERATURE.value,
        top_k=TOP_K.value,
        top_p=TOP_P.value,
        min_p=MIN_P.value,
        repetition_penalty=REPETITION_PENALTY.value,
        stop=tuple(STOP.value),
        seed=SEED.value,
    )
    config = EngineConfig(slots=1, replicas=1, weights=WEIGHTS.value, tensor=TENSOR.value)
    loaded = load_model(MODEL.value, DTYPE.value)
    text = TextEngine(loaded, config.engine(loaded))
    dialogue = Dialogue(text, sampling, system, _note_forgetting)
    if PROMPT.value is not None:
        _answer(dialogue, PROMPT.value)
    elif sys.stdin.isatty():
        _talk(dialogue)
    else:
        for line in sys.stdin:
            if prompt := line.strip():
                _answer(dialogue, prompt)


def _talk(dialogue: "Dialogue") -> None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives `input` line editing and a history)
    print(f"{MODEL.value} answers; /help lists the commands")
    while True:
        try:
            prompt = input("> ").strip()
            if prompt == "/exit":
                return
            if prompt == "/reset":
                dialogue.reset()
            elif prompt == "/help":
                print(_HELP)
            elif _COMMAND.fullmatch(prompt):
                print(f"{prompt}: no such command{suggest(prompt, _COMMANDS)}; /help lists them")
            elif prompt:
                with _stopping() as stopped:
                    _answer(dialogue, prompt, stopped)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return


def _answer(dialogue: "Dialogue", prompt: str, stopped: Callable[[], bool] = lambda: False) -> None:
    with contextlib.closing(dialogue.ask(prompt)) as pieces:
        for piece in pieces:
            print(piece, end="", flush=True)
            if stopped():
                break
    print()


def _note_forgetting() -> None:
    print(
        "the conversation has outgrown the model's context; its first turns are dropped",
        file=sys.stderr,
    )


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Yields a function that reports whether Ctrl-C was pressed; the engine is not interrupted.

    A second Ctrl-C ends the program.
    """
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            sys.exit(128 + number)
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    run(main)
