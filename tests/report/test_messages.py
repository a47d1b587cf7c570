"""Reports in Chinese: every sentence has its translation, and no number depends on the language."""

import ast
import copy
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, nodes

from tests.report.bilingual import assert_translated, both
from tests.report.test_judging import judged
from vcjax.adversarial.pressure.rates import RATES
from vcjax.adversarial.reasons import AnswerReason, AttemptReason, Origin, QueryReason
from vcjax.charter.checks import CHECKS
from vcjax.core.errors import UserError
from vcjax.evaluation.judging.judge_check import PROBLEMS
from vcjax.evaluation.judging.planted import KINDS
from vcjax.report import messages, write_demo_report, write_evaluation_report
from vcjax.report.comparison import write_comparison_report
from vcjax.report.formats import listed, number, with_bounds
from vcjax.report.messages import (
    catalogue,
    check_language,
    identifier,
    recorded,
    together,
    tr,
    written_in,
)
from vcjax.roles.verdict import AXES
from vcjax.roles.verdict import KINDS as VERDICTS
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import NO_CHANGE, TOO_FEW, UNTESTED

__all__ = ["judged"]  # fixture

SOURCE = Path(str(files("vcjax.report")))
REASONS = (Origin, QueryReason, AttemptReason, AnswerReason)
LEDGER_REASONS = (
    r"score below|check answers/sane_length|question repeats another|actor: refusal|too short"
    r"|malformed|1-cpt|2-sft|train|demo|verify|gender-01-(?:en|zh)"
)
"""Names by which a ledger is queried, which aren't translated; of folders, a script and an item."""
FIELD = re.compile(r"\{(\w*)\}")


def literals(node: ast.expr, where: str) -> Iterator[str]:
    """The texts that a first argument can be; a name is that of a constant that `message` marks."""
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body, where)
        yield from literals(node.orelse, where)
    else:
        assert isinstance(node, ast.Name | ast.Subscript), f"{where}: not a literal"


@pytest.fixture(scope="module")
def sentences() -> dict[str, str]:
    """Every sentence that the code or a template translates, and where."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        if path == SOURCE / "messages.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                where = f"{path.relative_to(SOURCE)}:{node.lineno}"
                if node.func.id in ("tr", "message"):
                    found |= dict.fromkeys(literals(node.args[0], where), where)
    for path in (SOURCE / "templates").glob("*.jinja"):
        for call in Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Call):
            named = isinstance(call.node, nodes.Name) and call.node.name in ("tr", "message")
            if named and isinstance(call.args[0], nodes.Const):
                found[call.args[0].value] = f"{path.name}:{call.lineno}"
    return found


def test_every_sentence_has_its_chinese(sentences):
    missing = {text: where for text, where in sentences.items() if text not in catalogue("zh")}
    assert not missing


def test_no_translation_is_left_of_a_sentence_that_is_gone(sentences):
    found_by_form = {
        text for name in ("records.yaml", "names.yaml") for text in messages.entries("zh", name)
    }
    assert set(catalogue("zh")) - found_by_form <= set(sentences)


def test_a_translation_has_the_values_of_its_sentence():
    for english, chinese in catalogue("zh").items():
        # Each may be there once more: Chinese repeats what English refers to.
        assert set(FIELD.findall(english)) == set(FIELD.findall(chinese)), english


def test_what_summaries_have_in_words_has_its_chinese():
    words = [*PROBLEMS, "higher", "lower", NO_CHANGE, TOO_FEW, UNTESTED]
    words += [reason.help for table in REASONS for reason in table]
    words += [rate.label for rate in RATES.values()]
    assert not [word for word in words if word not in catalogue("zh")]
    with written_in("zh"):
        for name in (*KINDS, *AXES, *CHECKS):
            assert not re.search("[A-Za-z]", identifier(name)), name


def test_a_recorded_sentence_is_found_by_its_form_and_keeps_its_values():
    with written_in("zh"):
        assert recorded("no answer: error") == "没有回答：出错"
        assert recorded("2 questions without a score (malformed: 1, no answer: length: 1)") == (
            "2 道题没有得分（格式无效：1、没有回答：超出长度：1）"
        )
        assert recorded("something that nobody has translated") == (
            "something that nobody has translated"
        )
    assert recorded("no answer: error") == "no answer: error"


def test_a_sentence_without_a_translation_stays_english():
    with written_in("zh"):
        assert tr("Not in the catalogue: {n}", n=3) == "Not in the catalogue: 3"


def test_chinese_has_its_own_punctuation():
    with written_in("zh"):
        assert listed(["甲", "乙", "丙"]) == "甲、乙和丙"
        assert with_bounds(Interval(0.5, 0.25, 0.75, 9), number) == "0.50（0.25 至 0.75）"
        assert together("一。", "", "二。") == "一。二。"
    assert together("One.", "", "Two.") == "One. Two."
    assert with_bounds(Interval(0.5, 0.25, 0.75, 9), number) == "0.50 (0.25 to 0.75)"


@given(st.text(), st.text())
def test_values_are_not_read_as_templates(first, second):
    with written_in("zh"):
        assert tr("{check} ({principle})", check=first, principle=second) == f"{first}（{second}）"


def test_an_unknown_language_is_an_error_that_names_the_field():
    with pytest.raises(UserError, match=r"config\.language: no report is written in 'cn'.*en, zh"):
        check_language("cn", "config.language")


@pytest.fixture(params=["evaluation", "judged", "compared"])
def pages(request, tmp_path, domains):
    summary = request.getfixturevalue(request.param)
    if request.param == "compared":
        return both(tmp_path, write_comparison_report, comparison=summary)
    charter = {**summary["charter"], "domains": domains}
    return both(tmp_path, write_evaluation_report, summary={**summary, "charter": charter})


def test_a_chinese_report_of_the_demo_has_no_english_and_the_same_numbers(tmp_path, demo, domains):
    summary = copy.deepcopy(demo["summary"])
    for side in ("before", "after"):
        summary["evaluation"][side]["charter"]["domains"] = domains
    synthesis = summary["synthesis"]
    synthesis["queries"] = {"seeds": dict.fromkeys(("attempts", *VERDICTS), 1)}
    synthesis["reasons"]["rejected"]["actor: refusal"] = 3
    synthesis["attacker_faults"] = {"too short": 2}
    summary["pressure"]["languages"]["en"]["traits"]["before"] = "contrarian"
    pages = both(tmp_path, write_demo_report, **demo | {"summary": summary})
    assert_translated(*pages, names=LEDGER_REASONS)


def test_a_chinese_report_has_no_english_and_the_same_numbers(pages):
    assert_translated(*pages)


def test_what_is_written_after_a_chinese_report_is_english_again(pages):
    assert tr("Mean") == "Mean"
