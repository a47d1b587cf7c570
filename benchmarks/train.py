"""How fast a training step is, beside the machine's limit and other libraries."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import PEERS, Peer, absent, as_folder, cores, in_subprocess, interpreter
from benchmarks.harness import CONTENDERS, Entry, rate_ratio, run_case, summarise
from benchmarks.results import Bound, check_bounds
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig
from vcjax.model.flops import step_flops
from vcjax.train.config import TrainConfig
from vcjax.weights.resolve import SHIPPED

OURS, LIMIT = "ours", "matmul-only"

BOUNDS = (
    Bound(f"{OURS} / {LIMIT}", least=0.55),
    Bound(f"{OURS} / {LIMIT}", least=0.75, must=False),
    Bound(f"{OURS} / transformers", least=1.0),
    Bound(f"{OURS} / transformers, compiled", least=1.0, must=False),
    Bound(f"{OURS} / tunix", least=1.0),
    Bound("peak memory, ours / transformers", most=1.0),
)
"""For SmolLM2-135M at BOUND_CASE."""


@dataclass(frozen=True)
class Case:
    """Rows, tokens a row and dtype of the computation of a step."""

    batch: int
    length: int
    dtype: str

    @property
    def name(self) -> str:
        return f"{self.batch} x {self.length}, {self.dtype}"


BOUND_CASE = Case(4, 512, "float32")


def parse_cases(text: str) -> list[Case]:
    """Cases from e.g. `4x512:float32,1x2048:bfloat16`.

    Raises:
      UserError: a part that isn't of that form.
    """
    cases = []
    for part in text.split(","):
        found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*):(\w+)", part.strip())
        if found is None:
            raise UserError(f"--cases: {part!r} isn't of the form 4x512:float32")
        cases.append(Case(int(found[1]), int(found[2]), found[3]))
    return cases


@dataclass(frozen=True)
class TrainBench:
    """What to measure.

    Attributes:
      model: a model reference.
      settings: fields of a `TrainConfig` of full fine-tuning.
      cases: each with all contenders.
      full: with all peers; else with those that are always there.
      rounds: turns of each contender beside each peer.
      python: the interpreter to use, by library; '' is where it is found.
    """

    model: str
    settings: Mapping[str, Any]
    cases: Sequence[Case]
    full: bool
    rounds: int
    python: Mapping[str, str]


def bench_train(bench: TrainBench, workdir: Path) -> dict[str, Any]:
    """Measures all cases; what the contenders print is in `workdir/logs`.

    The peers follow the same config: AdamW, clipping, weight decay of matrices alone, the same
    batches.

    Returns:
      `model, rounds, cases` and `bounds`, those that concern the model and the cases.

    Raises:
      UserError: a model that can't be loaded, or an interpreter that isn't there.
    """
    for case in bench.cases:  # mistakes in it are found before anything is made
        TrainConfig.from_dict(_config(case, bench, bench.model))
    pythons = {library: interpreter(library, given) for library, given in bench.python.items()}
    folder = in_subprocess(as_folder, bench.model, workdir / "models")
    (workdir / "logs").mkdir(parents=True, exist_ok=True)
    cases = [_measure(case, bench, folder, pythons, workdir / "logs") for case in bench.cases]
    bounds = []
    if bench.model in SHIPPED and BOUND_CASE in bench.cases:
        bounds = check_bounds(BOUNDS, _figures(cases[bench.cases.index(BOUND_CASE)]))
    return {"model": bench.model, "rounds": bench.rounds, "cases": cases, "bounds": bounds}


def _measure(
    case: Case, bench: TrainBench, folder: Path, pythons: Mapping[str, Path | None], logs: Path
) -> dict[str, Any]:
    """One case. Ours and the limit stay; the peers join them one after the other."""
    config = _config(case, bench, str(folder))
    model = LlamaConfig.from_hf(read_json(folder / "config.json"))
    counts = case.batch * case.length, step_flops(model, case.batch, case.length)

    def entry(name: str, module: str, python: Path, options: Mapping[str, Any]) -> Entry:
        return Entry(name, python, f"{CONTENDERS}.{module}", {"config": config, **options})

    ours = Path(sys.executable)
    anchors = [entry(OURS, "ours", ours, {}), entry(LIMIT, "matmul", ours, {})]
    beside, skipped = [], {}
    for peer in _peers(case, bench):
        python = pythons[peer.library]
        if python is None:
            skipped[peer.name] = absent(peer.library)
        else:
            options = {**peer.options, "cores": cores()}
            beside.append(entry(peer.name, peer.module, python, options))
    result = run_case(case.name, anchors, beside, bench.rounds, logs)
    others = [name for name in result.ready if name != OURS]
    return {
        "name": case.name,
        "batch": case.batch,
        "length": case.length,
        "dtype": case.dtype,
        "tokens_per_step": counts[0],
        "flops_per_step": counts[1],
        "contenders": {
            name: summarise(ready, result.seconds(name), result.peaks[name], *counts)
            for name, ready in result.ready.items()
        },
        "ratios": {f"{OURS} / {other}": rate_ratio(result.rounds, OURS, other) for other in others},
        "memory_ratios": {
            f"{OURS} / {other}": result.peaks[OURS] / result.peaks[other]
            for other in others
            if other != LIMIT
        },
        "skipped": {**skipped, **result.skipped},
    }


def _config(case: Case, bench: TrainBench, model: str) -> dict[str, Any]:
    rows = {"batch_size": case.batch, "length": case.length}
    return {**bench.settings, **rows, "model": model, "dtype": case.dtype}


def _peers(case: Case, bench: TrainBench) -> list[Peer]:
    return [peer for peer in PEERS if (bench.full or peer.always) and case.dtype in peer.dtypes]


def _figures(case: Mapping[str, Any]) -> dict[str, float]:
    """The ratios of a case by the names that BOUNDS gives them."""
    rates = {name: ratio["median"] for name, ratio in case["ratios"].items()}
    memory = {f"peak memory, {name}": ratio for name, ratio in case["memory_ratios"].items()}
    return {**rates, **memory}
