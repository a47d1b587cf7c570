"""The report on a phone's screen and on a desk's, in both languages, as Chromium lays it out.

Needs chromium and chromedriver.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import compared, demo, domains, evaluation
from tests.report.test_judging import judged
from tests.slow.browser import Browser, browser
from vcjax.report import write_demo_report, write_evaluation_report
from vcjax.report.comparison import write_comparison_report

__all__ = ["compared", "demo", "domains", "evaluation", "judged"]  # fixtures

WIDTH = 375
LONG = "https://example.org/" + "a-path-that-nothing-breaks/" * 12

# What a reader sees: the page's own width, and what sticks out of it without a box that scrolls.
_LAYOUT = """
const boxes = [...document.querySelectorAll('body *')];
boxes.forEach(box => { if (box.tagName === 'DETAILS') box.open = true; });
const inside = box => box.closest('.scroll') && !box.matches('.scroll');
return {
  screen: window.innerWidth,
  page: document.documentElement.scrollWidth,
  outside: boxes.filter(box => !inside(box) && !box.closest('svg *'))
    .filter(box => box.getBoundingClientRect().right > window.innerWidth + 0.5)
    .map(box => box.outerHTML.slice(0, 120)),
  scrolling: [...document.querySelectorAll('.scroll')]
    .filter(box => box.scrollWidth > box.clientWidth).length,
  plots: [...document.querySelectorAll('svg')].map(plot => plot.getBoundingClientRect().width),
  smallest: Math.min(...boxes.filter(box => !box.closest('svg') && box.innerText)
    .map(box => parseFloat(getComputedStyle(box).fontSize))),
};
"""


@pytest.fixture(scope="module")
def phone(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), WIDTH, 812, mobile=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), 1280, 900) as opened:
        yield opened


def layout_of(phone: Browser, page: Path) -> dict[str, Any]:
    phone.open(page.as_uri())
    return phone.run(_LAYOUT)


REPORTS = ("demo", "evaluation", "evaluation zh", "judged", "judged zh", "compared", "compared zh")


@pytest.fixture(params=REPORTS)
def report(request, tmp_path) -> Path:
    """A whole report; the demo's models answered at length and without a space."""
    path = tmp_path / "report.html"
    name, _, language = request.param.partition(" ")
    summary = request.getfixturevalue(name)
    if name == "demo":
        samples = [{**sample, "before": LONG, "after": LONG} for sample in summary["samples"]]
        write_demo_report(path, **{**summary, "samples": samples})
    elif name == "compared":
        write_comparison_report(path, comparison=summary, language=language or "en")
    else:
        write_evaluation_report(path, summary=summary, language=language or "en")
    return path


@pytest.fixture
def changed(evaluation, tmp_path) -> Callable[[str, str], Path]:
    """The report of an evaluation with a text of it replaced."""

    def change(old: str, new: str) -> Path:
        path = tmp_path / "changed.html"
        write_evaluation_report(path, summary=evaluation)
        html = path.read_text(encoding="utf-8")
        assert old in html
        path.write_text(html.replace(old, new), encoding="utf-8")
        return path

    return change


def test_nothing_sticks_out_of_a_phone_s_screen(phone, report):
    layout = layout_of(phone, report)
    assert layout["screen"] == layout["page"] == WIDTH
    assert layout["outside"] == []
    assert layout["scrolling"] == 0  # no table is cut
    assert layout["smallest"] >= 11
    assert layout["plots"]
    assert all(200 < width <= WIDTH for width in layout["plots"])


def test_no_table_is_cut_on_a_desk_s_screen(desk, report):
    layout = layout_of(desk, report)
    assert layout["outside"] == []
    assert layout["scrolling"] == 0


def test_without_its_viewport_the_page_would_stick_out(phone, changed):
    desktop = layout_of(
        phone, changed('content="width=device-width, initial-scale=1"', 'content=""')
    )
    assert desktop["screen"] > 2 * WIDTH


def test_without_rows_as_lists_tables_would_be_cut(phone, changed):
    assert layout_of(phone, changed("(max-width: 40rem)", "(max-width: 1px)"))["scrolling"] > 0
