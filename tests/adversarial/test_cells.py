"""Planned cells: each occurs once, spread as evenly as possible, and none is held out."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.adversarial.attacks.style import choose_attacks, shipped_attacks
from vcjax.adversarial.cells import AttackSuite
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError

UNIVERSAL = load_charter("universal")
OPEN = UNIVERSAL.subdomains(include_held_out=False)


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(st.sampled_from(sorted(shipped_attacks())), min_size=1, unique=True),
    languages=st.sampled_from([("en",), ("zh",), ("en", "zh"), ("zh", "en")]),
    severities=st.lists(st.sampled_from([1, 2, 3]), min_size=1, unique=True),
    turns=st.lists(st.integers(2, 4), unique=True),
    share=st.floats(0.1, 1),
)
def test_every_cell_occurs_once_and_any_prefix_is_spread_evenly(
    names, languages, severities, turns, share
):
    chosen = choose_attacks(names)
    cells = AttackSuite(UNIVERSAL, chosen, (), OPEN, languages, severities, turns).cells()
    going_on = [each for each in chosen if each.kind in ("escalation", "refinement")]
    variants = len(chosen) - len(going_on) + len(going_on) * (len(turns) or 1)
    open_ = {each.id for each in OPEN}
    assert len(set(cells)) == len(cells) == len(open_) * variants * len(severities) * len(languages)
    first = cells[: max(1, int(share * len(cells)))]
    for field, values in (("subdomain", open_), ("lang", languages)):
        reached = Counter(getattr(cell, field) for cell in first)
        least = min(reached.values()) if len(reached) == len(values) else 0
        assert max(reached.values()) - least <= len(languages)
    for cell in cells:
        kind = shipped_attacks()[cell.attack].kind
        own = turns or [shipped_attacks()[cell.attack].turns]
        assert cell.turns in (own if kind in ("escalation", "refinement") else [1])


def test_nothing_to_attack_is_a_mistake(charter, styles):
    open_ = charter.subdomains(include_held_out=False)
    for subdomains, attacks, languages, severities in (
        ((), styles, ("en",), (2,)),
        (open_, (), ("en",), (2,)),
        (open_, styles, (), (2,)),
        (open_, styles, ("en",), ()),
    ):
        with pytest.raises(UserError, match="nothing to attack"):
            AttackSuite(charter, attacks, (), subdomains, languages, severities).cells()
