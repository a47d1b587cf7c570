"""The cases of the generation bench, with their contenders and bounds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.results import Bound
from benchmarks.workload import Work

OURS, LIMIT, PEER, LLAMA = "ours", "matmul-only", "transformers", "llama.cpp"
HOST_SHARE = "share of a step in which the device waits for the host"
ALONE = f"{OURS}, decode steps alone / {LIMIT}"
SLOTS = 16
"""Requests that decode together, at most."""
GGUF = "gguf"
"""The option that has the dtype of a GGUF file, and then the file itself."""
PART = 512
"""Tokens of a prompt that are run together, at most."""


@dataclass(frozen=True)
class Runner:
    """A contender of a case.

    Attributes:
      name: in the results.
      module: under `benchmarks.contenders`.
      options: given to the module beside the model.
      tokens: counted per step; 0 if the contender reports them in its facts.
      library: what its interpreter must have; empty for ours.
      full: whether the full bench alone has it.
    """

    name: str
    module: str
    options: dict[str, Any]
    tokens: int
    library: str = ""
    full: bool = False


@dataclass(frozen=True)
class Case:
    """Contenders for the same requests.

    Attributes:
      name: as `--cases` has it.
      title: what is asked for.
      runners: the speed of the first is reported as a ratio to that of each other one. Those of
        other libraries run one after the other, the rest stay loaded.
      bounds: for the shipped model.
      long: whether a step takes many seconds: one round does, but in a full bench.
    """

    name: str
    title: str
    runners: Sequence[Runner]
    bounds: Sequence[Bound] = field(default=())
    long: bool = False


def decode(
    name: str, work: Work, *, aim: float, least: float | None = None, long: bool = False
) -> Case:
    """One batch to its end; `least` and `aim` are shares of the limit.

    The limit is that of decode steps. What the prompts take counts against us, but for ALONE.
    """
    limit = {
        "batch": work.requests,
        "context": work.prompt + work.new // 2,
        "dtype": "float32",
    }
    to_limit, to_peer = f"{name}: {OURS} / {LIMIT}", f"{name}: {OURS} / {PEER}"
    slots = work.requests
    return Case(
        name,
        f"{work.requests} x {work.prompt} prompt tokens, {work.new} new ones; new tokens count",
        [
            _ours(work, host=True, slots=slots),
            Runner(LIMIT, "decode_matmul", limit, work.requests),
            _ours(work, f"{OURS}, bfloat16", full=True, slots=slots, dtype="bfloat16"),
            _ours(work, f"{OURS}, int8", full=True, slots=slots, weights="int8"),
            _peer(work, PEER, "float32"),
            _peer(work, f"{PEER}, bfloat16", "bfloat16", full=True),
            _llama(work, LLAMA, "float32"),
            _llama(work, f"{LLAMA}, float16", "float16", full=True),
        ],
        [
            *([] if least is None else [Bound(to_limit, least=least)]),
            Bound(to_limit, least=aim, must=False),
            Bound(f"{name}: {ALONE}", least=aim, must=False),
            Bound(to_peer, least=1.0),
            Bound(to_peer, least=1.5, must=False),
            Bound(f"{to_peer}, bfloat16", least=1.0, must=False),
            Bound(f"{name}: {OURS} / {LLAMA}", least=1.0, must=False),
            Bound(f"{name}: {HOST_SHARE}", most=0.05),
        ],
        long,
    )


def prefill(work: Work) -> Case:
    """Prompts; of each one new token, which comes with its last logits."""
    tokens = work.requests * work.prompt
    limit = {"batch": work.requests, "length": work.prompt, "dtype": "float32"}
    return Case(
        "prefill",
        f"{work.requests} x {work.prompt} prompt tokens, {work.new} new one; prompt tokens count",
        [replace(_ours(work), tokens=tokens), Runner(LIMIT, "matmul", limit, tokens)],
        [Bound(f"prefill: {OURS} / {LIMIT}", least=0.6)],
    )


def prefix(work: Work) -> Case:
    """Prompts that begin alike."""
    without = f"{OURS}, no reuse"
    return Case(
        "prefix",
        f"{work.requests} x {work.shared} shared and {work.prompt} own prompt tokens, "
        f"{work.new} new ones; new tokens count",
        [_ours(work, brief=2), _ours(work, without, brief=2, prefix_tokens=0)],
        [Bound(f"prefix: {OURS} / {without}", least=3.0)],
        long=True,
    )


def tail(work: Work, slots: int = SLOTS) -> Case:
    """Answers of very different lengths, joining as others leave or in batches."""
    static = f"{OURS}, static batches"
    options: dict[str, Any] = {"brief": work.requests // 2, "slots": slots}
    return Case(
        "tail",
        f"{work.requests} x {work.prompt} prompt tokens, {work.shortest} to {work.new} new ones; "
        "new tokens count",
        [_ours(work, **options), _ours(work, static, static=True, **options)],
        [Bound(f"tail: {OURS} / {static}", least=1.6)],
        long=True,
    )


def json(requests: int) -> Case:
    """Answers under a JSON schema, and as many tokens without it."""
    asked = {"requests": requests, "engine": {"slots": min(requests, SLOTS), "dtype": "float32"}}
    free, constrained = f"{OURS}, free", f"{OURS}, constrained"
    return Case(
        "json",
        f"{requests} answers drawn under a JSON schema, and freely; new tokens count",
        [
            Runner(free, "constrained", {**asked, "constrained": False}, 0),
            Runner(constrained, "constrained", {**asked, "constrained": True}, 0),
        ],
        [Bound(f"json: {free} / {constrained}", most=1.15)],
    )


def _ours(work: Work, name: str = OURS, *, full: bool = False, **options: Any) -> Runner:
    """Our engine; `options` are `static`, `brief` and `host` of its module and those of an
    `Engine`."""
    own = {option: options.pop(option, 0) for option in ("static", "brief", "host")}
    slots = min(work.requests, SLOTS)
    engine = {"slots": slots, "dtype": "float32", "part": PART, **options}
    return Runner(
        name, "engine", {"work": asdict(work), "engine": engine, **own}, work.tokens, full=full
    )


def _peer(work: Work, name: str, dtype: str, *, full: bool = False) -> Runner:
    asked = {"work": asdict(work), "dtype": dtype}
    return Runner(name, "transformers_generate", asked, work.tokens, "torch", full)


def _llama(work: Work, name: str, dtype: str, *, full: bool = False) -> Runner:
    """The dtype is that of the matrices in the file."""
    asked = {"work": asdict(work), GGUF: dtype}
    return Runner(name, "llama_batch", asked, work.tokens, "llama_cpp", full)


CASES = {
    case.name: case
    for case in (
        decode("batch1", Work(requests=1, prompt=64, new=128), least=0.6, aim=0.85),
        decode("batch16", Work(requests=16, prompt=64, new=128), least=0.55, aim=0.8),
        decode("batch64", Work(requests=64, prompt=64, new=128), aim=0.8, long=True),
        prefill(Work(requests=16, prompt=256, new=1)),
        prefix(Work(requests=64, prompt=32, new=32, shared=1000)),
        tail(Work(requests=64, prompt=64, new=256, shortest=16)),
        json(16),
    )
}
