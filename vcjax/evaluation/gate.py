"""A gate: bounds on figures of an evaluation or a comparison, for a user's CI."""

import difflib
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.core.errors import GateNotMet, UserError
from vcjax.evaluation.comparison.options import OPTION_MEASURES

_OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_BOUND = re.compile(r"(?P<figure>\S+)\s*(?P<sign><=|>=|<|>)\s*(?P<limit>\S+)")
_CLOSE = 3

Figures = Mapping[str, float | None]
"""Numbers by name; None where one couldn't be measured."""


@dataclass(frozen=True)
class Bound:
    """What a figure must keep to.

    Attributes:
      sign: `<=`, `<`, `>=` or `>`.
    """

    figure: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Bound":
        """Raises: UserError for what is no bound."""
        match = _BOUND.fullmatch(text.strip())
        try:
            return cls(match["figure"], match["sign"], float(match["limit"]))  # type: ignore[index]
        except (TypeError, ValueError):
            raise UserError(
                f"--gate: {text!r} is no bound; write FIGURE >= NUMBER, e.g. "
                "difference.judge.zh.low >= -0.2"
            ) from None

    def broken(self, figures: Figures) -> str | None:
        """How the bound is broken, or None. What couldn't be measured breaks it.

        Raises:
          UserError: there is no such figure.
        """
        if self.figure not in figures:
            close = difflib.get_close_matches(self.figure, figures, n=_CLOSE, cutoff=0.4)
            hint = f"; close ones: {', '.join(close)}" if close else ""
            raise UserError(f"--gate: no figure {self.figure!r}{hint}")
        value = figures[self.figure]
        # A gate that passes what nobody measured would pass a broken run.
        if value is None:
            return f"{self} is not known: it wasn't measured"
        return None if _OPERATORS[self.sign](value, self.limit) else f"{self}: it is {value:.4g}"

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {self.limit:g}"


def read_bounds(gate: Mapping[str, Any]) -> list[Bound]:
    """The bounds of a gate's config, whose only field is `bounds`.

    Raises:
      UserError: another field, or what is no bound.
    """
    if set(gate) != {"bounds"} or not isinstance(gate["bounds"], list | tuple):
        raise UserError(f"--gate: must have the one field bounds, a tuple, not {', '.join(gate)}")
    if not gate["bounds"]:
        raise UserError("--gate: has no bounds")
    return [Bound.parse(text) for text in gate["bounds"]]


def check_gate(bounds: Sequence[Bound], figures: Mapping[str, Figures]) -> None:
    """Checks the bounds for each run.

    Args:
      figures: by the run's name.

    Raises:
      UserError: a bound on no figure.
      GateNotMet: broken bounds, a line for each.
    """
    lines = [
        f"{name}: {line}"
        for name, own in figures.items()
        for bound in bounds
        if (line := bound.broken(own)) is not None
    ]
    if lines:
        raise GateNotMet("\n".join([f"{len(lines)} bound(s) of the gate", *lines]))


def evaluation_figures(summary: Mapping[str, Any]) -> Figures:
    """The numbers of an evaluation's summary, by their path in it.

    The judge's scores are `judge.LANGUAGE`, the rates of all checks `all_checks.LANGUAGE`, single
    checks `checks.LANGUAGE.CHECK`; a measure's are below its name.
    """
    parts = {name: value for name, value in summary.items() if isinstance(value, Mapping)}
    checks = parts.pop("all_checks")
    scores = parts.pop("languages")
    measures = parts.pop("measures", {})
    return dict(
        _numbers(
            {**parts, **measures, "judge": scores, "all_checks": {**checks, **checks["languages"]}}
        )
    )


def comparison_figures(comparison: Mapping[str, Any]) -> dict[str, Figures]:
    """Of each run that is compared with the first, the numbers of its differences.

    These are `difference.MEASURE.LANGUAGE`, with `all` for all languages together, and
    `domain.DOMAIN.MEASURE.LANGUAGE`; of single checks `check.CHECK.LANGUAGE`, of shifts of stance
    `stance.DIMENSION.LANGUAGE`, and of multiple choice `choice.languages.LANGUAGE`.
    """
    found = {}
    for name, own in comparison["comparisons"].items():
        languages = {**own["languages"], "all": own["all"]}
        tree: dict[str, Any] = {"difference": {}, "domain": {}, "check": {}}
        for measure in comparison["measures"]:
            tree["difference"][measure] = {lang: each[measure] for lang, each in languages.items()}
        for lang, each in languages.items():
            for check, record in each["checks"].items():
                tree["check"].setdefault(check, {})[lang] = record
        for domain, each in own["domains"].items():
            tree["domain"][domain] = {
                measure: {lang: parts[measure] for lang, parts in each.items()}
                for measure in comparison["measures"]
            }
        tree |= {measure: own.get(measure, {}) for measure in OPTION_MEASURES}
        found[name] = dict(_numbers(tree))
    return found


def _numbers(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float | None]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}{name}.")
        # For Python `True` is an integer too, and it is no figure.
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f"{path}{name}", value
