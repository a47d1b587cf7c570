"""The tables that a bench prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vcjax.core.script import aligned

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
