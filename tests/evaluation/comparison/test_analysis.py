import random

import pytest

from tests.evaluation.comparison.conftest import questions
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.comparable import with_checks
from vcjax.evaluation.comparison.judge_errors import JudgeErrors
from vcjax.evaluation.comparison.reading import read_runs


def noisy(seed, rise=0.0, only=None):
    """Scores of questions, hard or easy by themselves; `only` one language or domain rises."""
    draw = random.Random(seed)

    def score(item):
        own = random.Random(item["parallel_id"]).gauss(0, 1)
        moved = only is None or only in (item["lang"], item["domain"])
        return max(0, min(5, round(draw.gauss(2.5 + own + rise * moved, 0.7))))

    return score


@pytest.fixture
def compared(workdir):
    """Compares two runs: `compared(before, after, after_changes)`."""

    def make(before, after, **changes):
        folders = [workdir("before", before), workdir("after", after, **changes)]
        return compare_runs(read_runs([str(folder) for folder in folders]))

    return make


def readings(comparison):
    found = {}
    for name, own in comparison["comparisons"].items():
        for lang, parts in {"all": own["all"], **own["languages"]}.items():
            for measure in comparison["measures"]:
                found[name, lang, measure] = parts[measure]["reading"]
        for domain, languages in own["domains"].items():
            for lang, parts in languages.items():
                found[name, domain, lang] = parts[comparison["measures"][0]]["reading"]
    return found


def test_a_planted_difference_is_found_where_it_is(compared):
    found = readings(compared(noisy(1), noisy(2, 2.5, only="zh")))
    assert found["after", "zh", "judge"] == found["after", "all", "judge"] == "higher"
    assert found["after", "en", "judge"] == "no clear change"
    assert found["after", "all", "all_checks"] == "no clear change"


def test_words_need_the_corrected_p_and_each_has_what_could_have_been_found(compared):
    comparison = compared(noisy(1), noisy(2, 0.3))
    assert set(comparison["families"]) == {"languages"}  # six pairs a domain are too few
    assert readings(comparison)["after", "domain_00", "all"] == "too few pairs to say"
    for parts in [comparison["comparisons"]["after"]["all"]]:
        for record in (parts["judge"], parts["all_checks"]):
            assert record["p_corrected"] >= record["p"]
            assert (record["reading"] != "no clear change") == (record["p_corrected"] <= 0.05)
            assert record["detectable"] > 0
            assert record["family"] == "languages"


def test_domains_and_languages_share_the_rate_of_false_alarms(workdir):
    def planted(seed, value):
        return lambda item: value if item["domain"] == "domain_03" else noise[seed](item)

    items, noise = questions(12), [noisy(1), noisy(2)]
    folders = [workdir("a", planted(0, 1), items), workdir("b", planted(1, 5), items, seed=1)]
    comparison = compare_runs(read_runs([str(folder) for folder in folders]))
    families = comparison["families"]
    assert families["languages"] == {"tests": 6, "level": pytest.approx(0.025)}
    assert families["domains"] == {"tests": 24, "level": pytest.approx(0.025)}
    found = readings(comparison)
    assert found["b", "domain_03", "all"] == "higher"
    found_domains = [
        key[1] for key, read in found.items() if key[1].startswith("domain") and read == "higher"
    ]
    assert set(found_domains) == {"domain_03"}


def test_the_table_counts_what_every_run_has(compared):
    before, after = noisy(1), noisy(2)
    gone = "domain_00-0-en"
    comparison = compared(before, lambda item: None if item["id"] == gone else after(item))
    table = comparison["table"]
    english = table["languages"]["en"]
    assert english["n"] == 23
    assert english["domains"]["domain_00"]["n"] == 2
    for name in ("before", "after"):
        total = english["runs"][name]["total"]
        assert total == sum(each["runs"][name]["total"] for each in english["domains"].values())
        assert english["runs"][name]["mean"] == total / 23
    assert comparison["published"]["languages"]["zh"]["total"] == 836
    judge = comparison["comparisons"]["after"]["languages"]["en"]["judge"]
    assert judge["unpaired"] == 1
    assert judge["unscored_against"] < judge["difference"] < judge["unscored_for"]


def test_several_runs_are_each_compared_with_the_first(workdir):
    folders = [workdir(name, noisy(seed)) for seed, name in enumerate("abc")]
    comparison = compare_runs(read_runs([str(folder) for folder in folders]))
    assert list(comparison["comparisons"]) == ["b", "c"]
    assert comparison["families"]["languages"]["tests"] == 12


def test_other_questions_are_left_out_and_counted(workdir):
    items = questions()
    other = [
        {**item, "question": "Other words?"} if n == 0 else item for n, item in enumerate(items)
    ]
    folders = [workdir("a", noisy(1), items), workdir("b", noisy(2), other[:40])]
    comparison = compare_runs(read_runs([str(folder) for folder in folders]))
    assert comparison["questions"]["compared"] == 39
    assert [run["left_out"] for run in comparison["runs"]] == [9, 1]
    assert "same id, but other words" in comparison["notes"][0]
    assert "The runs have other questions: the 39" in comparison["notes"][1]


def test_runs_that_cant_be_compared_are_a_users_mistake(workdir):
    base = workdir("base", noisy(1))

    def against(**changes):
        name = f"other{len(list(base.parent.iterdir()))}"
        return compare_runs(read_runs([str(base), str(workdir(name, noisy(2), **changes))]))

    with pytest.raises(UserError, match=r"another judge \(stern\) than .*base \(judge\)"):
        against(judge="stern")
    with pytest.raises(UserError, match=r"another charter .* --charter"):
        against(charter="d" * 64)
    with pytest.raises(UserError, match="no question in common"):
        against(items=[{**item, "id": "x" + item["id"]} for item in questions()])
    with pytest.raises(UserError, match="at least two runs"):
        compare_runs(read_runs([str(base)]))
    with pytest.raises(UserError, match="two are named 'x'"):
        compare_runs(read_runs([str(base), str(base)], ["x", "x"]))


def test_without_scores_on_one_side_the_checks_alone_are_compared(workdir):
    folders = [workdir("a", noisy(1)), workdir("b", noisy(1), judge=None)]
    comparison = compare_runs(read_runs([str(folder) for folder in folders]))
    assert comparison["measures"] == ["all_checks"]
    assert comparison["notes"] == ["Scores aren't compared, as there are none of b."]


def test_a_constant_judge_tests_nothing(workdir):
    folders = [workdir(name, lambda item: 5, seed=seed) for seed, name in enumerate("ab")]
    comparison = compare_runs(read_runs([str(folder) for folder in folders]))
    assert comparison["families"]["languages"]["tests"] == 3  # the checks alone
    assert "reading" not in comparison["comparisons"]["b"]["all"]["judge"]
    assert all("constant judge" in run["problems"][0] for run in comparison["runs"])


def test_a_charter_s_checks_are_run_anew_on_any_answers(workdir):
    charter = load_charter("universal")
    run = with_checks(read_runs([str(workdir("a", noisy(1)))])[0], charter)
    checks = {record["lang"]: record["checks"] for record in run.records}
    assert checks["en"]["own_language/answered_in_language"]
    assert not checks["zh"]["own_language/answered_in_language"]
    assert run.identity["charter"] == charter.content_hash


def test_the_judge_s_errors_are_carried_into_the_interval(workdir, tmp_path):
    folders = [workdir("a", noisy(1)), workdir("b", noisy(2, 2.0))]
    runs = read_runs([str(folder) for folder in folders])
    (path := tmp_path / "errors.json").write_text(
        '{"threshold": 4, "sensitivity": {"overall": {"k": 45, "n": 50}, "languages": '
        '{"zh": {"k": 20, "n": 20}}}, "specificity": {"overall": {"k": 40, "n": 50}, '
        '"languages": {"zh": {"k": 20, "n": 20}}}}'
    )
    result = compare_runs(runs, errors=JudgeErrors.read(path))["judge_errors"]
    found = result["comparisons"]["b"]
    assert set(found) == {"en", "zh", "all"}
    english, chinese = found["en"], found["zh"]
    high = [sum(r["score"] >= 4 for r in run.records if r["lang"] == "en") / 24 for run in runs]
    assert english["seen"]["difference"] == pytest.approx(high[1] - high[0])
    assert english["corrected"]["difference"] == pytest.approx((high[1] - high[0]) / 0.7)
    assert chinese["corrected"]["difference"] == chinese["seen"]["difference"]
    (path := tmp_path / "yes.json").write_text(
        '{"sensitivity": {"k": 9, "n": 10}, "specificity": {"k": 8, "n": 10}}'
    )
    with pytest.raises(UserError, match="neither yes nor no; the file needs a threshold"):
        compare_runs(runs, errors=JudgeErrors.read(path))
    path.write_text('{"sensitivity": {"k": 9}}')
    with pytest.raises(UserError, match=r"yes\.json: needs sensitivity and specificity"):
        JudgeErrors.read(path)
