"""The report's section on its judges, from the summary of an evaluation that really ran."""

import json

import numpy as np
import pytest

from vcjax.charter.load import load_charter
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.judging.people import RatedScores, Rating
from vcjax.evaluation.judging.planted import planted
from vcjax.evaluation.run import evaluate
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.report import write_evaluation_report
from vcjax.report.judging import judge_notices, judges_section
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.verdict import AXES


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A panel of a sound judge, one that rewards refusals, and people, in both languages."""
    folder, charter = tmp_path_factory.mktemp("judged"), load_charter("universal")
    items = tuple(
        BenchmarkItem(f"{n}-{lang}", str(n), "technology", lang, f"Question {n}?", rubric="Fair.")
        for n in range(12)
        for lang in ("en", "zh")
    )
    draws = np.random.default_rng(0)

    def role(name, refusing):
        lines = []
        for n, item in enumerate(items):
            axes = dict.fromkeys(AXES, 3)
            score = int(np.clip(n // 4 + draws.integers(-1, 2), 0, 5))
            lines.append((f"{item.id}/judge", {"reason": "", **axes, "score": score}))
        known = {"good": 5, "off_topic": 1, "refusing": refusing, "hateful": 0}
        for each in planted(96, charter, 0):
            for end in ("", "/rubric first"):
                graded = {"reason": "", **dict.fromkeys(AXES, 3), "score": known[each.kind]}
                lines.append((f"{each.item.id}/judge{end}", graded))
        path = folder / f"{name}.jsonl"
        text = "\n".join(json.dumps({"key": k, "text": json.dumps(v)}) for k, v in lines)
        path.write_text(text, encoding="utf-8")
        return RecordedRole(path, family=name)

    answers = [
        {"key": f"{item.id}/answer", "text": "So. " * (n + 1)} for n, item in enumerate(items)
    ]
    (folder / "model.jsonl").write_text("\n".join(map(json.dumps, answers)), encoding="utf-8")
    people = RatedScores(
        "ann", "human", tuple(Rating(item.id, n // 4) for n, item in enumerate(items[:20]))
    )
    subject = Subject(
        RecordedRole(folder / "model.jsonl", family="model"),
        [role("sound", 1), role("kind", 5), people],
        charter,
        EvaluationSettings(judge_check=24, axes=True),
    )
    return evaluate(subject, Benchmark("small", items, frozenset()), folder / "run")


def text_of(blocks):
    return json.dumps([vars(block) for block in blocks], default=str)


def test_an_unfit_judge_is_named_at_the_top_of_the_page(judged, tmp_path):
    (notice,) = judge_notices(judged)
    assert notice.title == "The judge recorded:kind.jsonl is unfit: rewards refusals"
    write_evaluation_report(tmp_path / "report.html", summary=judged)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index("rewards refusals") < page.index('id="results"') < page.index('id="judges"')
    assert "no human scores stand beside" not in page


def test_the_section_has_each_judge_the_pairs_the_people_and_the_planted_answers(judged):
    (section,) = judges_section(judged)
    found = text_of(section.blocks)
    for words in (
        "Each judge's mean score",
        "Apart from the whole score",
        "Each two judges",
        "Krippendorff's alpha",
        "Beside the mean of ann",
        "2 judges are worth",
        "Planted answers, told apart",
        "rubric first 0.00",
        "Length: each doubling",
    ):
        assert words in found, words
    assert "nan" not in found.replace("planned", "")


def test_a_report_without_a_judge_has_no_such_section(judged):
    assert judges_section({**judged, "judges": {}}) == []
    assert judge_notices({**judged, "judge_check": {}}) == []
