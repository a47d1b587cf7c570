"""Serves models over HTTP with OpenAI's API: chat, completions, scores of given texts.

python -m launch.serve --model=smollm2-135m-instruct --port=8000

Clients may connect at once; /health reports when the model is ready. On SIGTERM (or Ctrl-C) the
server finishes the running requests.
"""

import os
import sys

from absl import flags

from vcjax.core.errors import UserError
from vcjax.core.script import run
from vcjax.generate import WEIGHT_FORMS
from vcjax.weights import DTYPES

MODEL = flags.DEFINE_list(
    "model", "smollm2-135m-instruct", "Model references, separated by commas."
)
NAME = flags.DEFINE_list("name", "", "Model names in requests; default: the model references.")
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0: all addresses.")
PORT = flags.DEFINE_integer("port", 8000, "Port to listen on; 0: any free one.", lower_bound=0)
SLOTS = flags.DEFINE_integer(
    "slots", 0, "Requests that decode together; 0: as many as the memory holds."
)
CONTEXT = flags.DEFINE_integer(
    "context",
    0,
    "Tokens of the longest sequence that is served, prompt and answer; 0: as many as the memory "
    "holds in every slot.",
)
MAX_WAITING = flags.DEFINE_integer("max_waiting", 256, "Most requests in the queue.")
MAX_BODY_MB = flags.DEFINE_float("max_body_mb", 4.0, "Most megabytes of a request's body.")
MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens", 0, "Most new tokens of an answer; 0: as many as fit the context."
)
TIMEOUT_S = flags.DEFINE_float("timeout_s", 600.0, "Most seconds that a request may take.")
API_KEY_ENV = flags.DEFINE_string(
    "api_key_env", None, "The environment variable with the API key that clients must send."
)
DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, "Dtype of the weights; default: the source's own.")
WEIGHTS = flags.DEFINE_enum(
    "weights", "", WEIGHT_FORMS, "Quantisation of the projections' kernels."
)
TENSOR = flags.DEFINE_integer(
    "tensor",
    1,
    "Devices over which each copy of a model is sharded.",
    lower_bound=1,
)
REPLICAS = flags.DEFINE_integer(
    "replicas",
    0,
    "Copies of each model, with devices of their own and one queue; 0: as many as this machine has "
    "devices for.",
    lower_bound=0,
)
ROW_BUCKETS = flags.DEFINE_bool(
    "row_buckets",
    False,
    "Decode as few slots as hold the running requests: faster with few of them, but an answer may "
    "depend on how many run beside it.",
)
PAGES = flags.DEFINE_bool(
    "pages",
    False,
    "Keep the cache in pages of one pool instead of a row for each slot, and run prompts together "
    "with the answers that are being written: on TPUs, and to try it on a CPU.",
)
CHARTER = flags.DEFINE_string(
    "charter", None, "The charter whose persona is the system message of conversations without one."
)
ACCESS_LOG = flags.DEFINE_bool(
    "access_log", False, "Write a line of JSON to standard error for each request."
)
WARM_UP = flags.DEFINE_integer(
    "warm_up",
    0,
    "Tokens of the longest sequence for which everything is compiled before the server is ready, "
    "within the context, for a server that many ask. What longer ones need is compiled when the "
    "first one comes, while all others wait; 0: nothing but a short request is compiled ahead.",
    lower_bound=0,
)
LANG = flags.DEFINE_enum("lang", "en", ["en", "zh"], "Language of the persona.")


def main() -> None:
    from vcjax.charter.load import load_charter
    from vcjax.serve.config import ServeConfig
    from vcjax.serve.server import serve

    lang = "zh" if LANG.value == "zh" else "en"
    ended = serve(
        ServeConfig(
            models=tuple(MODEL.value),
            names=tuple(NAME.value),
            host=HOST.value,
            port=PORT.value,
            slots=SLOTS.value,
            context=CONTEXT.value,
            max_waiting=MAX_WAITING.value,
            max_body_mb=MAX_BODY_MB.value,
            max_tokens=MAX_TOKENS.value,
            timeout_s=TIMEOUT_S.value,
            api_key=_key(),
            dtype=DTYPE.value or "",
            weights=WEIGHTS.value,
            tensor=TENSOR.value,
            replicas=REPLICAS.value,
            row_buckets=ROW_BUCKETS.value,
            pages=PAGES.value,
            access_log=ACCESS_LOG.value,
            warm_up=WARM_UP.value,
            persona=load_charter(CHARTER.value).system_prompt(lang) if CHARTER.value else "",
        )
    )
    if not ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _key() -> str:
    name = API_KEY_ENV.value
    if not name:
        return ""
    key = os.environ.get(name, "")
    if not key:
        raise UserError(f"--api_key_env: the environment has no {name}, or it is empty")
    return key


if __name__ == "__main__":
    run(main)
