"""What a bench leaves: bounds on its figures, its section of `bench.json`, and its table."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environment import machine_facts
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import check_writable, read_json, write_json
from vcjax.core.script import aligned


@dataclass(frozen=True)
class Bound:
    """A figure's bound: at least `least`, or below `most`. With `must` False it is an aim."""

    figure: str
    least: float | None = None
    most: float | None = None
    must: bool = True

    def check(self, figures: Mapping[str, float]) -> dict[str, Any] | None:
        """`figure, least or most, must, measured, met`; None if the figure wasn't measured."""
        if self.figure not in figures:
            return None
        measured = figures[self.figure]
        if self.least is not None:
            limit, met = {"least": self.least}, measured >= self.least
        else:
            assert self.most is not None
            limit, met = {"most": self.most}, measured < self.most
        return {
            "figure": self.figure,
            **limit,
            "must": self.must,
            "measured": measured,
            "met": met,
        }


def check_bounds(bounds: Sequence[Bound], figures: Mapping[str, float]) -> list[dict[str, Any]]:
    """The checks of all bounds whose figures were measured."""
    checks = (bound.check(figures) for bound in bounds)
    return [check for check in checks if check is not None]


def require(checks: Sequence[Mapping[str, Any]]) -> None:
    """Raises GateNotMet if a bound that must be met is not met."""
    missed = [
        f"{one['figure']} is {one['measured']:.3g}, must be "
        + (f"{one['least']:g} or more" if "least" in one else f"below {one['most']:g}")
        for one in checks
        if one["must"] and not one["met"]
    ]
    if missed:
        raise GateNotMet("; ".join(missed))


NAME = "bench.json"


def circumstances() -> dict[str, Any]:
    """`date, command, machine` of a measurement that begins now."""
    arguments = [argument.removeprefix("--what=") for argument in sys.argv[1:]]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "launch.bench", *arguments]),
        "machine": machine_facts(),
    }


def read_record(workdir: Path) -> dict[str, Any]:
    """The results of earlier benches; empty if there are none.

    Raises:
      UserError: the file isn't one of ours, or nothing can be written there.
    """
    check_writable(workdir)
    if not (workdir / NAME).is_file():
        return {}
    record = read_json(workdir / NAME)
    if not isinstance(record, dict):
        raise UserError(f"{workdir / NAME}: not a record of benches; choose another --workdir")
    return record


def write_section(workdir: Path, section: str, content: dict[str, Any]) -> None:
    """Replaces a section; the others are kept."""
    write_json(workdir / NAME, {**read_record(workdir), section: content})


GiB = 2**30
HEAD = ("", "s/step", "low - high", "tokens/s", "GFLOP/s", "1st step", "GiB", "loss", "ours is")
GENERATE_HEAD = (
    "",
    "s/run",
    "low - high",
    "tokens/s",
    "1st run",
    "1st token",
    "ms/step",
    "host",
    "compiled",
    "GiB",
    "the first is",
)


def train_table(section: Mapping[str, Any]) -> str:
    """Cases with their contenders, then the bounds."""
    return "\n".join([*_cases(section["cases"]), *_bounds(section["bounds"])])


def data_table(section: Mapping[str, Any]) -> str:
    """Steps with their rates, then the bounds."""
    rows = [("", "s", "low - high", "tokens/s")]
    for step, rate in section["tokens_per_second"].items():
        seconds = section["seconds"][step]
        between = f"{seconds['low']:.3g} - {seconds['high']:.3g}"
        rows.append((step, f"{seconds['median']:.3g}", between, f"{rate:,.0f}"))
    size = f"{section['tokens']:,} tokens in {section['rows']:,} rows of {section['length']}"
    return "\n".join([size, *aligned(rows), *_bounds(section["bounds"])])


def generate_table(section: Mapping[str, Any]) -> str:
    """Cases with their contenders, then the bounds."""
    return "\n".join([*_generate_cases(section["cases"]), *_bounds(section["bounds"])])


def figures_table(section: Mapping[str, Any]) -> str:
    """Figures by name, then the bounds."""
    rows = [
        (name, f"{figure:,}" if isinstance(figure, int) else f"{figure:,.3f}")
        for name, figure in section["figures"].items()
    ]
    return "\n".join([*aligned(rows), *_bounds(section["bounds"])])


def prepare_table(section: Mapping[str, Any]) -> str:
    """Steps, whole runs, what 33.7 GB would take, and the bounds."""
    head = "one process", "MB/CPU s", "GiB", "documents", "removed", "datatrove, MB/CPU s", "GiB"
    steps: list[tuple[str, ...]] = [head]
    for name, one in section["steps"].items():
        removed = sum(one["removed"].values())
        peer = section["datatrove"].get(name, {})
        pairs = [
            (f"{each['mb_per_cpu_second']:.3g}", f"{each['peak_bytes'] / GiB:.2f}")
            if "mb_per_cpu_second" in each
            else ("", "")
            for each in (one, peer)
        ]
        steps.append((name, *pairs[0], f"{one['documents']:,}", f"{removed:,}", *pairs[1]))
    runs = [(f"{section['processes']} processes", "s", "CPU s", "MB/s", "GiB", "by one process, s")]
    for run in section["runs"]:
        runs.append(
            (
                f"{run['megabytes']:,.0f} MB",
                f"{run['seconds']:.1f}",
                f"{run['cpu_seconds']:.1f}",
                f"{run['megabytes'] / run['seconds']:.2f}",
                f"{run['peak_bytes'] / GiB:.2f}",
                f"{run['alone_seconds']:.1f}",
            )
        )
    planted = section["planted"]
    lines = [
        *aligned(steps),
        f"near-duplicates of similarity {planted['similarity']} or more that were found: "
        f"{planted['found']} of {planted['documents']} planted",
        *aligned(runs),
        *(f"{name}: {value:,.2f}" for name, value in section["estimates"].items()),
    ]
    return "\n".join([*lines, *_bounds(section["bounds"])])


def _generate_cases(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for case in cases:
        rows: list[tuple[str, ...]] = [GENERATE_HEAD]
        first = next(iter(case["contenders"]))
        for name, one in case["contenders"].items():
            seconds, measured = one["seconds"], one["measured"]
            ratio = case["ratios"].get(f"{first} / {name}")
            compiled = measured.get("compilations")
            rows.append(
                (
                    name,
                    f"{seconds['median']:.3g}",
                    f"{seconds['low']:.3g} - {seconds['high']:.3g}",
                    f"{one['tokens_per_second']:.0f}",
                    f"{one['first_step_seconds']:.1f}",
                    _median(measured, "first_token_seconds", "{:.3f}"),
                    _median(measured, "step_seconds", "{:.1f}", 1e3),
                    _median(measured, "host_share", "{:.1%}"),
                    "" if compiled is None else f"{compiled['first']} + {compiled['later']}",
                    f"{one['peak_bytes'] / GiB:.2f}",
                    "" if ratio is None else _ratio(ratio),
                )
            )
        yield f"\n{case['name']}: {case['title']}"
        yield from aligned(rows)
        compiled = case["contenders"][first]["measured"]["compilations"]
        if "at_most" in compiled:
            yield f"  programs with the model in them: never more than {compiled['at_most']}"
        for name, reason in case["skipped"].items():
            yield f"  left out: {name}: {reason}"


def _median(measured: Mapping[str, Any], name: str, form: str, scale: float = 1.0) -> str:
    return form.format(measured[name]["median"] * scale) if name in measured else ""


def _cases(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for case in cases:
        rows: list[tuple[str, ...]] = [HEAD]
        for name, one in case["contenders"].items():
            seconds, loss = one["seconds"], one["losses"][1]  # that after one update
            ratio = case["ratios"].get(f"ours / {name}")
            rows.append(
                (
                    name,
                    f"{seconds['median']:.3g}",
                    f"{seconds['low']:.3g} - {seconds['high']:.3g}",
                    f"{one['tokens_per_second']:.0f}",
                    f"{one['flops_per_second'] / 1e9:.0f}",
                    f"{one['first_step_seconds']:.1f}",
                    f"{one['peak_bytes'] / GiB:.2f}",
                    "" if loss is None else f"{loss:.4f}",
                    "" if ratio is None else _ratio(ratio),
                )
            )
        yield f"\n{case['name']}"
        yield from aligned(rows)
        if "utilisation" in case:
            yield f"  model FLOP utilisation: {case['utilisation']:.1%}"
        for name, ratio in case["memory_ratios"].items():
            yield f"  peak memory, {name}: {ratio:.2f}"
        for name, reason in case["skipped"].items():
            yield f"  left out: {name}: {reason}"


def _ratio(ratio: Mapping[str, Any]) -> str:
    return f"{ratio['median']:.2f}x ({ratio['low']:.2f} - {ratio['high']:.2f})"


def _bounds(bounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if bounds:
        yield ""
    for one in bounds:
        limit = f">= {one['least']:g}" if "least" in one else f"< {one['most']:g}"
        kind = "must" if one["must"] else "aim"
        met = "met" if one["met"] else "NOT MET"
        yield f"{kind:4} {one['figure']} {limit}: {one['measured']:.2f}, {met}"
