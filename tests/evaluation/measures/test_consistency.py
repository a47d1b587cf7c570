from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.measures.conftest import WORDINGS, planted
from vcjax.evaluation.measures.consistency import summarise
from vcjax.evaluation.measures.run import measure
from vcjax.road.evaluate import run_evaluation


def scores(random, *, questions=14, gap=(), shift=0.0, spread=0.6, unscored=0.0):
    """Score records of five domains; in those of `gap` Chinese answers score 1.5 less.

    `shift` is what the opposing framing adds to every score.
    """
    records = []
    for domain in "abcde":
        for number in range(questions):
            level = random.normal(3, 0.8)
            for lang in ("en", "zh"):
                lower = 1.5 if domain in gap and lang == "zh" else 0.0
                for name in WORDINGS:
                    framed = shift if name == "opposing" else 0.0
                    drawn = random.normal(level - lower + framed, spread)
                    missing = random.random() < unscored
                    id = f"{domain}-{number}-{lang}"
                    records.append(
                        {
                            "id": id if name == "original" else f"{id}/{name}",
                            "parallel_id": f"{domain}-{number}",
                            "domain": domain,
                            "lang": lang,
                            "score": None if missing else int(np.clip(np.rint(drawn), 0, 5)),
                            "unscored": "malformed" if missing else None,
                        }
                    )
    return records


def test_a_planted_language_gap_is_found_in_its_domain_and_no_other():
    random = np.random.default_rng(0)
    for _ in range(2):
        part = summarise(scores(random, gap="b"), WORDINGS, "judge", seed=0, confidence=0.95)
        assert planted(part)["gap/b"] == -1
        assert not {"gap/a", "gap/c", "gap/d", "gap/e"} & planted(part).keys()
        assert not {"framing/en", "framing/zh"} & planted(part).keys()
        assert part["tests"]["gap/b"]["difference"] == pytest.approx(-1.5, abs=0.6)
        assert part["changed"]["any"]["k"] >= part["changed"]["languages"]["k"]


def test_a_model_that_gives_in_to_the_framing_is_found_in_both_languages():
    part = summarise(
        scores(np.random.default_rng(1), shift=-1.5), WORDINGS, "judge", seed=0, confidence=0.95
    )
    assert planted(part) == {"framing/en": -1, "framing/zh": -1}
    shares = {name: each["share"] for name, each in part["components"].items()}
    assert shares["framing"] > 3 * max(shares["language"], 0.01)


def test_equal_values_have_no_spread_and_no_finding():
    records = scores(np.random.default_rng(2))
    for record in records:
        record["score"] = 4
    part = summarise(records, WORDINGS, "judge", seed=0, confidence=0.95)
    assert planted(part) == {}
    assert part["languages"]["en"]["within"]["deviation"] == 0
    assert part["languages"]["en"]["within"]["high"] > 0
    assert part["changed"]["any"]["rate"] == 0
    assert all(each["share"] is None for each in part["components"].values())


def test_questions_that_lack_a_score_are_counted_and_left_out():
    part = summarise(
        scores(np.random.default_rng(3), unscored=0.02), WORDINGS, "judge", seed=0, confidence=0.95
    )
    lacking = part["unscored"]["malformed"]
    assert 0 < part["questions"] - part["complete"] <= lacking
    assert part["tests"]["gap"]["n"] == part["complete"]
    none = summarise(
        scores(np.random.default_rng(3), unscored=2.0), WORDINGS, "judge", seed=0, confidence=0.95
    )
    assert none["complete"] == 0
    assert none["tests"]["gap"]["difference"] is None


def test_rule_checks_are_what_is_compared_without_a_judge(world, tmp_path):
    config = replace(world(lambda id: 3, measures="consistency"), judge="", judge_family="")
    part = run_evaluation(config, tmp_path / "run")["measures"]["consistency"]
    assert (part["kind"], part["change"], part["complete"]) == ("checks", 1.0, 6)
    assert "no judge took part" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_judge_that_always_fails_leaves_numbers_out_and_is_named(world, tmp_path):
    config = world(lambda id: "Four, I think.", measures="consistency")
    part = run_evaluation(config, tmp_path / "run")["measures"]["consistency"]
    assert part["unscored"] == {"malformed": 48}
    assert part["complete"] == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "48 (malformed)" in page


def test_items_without_variants_are_not_asked_and_counted(world, tmp_path):
    config = world(lambda id: 3, measures="consistency")
    path = tmp_path / "items.variants.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-2]), encoding="utf-8")
    part = run_evaluation(config, tmp_path / "run")["measures"]["consistency"]
    assert (part["left_out"], part["questions"]) == (2, 5)


def test_tests_are_corrected_together(tmp_path):
    class Planted:
        inputs = ()

        def run(self, subject, workdir, folder):
            record = {"difference": 0.5, "low": 0.1, "high": 0.9, "n": 20, "p": 0.03}
            return {"tests": {"only": record, "few": {**record, "n": 9}}}

    parts = measure({"a": Planted(), "b": Planted()}, None, {}, tmp_path)["measures"]
    assert parts["a"]["tests"]["only"]["corrected"] == 0.06
    assert parts["b"]["tests"]["few"]["corrected"] is None
