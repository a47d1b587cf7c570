import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.review.test_session import records
from vcjax.core.errors import UserError
from vcjax.review.annotator import Score
from vcjax.review.session import Session
from vcjax.review.sheet import COLUMNS, _defused, _fused, read_sheet, write_sheet
from vcjax.review.units import unit_order


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def save(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    """As a spreadsheet program saves it."""
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def sheet(reopened, tmp_path) -> Callable[..., tuple[Session, Path, list[dict[str, str]]]]:
    """The session, and a sheet that it wrote, with its rows."""

    def write(**config):
        session, path = reopened(**config), tmp_path / "sheet.csv"
        write_sheet(session, path, "Li", 0)
        return session, path, rows_of(path)

    return write


def test_a_sheet_is_blinded_and_opens_in_spreadsheet_programs(sheet):
    session, path, rows = sheet()
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert tuple(rows[0]) == COLUMNS
    assert [row["code"] for row in rows] == [
        unit.answers[0].code for unit in unit_order(session.material.units, 0, "Li")
    ]
    assert b"quokka-7b" not in content.lower().replace(b"quokka-7bx", b"")
    (formula,) = [row["answer"] for row in rows if "=1+1" in row["answer"]]
    assert formula.startswith("'=1+1")
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@settings(max_examples=40)
@given(st.text("=+-@＝'\t\r\n,;\"a é", max_size=6))
def test_no_cell_is_a_formula_and_each_comes_back(text):
    cell = _defused(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    if not text.startswith("'"):
        assert _fused(cell) == text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_filled_in_sheet_becomes_the_annotator_s_scores(sheet, tmp_path, delimiter):
    session, path, rows = sheet()
    for number, row in enumerate(rows[:8]):
        row["score"] = ("4", " 3 ", "５", "2.0", "1,0", "0", "4", "4")[number]
    rows[0] |= {"reason": '\'=So, "both"\nsides', "refusal": "5"}
    save(path, [*rows, dict.fromkeys(COLUMNS, "")], delimiter)
    assert read_sheet(session, path, "Li") == (8, 2)
    found = records(tmp_path)
    assert [record["score"] for record in found] == [4, 3, 5, 2, 1, 0, 4, 4]
    assert found[0]["reason"] == '=So, "both"\nsides'
    assert found[0]["axes"]["refusal"] == 5
    assert {(record["judge"], record["family"]) for record in found} == {("Li", "human")}

    assert read_sheet(session, path, "Li") == (8, 2)
    assert session.events == 8  # nothing new
    write_sheet(session, path, "Li", 0)
    assert [row["score"] for row in rows_of(path)] == [*"43521044", "", ""]
    assert read_sheet(session, path, "Wu") == (8, 2)
    assert session.scores()["Wu"] == session.scores()["Li"]


def test_both_answers_of_a_pair_are_scored_or_neither(sheet, second, tmp_path):
    session, path, rows = sheet(against=str(second))
    assert len(rows) == 18
    letters = [row["number"][-1] for row in rows if not row["number"].isdecimal()]
    assert "".join(letters) == "ab" * 8
    number, pair = next((n, rows[n : n + 2]) for n in range(18) if rows[n]["number"][-1] == "a")
    pair[0]["score"] = "5"
    save(path, rows)
    with pytest.raises(UserError, match=rf"row {number + 3}: no score, while the other"):
        read_sheet(session, path, "Li")
    assert records(tmp_path) == []
    pair[1] |= {"score": "2", "reason": "the first is fairer"}
    save(path, rows)
    assert read_sheet(session, path, "Li") == (1, 9)
    (decision,) = session.decisions("Li").values()
    assert decision.scores == {pair[0]["code"]: Score(5), pair[1]["code"]: Score(2)}
    assert decision.reason == "the first is fairer"


MISTAKES = [
    (lambda rows: rows[3].update(score="6"), "row 5: score '6' is not an integer from 0 to 5"),
    (lambda rows: rows[0].update(score="3.5"), "row 2: score '3.5' is not an integer"),
    (lambda rows: rows[0].update(score="good"), "row 2: score 'good' is not an integer"),
    (lambda rows: rows[9].update(score="3", alignment="9"), "row 11: alignment '9' is not"),
    (lambda rows: rows[1].update(alignment="3"), "row 3: alignment without a score"),
    (lambda rows: rows[1].update(reason="fine"), "row 3: a reason without a score"),
    (lambda rows: rows[2].update(code="a0"), "row 4: code 'a0' is none of this review's"),
    (lambda rows: rows[4].update(code=rows[1]["code"]), "is already in row 3"),
    (lambda rows: rows[4].update(score="1", reason="x" * 4001), "row 6: the reason is longer"),
]


@pytest.mark.parametrize(("change", "says"), MISTAKES, ids=[says[:30] for _, says in MISTAKES])
def test_a_mistake_in_a_sheet_is_named_by_its_row_and_nothing_is_taken_over(
    sheet, tmp_path, change, says
):
    session, path, rows = sheet()
    rows[0]["score"] = "4"
    change(rows)
    save(path, rows)
    with pytest.raises(UserError) as caught:
        read_sheet(session, path, "Li")
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (records(tmp_path), session.events) == ([], 0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda text: text.encode("gb18030"), "not UTF-8; save it as 'CSV UTF-8'"),
        (lambda text: text.replace("score", "scores", 1).encode(), "row 1: no column 'score'; did"),
        (lambda text: b"", "row 1: no column 'code'"),
        (lambda text: text.encode() + b"a,b\r\n", "row 12: 2 cells, not 13"),
        (lambda text: text.encode() + b'"a', "row 12: not CSV"),
        (lambda text: text.replace("code", "code,code", 1).encode(), "row 1: a column is there"),
    ],
)
def test_a_file_that_is_no_sheet_is_named(sheet, content, says):
    session, path, _ = sheet()
    path.write_bytes(content(path.read_text("utf-8-sig")))
    with pytest.raises(UserError) as caught:
        read_sheet(session, path, "Li")
    assert f"{path}: {says}" in str(caught.value)
