"""Running a charter's checks: which principles apply, and which of them select."""

import pytest

from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError

ANSWER = (
    "Both the tax and its absence have costs, and a fair law weighs them openly so that the "
    "dignity of rich and poor is kept."
)


def test_keys_name_the_principle_and_the_check():
    results = load_charter("verifiable").run_checks(question="?", answer=ANSWER, lang="en")
    assert set(results) == {
        "own_language/answered_in_language",
        "engage/not_a_refusal",
        "short/sane_length",
        "no_repeats/no_repetition",
        "name_dignity/contains_element",
        "whole_sentence/complete_ending",
        "two_sides/two_perspectives",
    }


def test_a_measure_only_principle_measures_and_does_not_select():
    charter = load_charter("verifiable")
    results = charter.run_checks(question="?", answer=ANSWER, lang="en")
    assert not results["two_sides/two_perspectives"].passed
    assert charter.selecting_failures(results) == []
    cut = charter.run_checks(question="?", answer=ANSWER[:-1], lang="en")
    assert charter.selecting_failures(cut) == ["whole_sentence/complete_ending"]


@pytest.mark.parametrize(
    ("subdomain", "applies"), [("gender", True), ("racial_discrimination", False), (None, False)]
)
def test_a_bound_principle_applies_in_its_subdomains_only(subdomain, applies):
    results = load_charter("universal").run_checks(
        question="?", answer=ANSWER, lang="en", subdomain=subdomain
    )
    assert ("both_sides/two_perspectives" in results) == applies


def test_every_check_of_every_shipped_charter_fails_on_an_empty_answer():
    for name in ("universal", "vcllm", "verifiable"):
        results = load_charter(name).run_checks(question="?", answer="", lang="zh")
        assert results
        assert not any(result.passed for result in results.values())


def test_an_unknown_subdomain_or_language_is_the_users_mistake():
    charter = load_charter("universal")
    with pytest.raises(UserError, match="no subdomain 'genders'; did you mean 'gender'"):
        charter.run_checks(question="?", answer=ANSWER, lang="en", subdomain="genders")
    with pytest.raises(UserError, match="no language 'fr'"):
        charter.run_checks(question="?", answer=ANSWER, lang="fr")
