"""What is planned: every cell in turn, and a longer plan begins with the shorter one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.adversarial.attacks import attacks, choose_attacks
from vcjax.adversarial.matrix import plan
from vcjax.charter.load import load_charter
from vcjax.foundation.errors import UserError

UNIVERSAL = load_charter("universal")


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(st.sampled_from(sorted(attacks())), min_size=1, unique=True),
    languages=st.sampled_from([("en",), ("zh",), ("en", "zh"), ("zh", "en")]),
    count=st.integers(1, 400),
    cycles=st.integers(1, 2),
    seed=st.integers(0, 9),
)
def test_every_cell_is_reached_evenly_and_a_longer_plan_begins_with_the_shorter(
    names, languages, count, cycles, seed
):
    styles = choose_attacks(names)
    open_ = {each.id for each in UNIVERSAL.subdomains(include_held_out=False)}
    cells = len(open_) * len(styles) * len(languages)
    planned = plan(UNIVERSAL, styles, languages, count, seed)
    assert len({attempt.id for attempt in planned}) == count
    assert [attempt.number for attempt in planned] == list(range(count))
    assert {attempt.subdomain for attempt in planned} <= open_
    reached = Counter((each.subdomain, each.attack, each.lang) for each in planned)
    least = min(reached.values()) if len(reached) == cells else 0
    assert max(reached.values()) - least <= 1
    whole = plan(UNIVERSAL, styles, languages, cells * cycles, seed)
    counts = Counter((each.subdomain, each.attack, each.lang) for each in whole)
    assert len(counts) == cells
    assert set(counts.values()) == {cycles}
    shorter = min(count, len(whole))
    assert planned[:shorter] == whole[:shorter]
    for attempt in planned:
        assert attempt.topic in UNIVERSAL.subdomain(attempt.subdomain).topics.get(attempt.lang)


def test_held_out_subdomains_exist_and_are_never_attacked(charter, styles):
    held_out = {each.id for each in charter.subdomains() if each.held_out}
    assert held_out == {"music"}
    planned = plan(charter, styles, ("en", "zh"), 100, 0)
    assert {attempt.subdomain for attempt in planned} == {"parks", "trains"}


def test_every_style_speaks_both_languages_and_shows_at_least_two_examples():
    assert len(attacks()) >= 6
    for name, attack in attacks().items():
        assert attack.name == name
        assert attack.description
        assert attack.source
        assert set(attack.instruction) == set(attack.examples) == {"en", "zh"}
        for lang in ("en", "zh"):
            assert len({example.topic for example in attack.examples[lang]}) >= 2
            assert all(each.question.endswith(("?", "？")) for each in attack.examples[lang])


def test_styles_are_chosen_by_name_in_the_order_named():
    assert [style.name for style in choose_attacks(["false_premise", "dilemma"])] == [
        "false_premise",
        "dilemma",
    ]
    assert [style.name for style in choose_attacks([])] == sorted(attacks())
    with pytest.raises(UserError, match="'dilema' is not known; did you mean 'dilemma'"):
        choose_attacks(["dilema"])
    with pytest.raises(UserError, match="attacks: one comes twice"):
        choose_attacks(["dilemma", "dilemma"])


def test_nothing_to_attack_is_a_mistake(charter, styles):
    with pytest.raises(UserError, match="nothing to attack"):
        plan(charter, styles, (), 4, 0)
