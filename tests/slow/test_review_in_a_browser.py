"""Two people score ten answers by keyboard, each in a browser of their own, while the server is
killed. Needs chromium and chromedriver."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.processes import started
from tests.review.conftest import write_evaluation
from tests.serve.servers import eventually
from tests.slow.browser import Browser, browser
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify

PHONE = 375
LI = (5, 3, 4, 0, 2, 5, 1, 4, 4, 3)
WU = (4, 3, 5, 0, 3, 5, 1, 2, 4, 2)
"""What two names that exist in this test alone press, question by question."""

_LAYOUT = """
const boxes = [...document.querySelectorAll('body *')].filter(box => box.checkVisibility());
return {
  screen: window.innerWidth,
  page: document.documentElement.scrollWidth,
  outside: boxes
    .filter(box => box.getBoundingClientRect().right > window.innerWidth + 0.5)
    .map(box => box.outerHTML.slice(0, 120)),
  small: boxes.filter(box => box.innerText && parseFloat(getComputedStyle(box).fontSize) < 11)
    .map(box => box.outerHTML.slice(0, 120)),
  title: document.title,
  images: document.images.length,
};
"""


class Server:
    """`launch.review`, which may be killed and started again at the same port."""

    def __init__(self, cache: Path, *flags: str) -> None:
        self._cache, self._flags, self.port = cache, flags, 0

    def start(self) -> "Server":
        flags = [*self._flags, f"--port={self.port}"]
        self.process = started("review", flags, self._cache, stdout=subprocess.DEVNULL)
        assert self.process.stderr is not None
        lines = iter(self.process.stderr.readline, "")
        found = (re.search(r"at (http://127\.0\.0\.1:(\d+)/)", line) for line in lines)
        match = next(match for match in found if match)
        self.address, self.port = match[1], int(match[2])
        return self

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


class Person:
    """Somebody before the page, who uses the keyboard and nothing else.

    Attributes:
      given: the scores that they left, by the code of the answer.
    """

    def __init__(self, screen: Browser, name: str) -> None:
        self.screen, self.name = screen, name
        self.given: dict[str, int] = {}

    def begin(self, address: str) -> None:
        self.screen.open(address)
        self.wait(lambda: self.shows("start") and self.focus() == "annotator")
        self.screen.type(self.name)
        self.screen.press("Enter")
        self.wait(lambda: self.shows("review") and bool(self.codes()))

    def score(self, value: int, reason: str = "") -> str:
        """Scores the answer that is shown; returns its code."""
        (code,) = self.codes()
        self.screen.press(str(value))
        if reason:
            self.screen.press("r")
            self.screen.type(reason)
            self.screen.press("Escape")
        self.screen.press("Enter")
        self.wait(lambda: self.codes() != [code])
        self.given[code] = value
        return code

    def codes(self) -> list[str]:
        script = "return [...document.querySelectorAll('.answer')].map(box => box.dataset.code)"
        return [] if self.heading().startswith("All done") else self.screen.run(script)

    def heading(self) -> str:
        return self.text("heading")

    def text(self, id: str) -> str:
        return self.screen.run("return document.getElementById(arguments[0]).innerText", id)

    def shows(self, id: str) -> bool:
        return not self.screen.run("return document.getElementById(arguments[0]).hidden", id)

    def focus(self) -> str:
        return self.screen.run("return document.activeElement.id")

    def wait(self, is_so: Callable[[], bool]) -> None:
        eventually(is_so, 30)

    def tables(self) -> list[list[list[str]]]:
        """The cells of all tables of the page."""
        return self.screen.run(
            "return [...document.querySelectorAll('table')].map(table => [...table.rows]"
            ".map(row => [...row.cells].map(cell => cell.innerText)))"
        )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Path:
    """Five questions in two languages: ten answers."""
    return write_evaluation(tmp_path_factory.mktemp("evaluations"), "quokka-7b")


@pytest.fixture
def serve(evaluation, tmp_path, script_cache) -> Iterator[Callable[..., Server]]:
    """A function that starts a server of the evaluation's review, with flags."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        given = [f"--run={evaluation}", f"--workdir={tmp_path / 'review'}", *flags]
        servers.append(Server(script_cache, *given))
        return servers[-1].start()

    yield start
    for server in servers:  # where a test failed before it ended its server
        server.process.kill()
        server.process.wait()


@pytest.fixture
def li(tmp_path) -> Iterator[Person]:
    with browser(tmp_path / "li") as screen:
        yield Person(screen, "Li")


@pytest.fixture
def wu(tmp_path) -> Iterator[Person]:
    with browser(tmp_path / "wu", PHONE, 812, mobile=True) as screen:
        yield Person(screen, "Wu")


def test_two_people_score_ten_answers_and_their_agreement_is_what_they_agreed(
    serve, li, wu, tmp_path
):
    server = serve()
    li.begin(server.address)
    wu.begin(server.address)
    for value in LI[:4]:
        li.score(value, reason="clear" if value == 5 else "")
    for value in WU[:3]:
        wu.score(value)

    # Killed while an answer is scored and a reason half written: the page keeps both.
    (code,) = li.codes()
    li.screen.press(str(LI[4]), "r")
    li.screen.type("Half a ")
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    li.screen.press("Escape", "Enter")
    li.wait(lambda: "can't be reached" in li.text("status"))
    assert li.codes() == [code]
    server.start()
    li.screen.open(server.address)
    li.wait(lambda: li.shows("review") and li.codes() == [code])
    assert li.heading() == "Question 5 of 10"
    li.screen.press("r")
    li.screen.type("reason")
    li.screen.press("Escape", "Enter")
    li.wait(lambda: li.heading() == "Question 6 of 10")
    li.given[code] = LI[4]

    # The other one goes on without having noticed; takes one back, and changes another.
    last = wu.score(1)
    wu.screen.press("u")
    wu.wait(lambda: wu.codes() == [last])
    wu.score(WU[3])
    wu.screen.press("Left")
    wu.wait(lambda: wu.codes() == [last])
    assert wu.text("already") == "· scored before"
    wu.screen.press("Right")
    wu.wait(lambda: wu.heading() == "Question 5 of 10")
    for value in WU[4:]:
        wu.score(value)
    for value in LI[5:]:
        li.score(value)
    for person in (li, wu):
        person.wait(lambda person=person: person.heading() == "All done. Thank you!")
    assert len(li.given) == len(wu.given) == 10
    assert li.given.keys() == wu.given.keys()
    assert list(li.given) != list(wu.given)  # each in an order of their own

    expected = agreement(list(li.given.values()), [wu.given[code] for code in li.given])
    summary = tmp_path / "review" / "summary.json"
    eventually(lambda: [a["left"] for a in read_json(summary)["annotators"].values()] == [0, 0])
    found = read_json(summary)["agreement"]["scores"]
    (pair,) = found["pairs"]
    assert found["n"] == pair["n"] == 10
    assert found["alpha"]["value"] == pytest.approx(expected["alpha"])
    assert pair["same"] == expected["same"]
    assert pair["kappa"]["value"] == pytest.approx(expected["kappa"])
    assert pair["kappa_quadratic"]["value"] == pytest.approx(expected["kappa_quadratic"])

    records = [record for _, record in read_jsonl(tmp_path / "review" / "scores.jsonl")]
    assert Counter((r["judge"], r["family"]) for r in records) == {
        ("Li", "human"): 10,
        ("Wu", "human"): 10,
    }
    scores = {name: sorted(r["score"] for r in records if r["judge"] == name) for name in LEFT}
    assert scores == {name: sorted(values) for name, values in LEFT.items()}
    assert [r["reason"] for r in records if r["reason"]] == ["clear", "Half a reason"]

    for person in (li, wu):
        person.screen.open(f"{server.address}agreement")
        person.wait(lambda person=person: len(person.tables()) == 3)
        people, together, two = person.tables()
        assert [row[:4] for row in people[1:]] == [["Li", "10", "0", "0"], ["Wu", "10", "0", "0"]]
        assert together[1][1].startswith(f"{shown(expected['alpha'])} [")
        assert together[1][2] == "10"
        assert two[1][:3] == ["Li – Wu", "10", f"{expected['same']:.2f}"]
        assert two[1][3].startswith(f"{shown(expected['kappa'])} [")
        assert two[1][4].startswith(f"{shown(expected['kappa_quadratic'])} [")
        check_layout(person)
    assert server.end(signal.SIGTERM) == 0
    assert {finding.status for finding in verify(tmp_path / "review")} == {"ok"}


LEFT = {"Li": LI, "Wu": WU}


def test_pairs_are_scored_side_by_side_in_chinese_and_nothing_in_an_answer_runs(
    evaluation, serve, wu, tmp_path
):
    other = write_evaluation(evaluation.parent, "wombat")
    server = serve(f"--against={other}", "--annotator=Wu")
    wu.screen.open(server.address)
    wu.wait(lambda: wu.shows("review") and bool(wu.codes()))
    wu.screen.run("document.getElementById('interface').click()")
    sizes = []
    for number in range(1, 11):
        heading = f"第 {number} 题，共 10 题"
        wu.wait(lambda heading=heading: wu.heading() == heading)
        sizes.append(len(wu.codes()))
        check_layout(wu)
        if sizes[-1] == 2:
            wu.screen.press("4", "Enter")  # the second has no score yet
            wu.wait(lambda: wu.text("status") == "两个回答都需要评分。")
            wu.screen.press("2", "x", "5", "Enter")
        else:
            wu.screen.press("3", "Enter")
    wu.wait(lambda: wu.heading() == "全部完成，谢谢！")
    assert Counter(sizes) == {2: 8, 1: 2}
    records = [record for _, record in read_jsonl(tmp_path / "review" / "scores.jsonl")]
    records += [record for _, record in read_jsonl(tmp_path / "review" / "scores_against.jsonl")]
    by_place = Counter((r["pair"]["position"], r["score"]) for r in records if r["pair"])
    assert by_place == {(0, 4): 8, (1, 2): 8}
    assert {r["axes"]["alignment"] for r in records if r["pair"] and r["axes"]} == {5}
    errors = [line for line in wu.screen.log() if "favicon" not in line]
    assert errors == []
    assert server.end(signal.SIGINT) == 0


def shown(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def check_layout(person: Person) -> None:
    """Nothing sticks out of the screen, and no answer has become part of the page."""
    layout: dict[str, Any] = person.screen.run(_LAYOUT)
    assert layout["page"] <= layout["screen"]
    assert layout["outside"] == []
    assert layout["small"] == []
    assert layout["title"] == "vcjax review"
    assert layout["images"] == 0


def agreement(a: list[int], b: list[int]) -> dict[str, float]:
    """Of two raters of the same items, from the definitions, pair by pair."""
    n, labels = len(a), range(6)

    def kappa(cost: Callable[[int, int], float]) -> float:
        observed = sum(cost(x, y) for x, y in zip(a, b, strict=True)) / n
        chance = sum(cost(x, y) for x, y in product(a, b)) / n**2
        return 1 - observed / chance

    values = Counter(a + b)

    def ordinal(x: int, y: int) -> float:
        low, high = min(x, y), max(x, y)
        between = sum(values[label] for label in labels if low <= label <= high)
        return (between - (values[low] + values[high]) / 2) ** 2

    within = sum(ordinal(x, y) for x, y in zip(a, b, strict=True)) / n
    every = [*a, *b]
    chance = sum(ordinal(x, y) for x, y in product(every, every)) / (2 * n * (2 * n - 1))
    return {
        "same": sum(x == y for x, y in zip(a, b, strict=True)) / n,
        "kappa": kappa(lambda x, y: float(x != y)),
        "kappa_quadratic": kappa(lambda x, y: float((x - y) ** 2)),
        "alpha": 1 - within / chance,
    }
