import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.conftest import demo, evaluation  # noqa: F401  (fixtures)
from vcjax.core.errors import GateNotMet, UserError
from vcjax.evaluation.gate import (
    Bound,
    check_gate,
    comparison_figures,
    evaluation_figures,
    read_bounds,
)

FIGURES = {"run": {"difference.judge.zh.low": -0.1, "refusal.benign.high": 0.2, "x.low": None}}


def gate(*bounds):
    return read_bounds({"bounds": bounds})


@given(st.floats(-10, 10), st.floats(-10, 10), st.sampled_from(["<=", ">=", "<", ">"]))
def test_a_bound_is_kept_or_broken(value, limit, sign):
    bound = Bound.parse(f"x{sign}{limit!r}")
    kept = {"<=": value <= limit, ">=": value >= limit, "<": value < limit, ">": value > limit}
    assert (bound.broken({"x": value}) is None) == kept[sign]


def test_each_broken_bound_is_a_line():
    check_gate(gate("difference.judge.zh.low >= -0.2", "refusal.benign.high <= 0.2"), FIGURES)
    broken = gate("difference.judge.zh.low >= 0", "refusal.benign.high<=0.1", "x.low > 0")
    with pytest.raises(GateNotMet) as caught:
        check_gate(broken, FIGURES)
    assert str(caught.value).splitlines() == [
        "3 bound(s) of the gate",
        "run: difference.judge.zh.low >= 0: it is -0.1",
        "run: refusal.benign.high <= 0.1: it is 0.2",
        "run: x.low > 0 is not known: it wasn't measured",
    ]


def test_an_unknown_figure_and_what_is_no_bound_are_a_users_mistake():
    with pytest.raises(
        UserError, match=r"no figure 'refusal\.benin\.high'; close ones: refusal\.benign"
    ):
        check_gate(gate("refusal.benin.high <= 1"), FIGURES)
    for text in ("x", "x == 1", "x >= high", "x y >= 1", ""):
        with pytest.raises(UserError, match="is no bound; write FIGURE >= NUMBER"):
            gate(text)
    with pytest.raises(UserError, match="must have the one field bounds"):
        read_bounds({"bound": ["x > 1"]})
    with pytest.raises(UserError, match="has no bounds"):
        gate()


def test_the_figures_of_an_evaluation(evaluation):  # noqa: F811
    figures = evaluation_figures(evaluation)
    assert figures["judge.zh.low"] == evaluation["languages"]["zh"]["low"]
    assert figures["all_checks.en.high"] == evaluation["all_checks"]["languages"]["en"]["high"]
    assert figures["domains.gender.en.mean"] == evaluation["domains"]["gender"]["en"]["mean"]
    measured = {**evaluation, "measures": {"refusal": {"benign": {"high": 0.1}}}}
    assert evaluation_figures(measured)["refusal.benign.high"] == 0.1


def test_the_figures_of_a_comparison(demo):  # noqa: F811
    comparison = {"comparisons": {"after": demo["summary"]["evaluation"]["comparison"]}}
    comparison["measures"] = ["judge", "all_checks"]
    figures = comparison_figures(comparison)["after"]
    own = comparison["comparisons"]["after"]
    assert figures["difference.judge.zh.low"] == own["languages"]["zh"]["judge"]["low"]
    assert figures["difference.all_checks.all.high"] == own["all"]["all_checks"]["high"]
    assert figures["domain.gender.judge.all.p"] == own["domains"]["gender"]["all"]["judge"]["p"]
    check = own["languages"]["en"]["checks"]["answers/not_a_refusal"]["low"]
    assert figures["check.answers/not_a_refusal.en.low"] == check
