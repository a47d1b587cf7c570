"""Shifts of stance and changes on multiple choice between runs: planted ones are found."""

import random

import pytest

from tests.evaluation.comparison.test_analysis import noisy
from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.reading import read_runs
from vcjax.evaluation.gate import comparison_figures
from vcjax.report.comparison import comparison_lines, write_comparison_report
from vcjax.stats.paired import mcnemar_exact

DIMENSIONS = ("custom", "economy", "nation")


def stances(seed, moved=0.0, items=14):
    """Positions of items in two languages; on `custom` they are moved."""
    draw, found = random.Random(seed), []
    for dimension in DIMENSIONS:
        for number in range(items):
            own = random.Random(f"{dimension}-{number}").gauss(0.1, 0.2)
            for lang in ("en", "zh"):
                shift = moved if dimension == "custom" else 0.0
                position = max(-1, min(1, own + shift + draw.gauss(0, 0.08)))
                known = {"parallel_id": f"{dimension}-{number}", "lang": lang, "fingerprint": "f"}
                known |= {"id": f"{dimension}-{number}-{lang}", "dimension": dimension}
                found.append({**known, "position": position})
    return found


def choices(seed, right=0.5, items=60):
    draw = random.Random(seed)
    return [
        {"id": f"{number}", "lang": ("en", "zh")[number % 2], "fingerprint": "f"}
        | {"category": f"field {number % 3}", "correct": draw.random() < right}
        for number in range(items)
    ]


@pytest.fixture
def compared(workdir):
    """Compares two runs by their options: `compared(before, after)`."""

    def make(before, after):
        sides = {"before": before, "after": after}
        folders = [
            workdir(name, noisy(n), seed=n, options=own)
            for n, (name, own) in enumerate(sides.items())
        ]
        return compare_runs(read_runs([str(folder) for folder in folders]))

    return make


def shifts(comparison):
    own = comparison["comparisons"]["after"]["stance"]
    return {
        (dimension, lang): record["reading"]
        for dimension, languages in own.items()
        for lang, record in languages.items()
    }


def test_a_planted_shift_of_stance_is_found_on_its_dimension_and_no_other(compared, tmp_path):
    comparison = compared({"stance": stances(1)}, {"stance": stances(2, moved=-0.2)})
    found = shifts(comparison)
    assert len(found) == comparison["families"]["stance"]["tests"] == 9
    assert {key for key, read in found.items() if read != "no clear change"} == {
        ("custom", lang) for lang in ("all", "en", "zh")
    }
    record = comparison["comparisons"]["after"]["stance"]["custom"]["all"]
    assert record["reading"] == "lower"
    assert record["n"] == 14  # the versions of an item are one
    assert record["difference"] == pytest.approx(-0.2, abs=0.05)
    assert record["low"] < record["difference"] < record["high"]
    assert 0 < record["detectable"] < 0.2
    assert record["family"] == "stance"
    # Two families were tested: each has half of the rate of false alarms.
    assert [own["level"] for own in comparison["families"].values()] == pytest.approx([0.025] * 2)
    assert comparison_figures(comparison)["after"]["stance.custom.all.difference"] < 0

    line = "after: Custom, all languages: lower (−0.2"
    assert any(each.startswith(line) for each in comparison_lines(comparison))
    write_comparison_report(tmp_path / "report.html", comparison=comparison)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "after, stance: 3 of 9 shifts are clear" in page
    assert "Custom, Chinese: lower" in page
    assert "Economy, Chinese: " not in page


def test_where_no_stance_has_moved_the_report_says_so(compared, tmp_path):
    comparison = compared({"stance": stances(1)}, {"stance": stances(3)})
    assert set(shifts(comparison).values()) == {"no clear change"}
    write_comparison_report(tmp_path / "report.html", comparison=comparison)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "after, stance: no clear change" in page


def test_few_items_are_described_and_not_tested(compared, tmp_path):
    """As of the shipped statements, four for each dimension."""
    comparison = compared({"stance": stances(1, items=4)}, {"stance": stances(2, -0.5, items=4)})
    assert set(shifts(comparison).values()) == {"too few pairs to say"}
    record = comparison["comparisons"]["after"]["stance"]["custom"]["all"]
    assert record["low"] < -0.4 < record["high"]
    assert record["detectable"] is None
    assert "stance" not in comparison["families"]
    write_comparison_report(tmp_path / "report.html", comparison=comparison)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "A dimension needs at least 10 items, and has 4 at most." in page


def test_a_gain_on_multiple_choice_is_found_by_mcnemar_s_test(compared, tmp_path):
    before, after = choices(1, 0.3, 120), choices(2, 0.8, 120)
    comparison = compared({"choice": before}, {"choice": after})
    own = comparison["comparisons"]["after"]["choice"]
    for lang, record in own["languages"].items():
        sides = [
            [each["correct"] for each in side if each["lang"] == lang] for side in (before, after)
        ]
        assert record["p"] == pytest.approx(mcnemar_exact(*sides))
        assert (record["before"], record["after"]) == tuple(sum(side) / 60 for side in sides)
        assert record["reading"] == "higher"
        assert record["gained"] - record["lost"] == sum(sides[1]) - sum(sides[0])
        assert 0 < record["detectable"] < 0.5
    assert comparison["families"]["choice"]["tests"] == 2
    assert set(own["categories"]) == {f"field {n}" for n in range(3)}
    assert "reading" not in own["categories"]["field 0"]["en"]
    assert comparison_figures(comparison)["after"]["choice.languages.zh.low"] > 0
    write_comparison_report(tmp_path / "report.html", comparison=comparison)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "after, Chinese, multiple choice: higher" in page
    assert "Field 2, English" in page


def test_other_items_under_the_same_ids_aren_t_paired(compared):
    before, after = stances(1), stances(2)
    for record in after[:5]:
        record["fingerprint"] = "other words"
    comparison = compared({"stance": before, "choice": choices(1)}, {"stance": after})
    assert comparison["notes"] == [
        "after: 79 items of the measure stance are the same as in before and are compared (of up "
        "to 84).",
        "The measure choice isn't compared with after.",
    ]
    assert "choice" not in comparison["comparisons"]["after"]
    assert set(comparison["families"]) == {"languages", "stance"}
