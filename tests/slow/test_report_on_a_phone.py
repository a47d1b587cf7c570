"""The report on a phone's screen, as Chromium lays it out. Needs chromium and chromedriver."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.report.conftest import demo, evaluation  # noqa: F401  (fixtures)
from vcjax.report import write_demo_report, write_evaluation_report

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


class Phone:
    """A session of chromedriver, which speaks W3C's WebDriver protocol."""

    def __init__(self, port: int, profile: Path) -> None:
        self._root = f"http://127.0.0.1:{port}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        arguments += ["--no-first-run", "--disable-background-networking"]
        arguments += [f"--user-data-dir={profile}"]
        screen = {"width": WIDTH, "height": 812, "pixelRatio": 3.0, "mobile": True}
        options = {"args": arguments, "mobileEmulation": {"deviceMetrics": screen}}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        session = self._post("session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"session/{session['sessionId']}"

    def layout(self, page: Path) -> dict[str, Any]:
        self._post(f"{self._session}/url", {"url": page.as_uri()})
        return self._post(f"{self._session}/execute/sync", {"script": _LAYOUT, "args": []})

    def close(self) -> None:
        with urlopen(Request(f"{self._root}/{self._session}", method="DELETE"), timeout=60):
            pass

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = Request(f"{self._root}/{path}", json.dumps(body).encode())
        with urlopen(request, timeout=120) as reply:
            return json.load(reply)["value"]


@pytest.fixture(scope="module")
def phone(tmp_path_factory) -> Iterator[Phone]:
    assert shutil.which("chromedriver"), "apt-get install chromium chromium-driver"
    with subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        found = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
        port = next(int(match[1]) for match in found if match)
        browser = Phone(port, tmp_path_factory.mktemp("profile"))
        try:
            yield browser
        finally:
            browser.close()
            driver.terminate()


@pytest.fixture(params=["demo", "evaluation"])
def report(request, tmp_path) -> Path:
    """A whole report whose models answered at length and without a space."""
    path = tmp_path / "report.html"
    if request.param == "demo":
        arguments = request.getfixturevalue("demo")
        samples = [{**sample, "before": LONG, "after": LONG} for sample in arguments["samples"]]
        write_demo_report(path, **{**arguments, "samples": samples})
    else:
        write_evaluation_report(path, summary=request.getfixturevalue("evaluation"), samples=())
    return path


@pytest.fixture
def changed(report) -> Callable[[str, str], Path]:
    """The report with a text of it replaced."""

    def change(old: str, new: str) -> Path:
        html = report.read_text(encoding="utf-8")
        assert old in html
        path = report.with_name("changed.html")
        path.write_text(html.replace(old, new), encoding="utf-8")
        return path

    return change


def test_nothing_sticks_out_of_a_phone_s_screen(phone, report):
    layout = phone.layout(report)
    assert layout["screen"] == layout["page"] == WIDTH
    assert layout["outside"] == []
    assert layout["scrolling"] > 0  # tables are wider, each in a box of its own
    assert layout["smallest"] >= 11
    assert layout["plots"]
    assert all(200 < width <= WIDTH for width in layout["plots"])


def test_without_its_viewport_or_its_boxes_the_page_would_stick_out(phone, changed):
    desktop = phone.layout(changed('content="width=device-width, initial-scale=1"', 'content=""'))
    assert desktop["screen"] > 2 * WIDTH
    assert phone.layout(changed("overflow-x: auto;", ""))["page"] > WIDTH
