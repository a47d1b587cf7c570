"""Measures the speed of vcjax, its peers and the machine's limit in one run.

python -m launch.bench train             4 x 512 tokens in float32
python -m launch.bench train --full      both shapes, both dtypes, all peers
python -m launch.bench data              from records to batches
python -m launch.bench generate          the engine: decode, prefill, prefixes, long tails, JSON
python -m launch.bench generate --full   other dtypes too, and more rounds
python -m launch.bench ledger            a million adversarial attempts: ledger and near-duplicates
python -m launch.bench prepare           a corpus of 1 GB: each step, whole runs, what 33.7 GB takes

The first took 4 min 57 s with `--rounds=3` on two cores of an AMD EPYC, `generate --full` 22 min
with `--rounds=2` and `ledger` 5 min 21 s.

Each replaces its section of `bench.json` in the workdir and prints a table. Machines differ and
drift, so only the ratios within a run are meaningful, and only on an idle machine. The exit code is
3 if a bound isn't met.
"""

import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from vcjax.core.defaults import training_config
from vcjax.core.errors import UserError, suggest
from vcjax.core.hardware import hardware_of
from vcjax.core.script import run
from vcjax.core.stores import on_disk

FIRST_CASE = "4x512:float32"
ALL_CASES = "4x512:float32,1x2048:float32,4x512:bfloat16,1x2048:bfloat16"

WHAT = flags.DEFINE_string(
    "what", None, "train, data, generate, ledger or prepare; `--what=` may be omitted."
)
WORKDIR = flags.DEFINE_string("workdir", "runs/bench", "The folder of bench.json.")
MODEL = flags.DEFINE_string("model", "smollm2-135m-instruct", "A model reference.")
ROUNDS = flags.DEFINE_integer(
    "rounds", None, "Repetitions of each contender; default: 5, generate: 3.", lower_bound=1
)
FULL = flags.DEFINE_bool(
    "full", False, "train: both shapes, both dtypes, all peers. generate: all dtypes, more rounds."
)
CASE_NAMES = flags.DEFINE_string(
    "cases",
    None,
    f"train: a selection of {ALL_CASES!r}, or others of that form. generate: names of its cases.",
)
REMAT = flags.DEFINE_string("remat", None, "train: the rematerialisation policy of our step.")
ATTENTION = flags.DEFINE_string("attention", None, "train: the attention backend of our step.")
PEER_PYTHON = flags.DEFINE_string(
    "peer_python", "", "train, generate: an interpreter with PyTorch and transformers."
)
LLAMA_PYTHON = flags.DEFINE_string(
    "llama_python", "", "generate: an interpreter with llama-cpp-python."
)
TUNIX_PYTHON = flags.DEFINE_string("tunix_python", "", "train: an interpreter with Tunix.")
DATATROVE_PYTHON = flags.DEFINE_string(
    "datatrove_python", "", "prepare: an interpreter with datatrove, spaCy, jieba and ftfy."
)
MEGABYTES = flags.DEFINE_float(
    "megabytes",
    None,
    "Megabytes of text. data: default 20; prepare: of the largest run, default 1000.",
    lower_bound=0.001,
)
STEP_MEGABYTES = flags.DEFINE_float(
    "step_megabytes", 20.0, "prepare: those that each step is measured on.", lower_bound=0.001
)
PARTS = flags.DEFINE_list(
    "parts",
    [],
    "prepare: eighths of --megabytes that whole runs read, as in 32; added to what is in "
    "bench.json. Default: all that is measured, with the runs 1, 2, 4 and 8.",
)
SOURCE = flags.DEFINE_string(
    "source", "", "prepare: a folder of texts; default: `data` in that of VCJAX_TEST_DATA."
)
ATTEMPTS = flags.DEFINE_integer("attempts", 10**6, "ledger: number of attempts.", lower_bound=1)

USUAL_ROUNDS = {"train": 5, "data": 5, "generate": 3, "ledger": 1, "prepare": 1}
USUAL_MEGABYTES = {"data": 20.0, "prepare": 1000.0}


def main() -> None:
    known = ", ".join(USUAL_ROUNDS)
    if WHAT.value is None:
        raise UserError(f"name what to measure, as in `launch.bench train` (known: {known})")
    if WHAT.value not in USUAL_ROUNDS:
        hint = suggest(WHAT.value, USUAL_ROUNDS)
        raise UserError(f"unknown bench {WHAT.value!r} (known: {known}){hint}")
    if not (Path(__file__).parents[1] / "benchmarks").is_dir():
        raise UserError("the benchmarks are in a checkout of vcjax, not in the installed package")
    from benchmarks.results import circumstances, read_record, require, write_section

    workdir = on_disk(WORKDIR.value)
    read_record(workdir)  # a file that cannot take the result is found before it is measured
    about = circumstances()
    measure = {
        "train": _train,
        "data": _data,
        "generate": _generate,
        "ledger": _ledger,
        "prepare": _prepare,
    }
    section, table = measure[WHAT.value](workdir)
    write_section(workdir, WHAT.value, {**about, **section})
    print(table)
    require(section["bounds"])


def _data(workdir: Path) -> tuple[dict[str, Any], str]:
    from benchmarks.data import DataBench, bench_data
    from benchmarks.results import data_table

    bench = DataBench(MODEL.value, _megabytes(), batch=4, length=512, rounds=_rounds())
    section = bench_data(bench, workdir)
    return section, data_table(section)


def _generate(workdir: Path) -> tuple[dict[str, Any], str]:
    from benchmarks.generate import GenerateBench, bench_generate, choose_cases
    from benchmarks.results import generate_table

    cases = choose_cases(CASE_NAMES.value or "")
    python = {"torch": PEER_PYTHON.value, "llama_cpp": LLAMA_PYTHON.value}
    bench = GenerateBench(MODEL.value, cases, FULL.value, _rounds(), python)
    section = bench_generate(bench, workdir)
    return section, generate_table(section)


def _ledger(workdir: Path) -> tuple[dict[str, Any], str]:
    from benchmarks.ledger import bench_ledger
    from benchmarks.results import figures_table

    section = bench_ledger(ATTEMPTS.value, workdir)
    return section, figures_table(section)


def _prepare(workdir: Path) -> tuple[dict[str, Any], str]:
    from benchmarks.environment import cores
    from benchmarks.prepare import PrepareBench, bench_prepare
    from benchmarks.results import prepare_table, read_record

    outside = os.environ.get("VCJAX_TEST_DATA", "")
    source = Path(SOURCE.value or (Path(outside) / "data" if outside else ""))
    if not (SOURCE.value or outside) or not source.is_dir():
        raise UserError("name a folder of texts with --source")
    bench = PrepareBench(
        MODEL.value,
        source,
        _megabytes(),
        STEP_MEGABYTES.value,
        cores(),
        DATATROVE_PYTHON.value,
    )
    if PARTS.value:
        before = read_record(workdir).get("prepare")
        if before is None:
            raise UserError(f"--parts: {workdir} has no result yet that a run could be added to")
        section = bench_prepare(bench, workdir, _parts(), before)
    else:
        section = bench_prepare(bench, workdir)
    return section, prepare_table(section)


def _parts() -> list[int]:
    if not all(part.isdecimal() and int(part) for part in PARTS.value):
        raise UserError(f"--parts: {','.join(PARTS.value)}: name numbers of eighths, as in 16,32")
    return [int(part) for part in PARTS.value]


def _train(workdir: Path) -> tuple[dict[str, Any], str]:
    from benchmarks.results import train_table

    section = _measured_training(workdir)
    return section, train_table(section)


def _measured_training(workdir: Path) -> dict[str, Any]:
    from benchmarks.accelerator import SHAPES, bench_accelerator
    from benchmarks.environment import device, in_subprocess
    from benchmarks.train import TrainBench, bench_train, parse_cases

    platform, kind = in_subprocess(device)
    settings = _settings()
    if platform != "cpu":
        known = hardware_of(kind)
        peak = None if known is None else known.flops
        return bench_accelerator(SHAPES, settings, _rounds(), peak, workdir)
    cases = parse_cases(CASE_NAMES.value or (ALL_CASES if FULL.value else FIRST_CASE))
    python = {"torch": PEER_PYTHON.value, "tunix": TUNIX_PYTHON.value}
    bench = TrainBench(MODEL.value, settings, cases, FULL.value, _rounds(), python)
    return bench_train(bench, workdir)


def _rounds() -> int:
    return ROUNDS.value or USUAL_ROUNDS[str(WHAT.value)]


def _megabytes() -> float:
    return MEGABYTES.value or USUAL_MEGABYTES[str(WHAT.value)]


def _settings() -> dict[str, Any]:
    """The settings of `configs/cpt.py` for full fine-tuning at a constant rate on random ids."""
    settings = training_config("cpt").to_dict()
    chosen = {"remat": REMAT.value, "attention": ATTENTION.value}
    return {
        **settings,
        **{name: value for name, value in chosen.items() if value is not None},
        "documents": "random ids",
        "lora": {**settings["lora"], "rank": 0},
        "schedule": "constant",
        "warmup_steps": 0,
    }


if __name__ == "__main__":
    # `launch.bench train`: the bench may be named without its flag.
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--what={sys.argv[1]}"
    run(main)
