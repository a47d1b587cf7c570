"""Bounds that a release must keep: exit code 3 where one is broken.

    python -m launch.compare --runs=runs/before,runs/after --workdir=runs/compare \\
        --gate=configs/gates/release.py
    python -m launch.evaluate --config=configs/evaluate.py --workdir=runs/evaluate \\
        --gate=configs/gates/release.py:evaluation

A bound is `FIGURE <= NUMBER`, with <=, <, >= or >, and a figure is the path of a number in
`comparison.json` or `summary.json`; an unknown one is answered by those that are close. Bound the
end of an interval: the value alone moves by chance. The numbers here are examples; set your own.
"""

from ml_collections import ConfigDict

from vcjax.core.errors import UserError, suggest

_VARIANTS = {
    "comparison": (
        # Of the 0 to 5 of the judge, and of the rate at which every rule check is passed.
        "difference.judge.zh.low >= -0.2",
        "difference.judge.en.low >= -0.2",
        "difference.all_checks.zh.low >= -0.05",
        "difference.all_checks.en.low >= -0.05",
    ),
    "evaluation": (
        "all_checks.zh.low >= 0.8",
        "all_checks.en.low >= 0.8",
    ),
}


def get_config(variant: str = "comparison") -> ConfigDict:
    if variant not in _VARIANTS:
        known = ", ".join(_VARIANTS)
        raise UserError(f"gate variant {variant!r} is none of {known}{suggest(variant, _VARIANTS)}")
    return ConfigDict({"bounds": _VARIANTS[variant]})
