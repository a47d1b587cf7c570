"""The page is self-contained, whatever the models wrote into it."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import escape

from vcjax.evaluation.summary import summarise
from vcjax.report import write_demo_report, write_evaluation_report
from vcjax.report.changes import comparison_readings
from vcjax.report.formats import probability

HOSTILE = '</details><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }} &amp;'
LOADING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background"}
VOID = {"meta", "br"}


class Page(HTMLParser):
    """All tags with their attributes, ids, text and whether the tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def demo_page(tmp_path: Path, arguments: dict) -> tuple[str, Page]:
    write_demo_report(tmp_path / "report.html", **arguments)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    return html, Page(html)


def evaluation_page(tmp_path: Path, summary: dict, samples=()) -> tuple[str, Page]:
    write_evaluation_report(tmp_path / "report.html", summary=summary, samples=samples)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    return html, Page(html)


def without_heads(html: str) -> str:
    """The page without the columns' heads that each cell carries for phones."""
    return re.sub(r' data-head="[^"]*"', "", html)


@pytest.fixture(params=["demo", "evaluation"])
def page(request, tmp_path, demo, evaluation):
    if request.param == "demo":
        return demo_page(tmp_path, demo)
    return evaluation_page(tmp_path, evaluation)


def test_page_loads_nothing(page):
    html, parsed = page
    for tag, attrs in parsed.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        for name in LOADING & attrs.keys():
            assert attrs[name].startswith("#"), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
    for outside in ("http://", "https://", "@import", "url(//", "file:"):
        assert outside not in html
    policy = [a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_ids_are_unique_and_every_anchor_leads_somewhere(page):
    html, parsed = page
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"][1:] for _, attrs in parsed.tags if "href" in attrs}
    targets |= {part.split(")")[0] for part in html.split("url(#")[1:]}
    assert targets <= set(ids)


def test_tables_have_boxes_that_scroll_and_the_page_is_for_phones_darkness_and_paper(page):
    """What the markup says; how it looks is tested in `tests/slow/test_report_on_a_phone.py`."""
    html, parsed = page
    viewport = [a["content"] for t, a in parsed.tags if a.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]
    classes = [attrs.get("class") for _, attrs in parsed.tags]
    assert classes.count("scroll") == sum(tag == "table" for tag, _ in parsed.tags)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_plots_follow_the_colour_scheme_and_carry_no_date(page):
    html, parsed = page
    labels = [attrs["aria-label"] for tag, attrs in parsed.tags if tag == "svg"]
    assert "Judge's mean score" in labels
    assert "Rule checks passed, Chinese" in labels
    assert "fill: var(--after)" in html
    for left in ("#010101", "#040404", "<metadata", "<dc:date", "<!DOCTYPE svg"):
        assert left not in html


def test_model_text_is_escaped_everywhere(tmp_path, demo):
    arguments = copy.deepcopy(demo)
    for sample in arguments["samples"]:
        sample.update(question=HOSTILE, before=HOSTILE, after=HOSTILE, id=HOSTILE, lang=HOSTILE)
    arguments["summary"]["model"]["reference"] = HOSTILE
    arguments["summary"]["synthesis"]["reasons"]["rejected"][HOSTILE] = 3
    arguments["summary"]["synthesis"]["cells"][0]["attack"] = HOSTILE
    arguments["lineage"][0]["folder"] = HOSTILE
    rows = arguments["metrics"]["cpt"]
    arguments["metrics"] = {HOSTILE: rows}
    html, parsed = demo_page(tmp_path, arguments)
    assert "<script" not in html
    assert "<img" not in html
    assert HOSTILE in parsed.text
    assert all("onerror" not in attrs for _, attrs in parsed.tags)


def test_hostile_names_in_plots_are_escaped_and_are_no_formula(tmp_path, evaluation):
    summary = copy.deepcopy(evaluation)
    name = f"$x$ <script>{HOSTILE}"
    summary["domains"][name] = summary["domains"]["gender"]
    _, parsed = evaluation_page(tmp_path, summary)
    assert not any(tag in {"script", "img"} for tag, _ in parsed.tags)
    assert parsed.text.count(name) == 2  # in a table for each of two languages
    assert parsed.text.count(f"{name[:27]}…") == 2  # in a plot, shortened


def test_same_input_gives_the_same_bytes(tmp_path, demo):
    first, _ = demo_page(tmp_path, demo)
    second, _ = demo_page(tmp_path, copy.deepcopy(demo))
    assert first == second


def test_report_without_samples_and_lineage(tmp_path, demo):
    arguments = {"summary": demo["summary"], "metrics": {}}
    _, parsed = demo_page(tmp_path, arguments)
    assert "No sample answers were kept." in parsed.text
    assert "is in lineage.json beside this report" in parsed.text


def test_a_text_without_utf8_form_is_written_all_the_same(tmp_path, demo):
    arguments = copy.deepcopy(demo)
    arguments["samples"][0]["after"] = "broken \ud83d half"
    _, parsed = demo_page(tmp_path, arguments)
    assert "broken ? half" in parsed.text


def test_same_family_warning_comes_first_and_only_when_it_is_so(tmp_path, demo):
    warning = "The judge is of the judged model's family: its scores are not evidence of quality"
    html, _ = demo_page(tmp_path, demo)
    body = html[html.index("<body>") :]
    assert body.index(warning.replace("'", "&#39;")) < body.index("was aligned to the charter")
    arguments = copy.deepcopy(demo)
    arguments["summary"]["same_family"] = False
    _, parsed = demo_page(tmp_path, arguments)
    assert warning not in parsed.text


def test_critic_of_the_actors_family_is_stamped(tmp_path, demo):
    arguments = copy.deepcopy(demo)
    arguments["summary"]["synthesis"]["same_family"] = True
    _, parsed = demo_page(tmp_path, arguments)
    assert "The Critic is of the Actor's model family" in parsed.text


def test_run_without_a_judge_shows_dashes_and_no_score(tmp_path, evaluation):
    answers, scores = [], []
    for number in range(20):
        record = {"id": f"q{number}", "parallel_id": f"p{number}", "answer_hash": "a"}
        answers.append({**record, "finish_reason": "stop"})
        unscored = {"domain": "gender", "lang": "en", "score": None, "unscored": "no_judge"}
        scores.append({**record, **unscored, "checks": {"p/sane_length": True}})
    summary = {**evaluation, "judge": None, "same_family": None, **summarise(answers, scores)}
    html, parsed = evaluation_page(tmp_path, summary)
    assert "No judge scored these answers" in parsed.text
    assert "<td>–</td><td>–</td><td>0</td><td>20</td>" in without_heads(
        html
    )  # mean, interval, scored, unscored
    assert "Judge's mean score" not in parsed.text  # nothing to plot


def test_missing_training_numbers_are_dashes(tmp_path, demo):
    arguments = copy.deepcopy(demo)
    for field in ("tokens", "first_loss", "seconds"):
        arguments["summary"]["stages"]["cpt"][field] = None
    arguments["summary"]["export_max_abs_diff"] = None
    html, _ = demo_page(tmp_path, arguments)
    html = without_heads(html)
    row = html[html.index('<td class="label">Continued pre-training</td>') :]
    assert row[: row.index("</tr>")] == (
        '<td class="label">Continued pre-training</td><td>–</td><td>2.931</td><td>40</td>'
        "<td>–</td><td>79,210</td><td>–</td><td>–</td>"
    )


def test_run_of_no_attempts_has_a_report(tmp_path, demo):
    arguments = copy.deepcopy(demo)
    empty = dict.fromkeys(("attempts", "accepted", "rejected", "unscored", "blocked"), 0)
    rest = {"sources": {}, "reasons": {}, "cells": [], "accept_rate_bounds": None}
    arguments["summary"]["synthesis"] = {**empty, **rest}
    _, parsed = demo_page(tmp_path, arguments)
    assert "the rate is – or –." in parsed.text


def test_words_of_direction_come_with_the_p_values_and_how_they_were_corrected(tmp_path, demo):
    html, parsed = demo_page(tmp_path, demo)
    found = comparison_readings(demo["summary"]["evaluation"]["comparison"], 0.95)
    assert {"higher", "no clear change"} <= set(found.values())
    tested = sum(read != "too few pairs to say" for read in found.values())
    assert tested < len(found)
    assert parsed.text.count(f"corrected by Holm's method for all {tested} differences") == 2
    english = demo["summary"]["evaluation"]["comparison"]["languages"]["en"]
    for record in (english["judge"], english["all_checks"], *english["checks"].values()):
        assert f"<td>{escape(probability(record['p']))}</td>" in without_heads(html)


def test_sections_come_in_order(tmp_path, demo):
    _, parsed = demo_page(tmp_path, demo)
    anchors = [attrs["id"] for tag, attrs in parsed.tags if tag == "section"]
    assert anchors == [
        *("pressure", "verdict", "results", "domains", "training"),
        *("pipeline", "samples", "limits", "lineage"),
    ]


def test_samples_stand_side_by_side_with_judge_and_failed_checks(tmp_path, demo):
    html, parsed = demo_page(tmp_path, demo)
    assert html.count('class="answer"') == 4
    assert "(empty answer)" in parsed.text
    assert "Judge: unscored" in parsed.text
    assert "Judge: 4 of 5" in parsed.text
    assert "Rule checks: 3 of 6 passed; failed: Not a refusal, No repetition and" in parsed.text
    assert '<div class="text" lang="zh">支持者认为' in html


def test_lineage_shows_short_hashes_seed_and_code(tmp_path, demo):
    _, parsed = demo_page(tmp_path, demo)
    assert "0.1.0 at 999999999999" in parsed.text
    assert "1" * 12 in parsed.text
    assert "1" * 13 not in parsed.text


def test_held_out_domains_carry_a_star(tmp_path, evaluation):
    _, parsed = evaluation_page(tmp_path, evaluation)
    assert "Migration*" in parsed.text
    assert "Gender*" not in parsed.text
