"""A labelling sheet: the answers of a review as a CSV file to fill in elsewhere, out and in.

Spreadsheet programs are its readers. They know UTF-8 by its byte order mark; they run a cell that
begins with `=` as a formula, so that such a text gets an apostrophe before it (OWASP's advice on
CSV injection); and where a comma is the decimal sign they save with semicolons.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from vcjax.core.errors import UserError, suggest
from vcjax.core.files import replaced
from vcjax.review.annotator import LONGEST_REASON, Decision, Score
from vcjax.review.session import Session
from vcjax.review.units import Answer, Unit, unit_order
from vcjax.roles.verdict import AXES, HIGHEST, LOWEST

_TO_FILL = ("score", "reason", *AXES)
COLUMNS = ("code", "number", "lang", "domain", "question", "rubric", "answer", *_TO_FILL)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SEPARATORS = ",;\t"


def write_sheet(session: Session, path: Path, annotator: str, seed: int) -> int:
    """Writes one row for each answer that `annotator` sees, in their order; returns how many.

    The rows of a pair follow each other, with the same number and a letter. Current scores
    already are filled in.
    """
    given = session.decisions(annotator)
    rows = 0
    with (
        replaced(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", newline="") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for number, unit in enumerate(unit_order(session.material.units, seed, annotator), start=1):
            for letter, answer in zip("ab", unit.answers, strict=False):
                label = f"{number}{letter}" if len(unit.answers) > 1 else str(number)
                row = _row(unit, answer, label, given.get(unit.code))
                writer.writerow([_defused(cell) for cell in row])
                rows += 1
    return rows


def read_sheet(session: Session, path: Path, annotator: str) -> tuple[int, int]:
    """Reads a filled-in sheet into the scores of `annotator`.

    Rows without a score are left out; what was scored before is replaced. Nothing is taken over
    unless all of the sheet can be read.

    Returns:
      The number of units scored, and of those that are left.

    Raises:
      UserError: names the file and, as a spreadsheet program counts, the row.
    """
    units = {answer.code: unit for unit in session.material.units for answer in unit.answers}
    scores: dict[str, dict[str, Score]] = {}
    reasons: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    for row, cells in _rows(path):
        where, code = f"{path}: row {row}", cells["code"].strip()
        if code not in units:
            raise UserError(
                f"{where}: code {code!r} is none of this review's; it has other answers, or the "
                "cell was changed"
            )
        if code in rows:
            raise UserError(f"{where}: code {code!r} is already in row {rows[code]}")
        rows[code] = row
        # Programs on Windows write a line break within a cell as two characters.
        unit, reason = units[code].code, _fused(cells["reason"].replace("\r\n", "\n").strip())
        score = _score(cells, where)
        if score is None:
            if reason:
                raise UserError(f"{where}: a reason without a score; give one or clear the reason")
            continue
        if len(reason) > LONGEST_REASON:
            raise UserError(f"{where}: the reason is longer than {LONGEST_REASON} characters")
        scores.setdefault(unit, {})[code] = score
        reasons.setdefault(unit, []).append(reason)
    for unit, given in scores.items():
        for answer in session.units[unit].answers:
            if answer.code not in given:
                row = rows.get(answer.code)
                row_name = f"row {row}" if row else f"the row of code {answer.code!r}"
                raise UserError(
                    f"{path}: {row_name}: no score, while the other of the pair has one"
                )
    for unit, given in scores.items():
        # One reason for a pair, whichever of its rows it was written into.
        reason = "\n".join(dict.fromkeys(filter(None, reasons[unit])))
        session.decide(annotator, unit, Decision(given, reason))
    return len(scores), len(session.units) - len(scores)


def _row(unit: Unit, answer: Answer, label: str, decision: Decision | None) -> list[str]:
    item = unit.item
    asked = "\n\n".join(
        message["content"]
        if len(unit.conversation) == 1
        else f"{message['role']}: {message['content']}"
        for message in unit.conversation
    )
    score = decision and decision.scores.get(answer.code)
    filled = [str(score.score), decision.reason] if decision and score else ["", ""]
    axes = [str(score.axes.get(axis, "")) if score else "" for axis in AXES]
    shown = [answer.code, label, item.lang, item.domain, asked, item.rubric or "", answer.text]
    return [*shown, *filled, *axes]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row that isn't blank with its number."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as 'CSV UTF-8'") from None
    header = text.partition("\n")[0]
    # By the header: our column names have none of these characters, and the texts have many.
    separator = max(_SEPARATORS, key=header.count)
    # Strict, as a quote that is never closed would else take the rest of the file into one cell.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    row = 0
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_header(path, names)
        for row, cells in enumerate(reader, start=2):
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(names):
                raise UserError(f"{path}: row {row}: {len(cells)} cells, not {len(names)}")
            yield row, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: row {row + 1}: not CSV ({error})") from None


def _check_header(path: Path, names: Sequence[str]) -> None:
    for name in ("code", *_TO_FILL):
        if name not in names:
            close = suggest(name, names)
            raise UserError(f"{path}: row 1: no column {name!r}{close}; keep the names of columns")
    if len(set(filter(None, names))) < len(list(filter(None, names))):
        raise UserError(f"{path}: row 1: a column is there twice")


def _score(cells: dict[str, str], where: str) -> Score | None:
    numbers = {name: _number(cells[name], name, where) for name in ("score", *AXES)}
    score = numbers.pop("score")
    axes = {name: value for name, value in numbers.items() if value is not None}
    if score is None and axes:
        raise UserError(f"{where}: {min(axes)} without a score; give one or clear the axes")
    return None if score is None else Score(score, axes)


def _number(cell: str, name: str, where: str) -> int | None:
    cell = cell.strip()
    if not cell:
        return None
    whole = cell.removesuffix(".0").removesuffix(",0")  # as some programs write an integer
    if not (whole.isdecimal() and len(whole) == 1 and LOWEST <= int(whole) <= HIGHEST):
        raise UserError(
            f"{where}: {name} {cell!r} is not an integer from {LOWEST} to {HIGHEST}; "
            "leave the cell empty for none"
        )
    return int(whole)


def _defused(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _fused(cell: str) -> str:
    """A cell without the apostrophe that `_defused` put before it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
