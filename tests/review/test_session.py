import json

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.review.agreement import Summary, preferences
from vcjax.review.annotator import Decision, Score, check_name
from vcjax.review.session import Session

EN = ("en",)


def scored(session: Session, name: str, value: int, **more) -> str:
    """Gives every answer of the unit that `name` sees the same score; returns the unit's code."""
    unit = session.view(name).unit
    assert unit is not None
    scores = {answer.code: Score(value, more.get("axes", {})) for answer in unit.answers}
    session.decide(name, unit.code, Decision(scores, more.get("reason", "")))
    return unit.code


def records(folder, name: str = "scores.jsonl") -> list[dict]:
    return [record for _, record in read_jsonl(folder / name)]


def test_a_score_is_a_record_of_a_judge_whose_family_is_human(reopened, tmp_path, first):
    session = reopened()
    code = scored(session, "Li", 4, axes={"alignment": 5}, reason="Weighs both.")
    (record,) = records(tmp_path)
    (theirs,) = [r for _, r in read_jsonl(first / "scores.jsonl") if r["id"] == record["id"]]
    unit = session.units[code]
    assert record | {"fingerprint": ""} == theirs | {
        "fingerprint": "",
        "judge": "Li",
        "family": "human",
        "score": 4,
        "unscored": None,
        "reason": "Weighs both.",
        "reply": None,
        "axes": {"alignment": 5, "factual_care": None, "helpfulness": None, "refusal": None},
        "sample": 0,
        "prompt_lang": unit.item.lang,
        "pair": None,
    }


def test_a_review_killed_after_any_action_goes_on_at_the_same_place(reopened, tmp_path):
    session = reopened()
    actions = [
        lambda: scored(session, "Li", 1),
        lambda: session.decide("Li", session.view("Li").unit.code, Decision({}, "not mine")),
        lambda: scored(session, "Wu", 5),
        lambda: scored(session, "Li", 2),
        lambda: session.move("Li", "back"),
        lambda: session.move("Li", "back"),
        lambda: session.move("Li", "forward"),
        lambda: session.undo("Li", session.view("Li").undoable),
        lambda: scored(session, "Li", 3),
        lambda: session.move("Li", "back", EN),
    ]
    for act in actions:
        act()
        seen, standing = [session.view(name) for name in ("Li", "Wu")], records(tmp_path)
        session = reopened()
        assert [session.view(name) for name in ("Li", "Wu")] == seen
        assert records(tmp_path) == standing


def test_a_line_that_a_kill_cut_off_is_as_if_it_had_not_been(reopened, tmp_path):
    session = reopened()
    scored(session, "Li", 1)
    before, standing = session.view("Li"), records(tmp_path)
    scored(session, "Li", 2)
    for name in ("journal.jsonl", "scores.jsonl"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-5])
    assert reopened().view("Li") == before
    assert records(tmp_path) == standing


def test_a_kill_between_the_two_files_loses_no_score(reopened, tmp_path):
    session = reopened()
    scored(session, "Li", 1)
    whole = (tmp_path / "scores.jsonl").read_bytes()
    (tmp_path / "scores.jsonl").write_bytes(b"")
    reopened()
    assert (tmp_path / "scores.jsonl").read_bytes() == whole


def test_a_changed_or_withdrawn_score_leaves_one_record_or_none(reopened, tmp_path):
    session = reopened()
    first_unit = scored(session, "Li", 1)
    scored(session, "Li", 2)
    session.move("Li", "back")
    session.move("Li", "back")
    view = session.view("Li")
    assert view.unit.code == first_unit
    assert [score.score for score in view.decision.scores.values()] == [1]
    scored(session, "Li", 5)
    assert [record["score"] for record in records(tmp_path)] == [2, 5]
    session.undo("Li", session.view("Li").undoable)
    assert [record["score"] for record in records(tmp_path)] == [1, 2]
    session.undo("Li", session.view("Li").undoable)
    session.undo("Li", session.view("Li").undoable)
    assert records(tmp_path) == []
    assert session.view("Li").undoable is None


def test_what_a_browser_sends_twice_counts_once(reopened, tmp_path):
    session = reopened()
    unit = session.view("Li").unit
    decision = Decision({unit.answers[0].code: Score(3)})
    for _ in range(2):
        session.decide("Li", unit.code, decision)
    after = session.view("Li")
    assert (after.scored, session.events) == (1, 1)
    scored(session, "Li", 4)
    event = session.view("Li").undoable
    for _ in range(2):
        session.undo("Li", event)
    assert session.view("Li").scored == 1


def test_a_skip_is_unscored_with_its_reason_and_no_score(reopened, tmp_path):
    session = reopened()
    session.decide("Li", session.view("Li").unit.code, Decision({}, "not my field"))
    (record,) = records(tmp_path)
    assert (record["score"], record["unscored"]) == (None, "skipped")
    assert record["reason"] == "not my field"
    assert session.scores() == {"Li": {}}


def test_one_who_reads_one_language_is_done_when_that_is(reopened):
    session = reopened()
    for _ in range(5):
        unit = session.view("Li", EN).unit
        assert unit.item.lang == "en"
        session.decide("Li", unit.code, Decision({unit.answers[0].code: Score(3)}))
    done = session.view("Li", EN)
    assert (done.unit, done.scored, done.total) == (None, 5, 5)
    assert session.view("Li").total == 10
    session.move("Li", "back", EN)
    assert session.view("Li", EN).position == 4
    session.move("Li", "forward", EN)
    assert session.view("Li", EN).unit is None


def test_an_open_question_is_skipped_or_scored_before_the_next_one(reopened):
    session = reopened()
    session.move("Li", "forward")
    session.move("Li", "back")
    assert (session.view("Li").position, session.events) == (0, 0)


def test_scores_of_a_pair_say_which_is_better_whatever_the_order_shown(
    reopened, first, second, tmp_path
):
    session = reopened(against=str(second))
    better = {answer.hash: run for run, answer in hashes(session)}
    for name in ("Li", "Wu"):
        while (unit := session.view(name).unit) is not None:
            scores = {a.code: Score(4 - better[a.hash]) for a in unit.answers}
            session.decide(name, unit.code, Decision(scores))
    chosen = preferences(session.scores(), session.material.units)
    assert chosen == {name: dict.fromkeys(chosen["Li"], 1) for name in ("Li", "Wu")}
    assert len(chosen["Li"]) == 8  # of ten questions, two had equal answers
    files = records(tmp_path), records(tmp_path, "scores_against.jsonl")
    for number, evaluation in enumerate((first, second)):
        theirs = {(r["id"], r["answer_hash"]) for _, r in read_jsonl(evaluation / "answers.jsonl")}
        assert {(r["id"], r["answer_hash"]) for r in files[number]} == theirs
        assert len(files[number]) == 20
        pairs = [record["pair"] for record in files[number]]
        assert {pair["position"] for pair in pairs if pair} == {0, 1}
        assert sum(pair is None for pair in pairs) == 4
    assert all(record["score"] == 3 for record in files[1] if record["pair"])


def hashes(session):
    return [
        (run, answer) for unit in session.material.units for run, answer in enumerate(unit.answers)
    ]


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        (lambda code: Decision({"elsewhere": Score(1)}), "another answer"),
        (lambda code: Decision({code: Score(1)}, "x" * 4001), "longer than 4000"),
        (lambda code: Decision({code: Score(6)}), "score: 6 is not from 0 to 5"),
        (lambda code: Decision({code: Score(1, {"alignment": -1})}), "alignment: -1"),
        (lambda code: Decision({code: Score(1, {"tone": 1})}), "tone: no axis"),
    ],
)
def test_a_wrong_score_is_refused_and_not_written(reopened, tmp_path, decision, says):
    session = reopened()
    unit = session.view("Li").unit
    with pytest.raises(UserError, match=says):
        session.decide("Li", unit.code, decision(unit.answers[0].code))
    assert (tmp_path / "journal.jsonl").read_bytes() == b""


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\nb", "a\u202eb"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="annotator: "):
        check_name(name)
    assert check_name(" Lí ") == check_name("Li\u0301")


def test_a_damaged_journal_is_named_with_its_line(reopened, tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event": 0}\n', "utf-8")
    with pytest.raises(UserError, match=r"journal\.jsonl:1: not a record"):
        reopened()


def test_scores_of_answers_that_were_made_anew_are_kept_aside(reopened, tmp_path):
    session = reopened()
    scored(session, "Li", 4)
    line = json.loads((tmp_path / "journal.jsonl").read_text("utf-8"))
    other = {**line, "event": 1, "unit": "u-of-before"}
    with (tmp_path / "journal.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(other) + "\n")
    session = reopened()
    assert (session.strays, len(records(tmp_path))) == (1, 1)


def test_who_begins_while_the_summary_is_computed_is_in_the_next_one(material, tmp_path):
    class Busy(Session):
        """A session in which somebody else scores just after its scores were read."""

        def scores(self):
            found = super().scores()
            if "Wang" not in self.annotators:
                scored(self, "Wang", 3)
            return found

    session = Busy(material(), tmp_path, 0)
    scored(session, "Li", 4)
    summary = Summary(session, tmp_path / "summary.json")
    assert set(summary.current()["annotators"]) == {"Li"}
    assert set(summary.current()["annotators"]) == {"Li", "Wang"}
