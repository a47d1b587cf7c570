"""How fast the engine generates, beside the machine's limit, transformers, and itself otherwise."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import absent, as_folder, as_gguf, cores, in_subprocess, interpreter
from benchmarks.generate_cases import ALONE, CASES, GGUF, HOST_SHARE, LIMIT, OURS, Case, Runner
from benchmarks.harness import CONTENDERS, CaseResult, Entry, rate_ratio, run_case, spread
from benchmarks.results import check_bounds
from vcjax.core.errors import UserError, suggest
from vcjax.weights.resolve import SHIPPED


@dataclass(frozen=True)
class GenerateBench:
    """What to measure.

    Attributes:
      model: a model reference; one with a tokenizer for the case `json`.
      cases: of CASES.
      full: also other dtypes, and all rounds of the long cases.
      rounds: turns of each contender beside each peer.
      python: the interpreter of each peer's library, `torch` and `llama_cpp`; '' is where it is
        found.
    """

    model: str
    cases: Sequence[Case]
    full: bool
    rounds: int
    python: Mapping[str, str]


def choose_cases(text: str) -> list[Case]:
    """Cases by their names, separated by commas; none are all.

    Raises:
      UserError: an unknown name.
    """
    names = [name.strip() for name in text.split(",")] if text else list(CASES)
    for name in names:
        if name not in CASES:
            known = ", ".join(CASES)
            raise UserError(f"--cases: unknown {name!r} (known: {known}){suggest(name, CASES)}")
    return [CASES[name] for name in names]


def bench_generate(bench: GenerateBench, workdir: Path) -> dict[str, Any]:
    """Measures all cases; what the contenders print is in `workdir/logs`.

    Returns:
      `model, rounds, cases` and `bounds`, those that concern the model and the cases.

    Raises:
      UserError: a model that can't be loaded, or an interpreter that isn't there.
    """
    python = {library: interpreter(library, given) for library, given in bench.python.items()}
    folder = in_subprocess(as_folder, bench.model, workdir / "models")
    (workdir / "logs").mkdir(parents=True, exist_ok=True)
    cases, bounds = [], []
    for case in bench.cases:
        measured = _measure(case, bench, folder, python, workdir / "logs")
        cases.append(measured)
        if bench.model in SHIPPED:
            bounds += check_bounds(case.bounds, figures_of(measured))
    return {"model": bench.model, "rounds": bench.rounds, "cases": cases, "bounds": bounds}


def _measure(
    case: Case,
    bench: GenerateBench,
    folder: Path,
    pythons: Mapping[str, Path | None],
    logs: Path,
) -> dict[str, Any]:
    anchors, others, skipped = [], [], {}
    for runner in case.runners:
        if runner.full and not bench.full:
            continue
        asked = {**runner.options, "model": str(folder), "cores": cores()}
        module = f"{CONTENDERS}.{runner.module}"
        if not runner.library:
            anchors.append(Entry(runner.name, Path(sys.executable), module, asked))
        elif (python := pythons[runner.library]) is None:
            skipped[runner.name] = absent(runner.library)
        else:
            if kind := asked.get(GGUF):
                asked[GGUF] = str(in_subprocess(as_gguf, folder, kind, logs.parent / "models"))
            others.append(Entry(runner.name, python, module, asked))
    rounds = 1 if case.long and not bench.full else bench.rounds
    result = run_case(case.name, anchors, others, rounds, logs)
    runners = [runner for runner in case.runners if runner.name in result.ready]
    tokens = {one.name: _tokens(one, result.ready[one.name]["facts"]) for one in runners}
    per_token = [{name: one[name] / tokens[name] for name in one} for one in result.rounds]
    first, *rest = tokens
    return {
        "name": case.name,
        "title": case.title,
        "contenders": {name: _summary(name, result, tokens[name]) for name in tokens},
        "ratios": {f"{first} / {other}": rate_ratio(per_token, first, other) for other in rest},
        "skipped": {**skipped, **result.skipped},
    }


def _tokens(runner: Runner, facts: Mapping[str, Any]) -> int:
    return runner.tokens or facts["tokens"]


def _summary(name: str, result: CaseResult, tokens: int) -> dict[str, Any]:
    """The results of a contender in a case."""
    ready, seconds = result.ready[name], spread(result.seconds(name))
    return {
        "setup_seconds": ready["setup_seconds"],
        "first_step_seconds": ready["first_step_seconds"],
        "seconds": seconds,
        "tokens_per_step": tokens,
        "tokens_per_second": tokens / seconds["median"],
        "peak_bytes": result.peaks[name],
        "facts": ready["facts"],
        "measured": result.measured[name],
    }


def figures_of(case: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a case by the names that bounds give them."""
    figures = {name: ratio["median"] for name, ratio in case["ratios"].items()}
    contenders = case["contenders"]
    measured = contenders.get(OURS, {}).get("measured", {})
    if "host_share" in measured:  # a case of decoding
        figures[HOST_SHARE] = measured["host_share"]["median"]
        limit = contenders[LIMIT]["seconds"]["median"]
        figures[ALONE] = limit / measured["step_seconds"]["median"]
    return {f"{case['name']}: {name}": figure for name, figure in figures.items()}
