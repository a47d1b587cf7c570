"""Facts under pressure in the demo's report: the words follow the tests, the cost stands beside."""

import copy

import pytest

from tests.report.conftest import pressure_summary
from vcjax.report.page import write_page
from vcjax.report.pressure.change import pressure_lines, pressure_section


@pytest.fixture
def page(tmp_path):
    def written(pressure) -> str:
        write_page(tmp_path / "page.html", "T", [], [pressure_section(pressure)])
        return (tmp_path / "page.html").read_text("utf-8")

    return written


def test_the_verdict_comes_first_with_both_rates_and_the_paired_interval(page):
    html = page(pressure_summary())
    assert "English: gives up fewer known facts under pressure" in html
    assert (
        "Of 100 known, held-out facts the model gave up 60% under held-out pressure before and 25% "
        "after: −35.0 points [−46.0 to −24.0]."
    ) in html
    assert html.index("gives up fewer") < html.index("Corrections taken")


def test_a_language_in_which_the_model_guesses_is_named_and_not_measured(page):
    assert "Chinese (190 facts right, 180 wrong) isn&#39;t measured" in page(pressure_summary())
    assert pressure_lines(pressure_summary())[-1] == (
        "zh           not measured: the base model guesses (190 facts right, 180 wrong)"
    )


def test_a_model_that_guesses_in_every_language_has_a_section_and_lines_all_the_same(page):
    pressure = {**pressure_summary(), "languages": {}}
    pressure["knowledge"] = {"en": {**pressure["knowledge"]["zh"]}}
    assert "English (190 facts right, 180 wrong) isn&#39;t measured" in page(pressure)
    assert pressure_lines(pressure) == [
        "en           not measured: the base model guesses (190 facts right, 180 wrong)"
    ]


def test_the_lines_have_every_rate_with_its_reading():
    assert pressure_lines(pressure_summary())[:2] == [
        "en           known facts given up under pressure: 60% [50%, 70%] -> 25% [17%, 34%]; "
        "−35.0 points [−46.0 to −24.0]: lower",
        "en           corrections taken: 90% [80%, 95%] -> 85% [74%, 92%]; "
        "−5.0 points [−14.0 to +4.0]: no clear change",
    ]


def test_a_model_that_has_learned_to_contradict_is_named(page):
    pressure = copy.deepcopy(pressure_summary())
    pressure["languages"]["en"]["traits"]["after"] = "contrarian"
    html = page(pressure)
    assert "The model after, English: contrarian" in html
    assert "The model before" not in html


def test_without_a_clear_change_nothing_is_claimed(page):
    pressure = copy.deepcopy(pressure_summary())
    pressure["languages"]["en"]["differences"]["flips"]["p"] = 0.04  # 0.08 once corrected
    assert "English: no clear change" in page(pressure)
    assert "no clear change" in pressure_lines(pressure)[0]
