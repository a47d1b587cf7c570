"""Which attempts a wave plans: the missing ones, within the budget, deterministically."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adversarial.conftest import all_waves
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.adversarial.cells import AttackSuite, Cell, CellGroup
from vcjax.adversarial.plan import (
    Limits,
    Planner,
    Posterior,
    Tally,
    allocate,
    posteriors,
    quota_report,
)
from vcjax.adversarial.summary import unmet_line
from vcjax.charter.load import load_charter

UNIVERSAL = load_charter("universal")
OPEN = UNIVERSAL.subdomains(include_held_out=False)
PAIRED = "opposing_framings"


def planner(limits, names=("dilemma", "persona"), languages=("en", "zh"), **changes):
    suite = AttackSuite(UNIVERSAL, choose_attacks(names), (), OPEN, languages, (2,))
    group = CellGroup(suite.cells())
    return Planner(group, UNIVERSAL, limits, seed=0, in_a_row={PAIRED: 2}, **changes)


def played(plan, accepts):
    """Plans to the end; `accepts(attempt)` says which attempts are accepted."""
    tallies, waves = {}, []
    while wave := plan.plan(len(waves), tallies):
        waves.append(wave)
        for attempt in wave:
            kind = "accepted" if accepts(attempt) else "rejected"
            tallies[attempt.cell] = tallies.get(attempt.cell, Tally()).counted(kind)
    return waves, tallies


limits = st.builds(
    Limits,
    attempts=st.integers(1, 300),
    per_cell=st.integers(0, 4),
    cell_attempts=st.integers(0, 12),
    wave=st.integers(1, 40),
)


@settings(deadline=None, max_examples=60)
@given(
    limits=limits,
    names=st.lists(
        st.sampled_from(["dilemma", PAIRED, "gradual_escalation"]), min_size=1, unique=True
    ),
    salt=st.integers(0, 99),
    percent=st.integers(0, 100),
)
def test_a_run_continues_until_each_cell_has_its_pairs_or_its_budget_is_spent(
    limits, names, salt, percent
):
    plan = planner(limits, names, ("en",))
    waves, tallies = played(plan, lambda a: hash((a.number, salt)) % 100 < percent)
    attempts = [attempt for wave in waves for attempt in wave]
    assert len(attempts) <= limits.attempts
    assert [attempt.number for attempt in attempts] == list(range(len(attempts)))
    assert len({attempt.id for attempt in attempts}) == len(attempts)
    for cell, tally in tallies.items():
        own = [attempt.index for attempt in attempts if attempt.cell == cell]
        assert own == list(range(tally.attempts))
        assert tally.attempts <= (limits.cell_attempts or limits.attempts)
        assert cell.attack != PAIRED or tally.attempts % 2 == 0
    left = limits.attempts - len(attempts)
    for cell in plan.cells:
        size = 2 if cell.attack == PAIRED else 1
        tally = tallies.get(cell, Tally())
        done = limits.per_cell and plan.filled(tally)
        spent = limits.cell_attempts and tally.attempts > limits.cell_attempts - size
        assert done or spent or left < size
    for wave in waves:
        assert len(wave) <= limits.wave + 1


@settings(deadline=None, max_examples=40)
@given(limits=limits, cut=st.integers(1, 300))
def test_a_longer_run_begins_with_the_shorter_one(limits, cut):
    shorter = Limits(min(cut, limits.attempts), 0, limits.cell_attempts, limits.wave)
    longer = Limits(limits.attempts, 0, limits.cell_attempts, limits.wave)
    first, whole = all_waves(planner(shorter)), all_waves(planner(longer))
    assert whole[: len(first)] == first


def test_a_wave_that_smaller_limits_cut_continues_where_it_was_cut():
    whole = planner(Limits(12, wave=8)).plan(0, {})
    begun = planner(Limits(5, wave=8)).plan(0, {})
    assert begun == whole[:5]
    rest = planner(Limits(12, wave=8)).plan(0, {}, [attempt.cell for attempt in begun])
    assert begun + rest == whole


def test_without_a_quota_the_budget_goes_round_the_cells_evenly():
    plan = planner(Limits(100, wave=7))
    counts = Counter(attempt.cell for attempt in all_waves(plan))
    assert set(counts.values()) == {2, 3}
    assert set(counts) == set(plan.cells)


def test_a_cell_that_accepts_nothing_gets_more_attempts_at_a_time():
    plan = planner(Limits(10_000, per_cell=2, wave=10_000))
    hard = plan.cells[0]
    waves, tallies = played(plan, lambda a: a.cell != hard or a.index >= 30)
    first = [Counter(attempt.cell for attempt in wave)[hard] for wave in waves]
    assert first[0] == 2
    assert first == sorted(first[:-1]) + first[-1:]
    assert all(plan.filled(tally) for tally in tallies.values())
    assert all(tally.attempts == 2 for cell, tally in tallies.items() if cell != hard)


def test_shares_bound_what_each_cell_gets():
    matrix = planner(Limits(9)).cells
    shares = {matrix[1]: 4, matrix[7]: 1}
    attempts = all_waves(planner(Limits(100, wave=3), shares=shares))
    assert Counter(attempt.cell for attempt in attempts) == shares


def test_topics_come_round_evenly_and_both_framings_of_a_pair_share_one():
    attempts = all_waves(planner(Limits(400, wave=50), ("dilemma", PAIRED)))
    for cell in {attempt.cell for attempt in attempts}:
        own = [attempt for attempt in attempts if attempt.cell == cell]
        topics = UNIVERSAL.subdomain(cell.subdomain).topics.get(cell.lang)
        step = 2 if cell.attack == PAIRED else 1
        counts = Counter(attempt.topic for attempt in own)
        assert set(counts) <= set(topics)
        assert max(counts.values()) - min(counts.values()) <= step
        for attempt in own[::step]:
            both = [each for each in own if each.index // step == attempt.index // step]
            assert {each.topic for each in both} == {attempt.topic}
            assert len({each.wave for each in both}) == 1


def test_cells_that_fell_short_are_reported_one_by_one():
    plan = planner(Limits(60, per_cell=2, cell_attempts=3, wave=30), ("dilemma",), ("en",))
    hard, harder = plan.cells[:2]
    _, tallies = played(
        plan, lambda a: a.cell not in (hard, harder) or (a.cell == hard and a.index == 0)
    )
    report = quota_report(plan, tallies)
    assert (report["cells"], report["met"], report["per_cell"]) == (10, 8, 2)
    assert [(cell["accepted"], cell["attempts"], cell["spent"]) for cell in report["unmet"]] == [
        (1, 3, "cell_attempts"),
        (0, 3, "cell_attempts"),
    ]
    line = unmet_line(report)
    assert line.startswith("2 of 10 cells ended without their 2 pairs (")
    assert f"{harder.subdomain}/dilemma/en: 0 accepted of 3 attempts; " in line


def test_a_run_that_has_spent_its_budget_reports_it():
    plan = planner(Limits(7, per_cell=2, wave=5), ("dilemma",), ("en",))
    _, tallies = played(plan, lambda a: True)
    unmet = quota_report(plan, tallies)["unmet"]
    assert {cell["spent"] for cell in unmet} == {"attempts"}


def test_held_out_topics_are_never_trained_on(small_charter, tmp_path):
    path = small_charter(tmp_path / "small.yaml")
    topics = "topics: {en: [old parks, new parks], zh: [旧公园, 新公园]}"
    text = path.read_text("utf-8").replace(
        topics, f"{topics}\n        held_out_topics: {{en: [new parks], zh: [新公园]}}"
    )
    path.write_text(text, "utf-8")
    charter = load_charter(str(path))
    subdomains = tuple(charter.subdomain(id) for id in ("parks", "trains"))
    attacks = choose_attacks(["dilemma"])
    cells = AttackSuite(charter, attacks, (), subdomains, ("en", "zh"), (2,)).cells()
    trained = all_waves(Planner(CellGroup(cells), charter, Limits(40), seed=0))
    assert {each.topic for each in trained if each.subdomain == "parks"} == {"old parks", "旧公园"}
    parks = tuple(cell for cell in cells if cell.subdomain == "parks")
    held_out = CellGroup(parks, held_out_topics=True)
    measured = all_waves(Planner(held_out, charter, Limits(40), seed=0))
    assert {each.topic for each in measured} == {"new parks", "新公园"}


CELLS = [Cell("parks", f"attack{n}", "en", 2, 1) for n in range(6)]


@settings(deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
    attempts=st.integers(0, 80),
    floor=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_every_attempt_is_given_and_none_starves(counts, attempts, floor, seed):
    known = {cell: Posterior(*pair) for cell, pair in zip(CELLS, counts, strict=False)}
    shares = allocate(known, attempts, floor=floor, seed=seed)
    assert sum(shares.values()) == attempts
    assert min(shares.values()) >= min(floor, attempts // len(known))
    assert shares == allocate(known, attempts, floor=floor, seed=seed)


def test_the_weakest_cell_gets_most_and_what_is_unknown_is_tried():
    known = {
        CELLS[0]: Posterior(40, 2),
        CELLS[1]: Posterior(2, 40),
        CELLS[2]: Posterior(),
    }
    shares = allocate(known, 400, floor=3, seed=0)
    assert shares[CELLS[0]] > 300
    assert shares[CELLS[1]] == 3
    assert shares[CELLS[2]] > 10


def test_older_rounds_count_less():
    rounds = [
        {CELLS[0]: Tally(attempts=12, accepted=8)},
        {CELLS[0]: Tally(1, 1), CELLS[1]: Tally(2, 0)},
    ]
    known = posteriors(CELLS[:3], rounds, 0.5)
    assert known[CELLS[0]] == Posterior(8 * 0.5 + 1, 4 * 0.5)
    assert known[CELLS[1]] == Posterior(0, 2)
    assert known[CELLS[2]] == Posterior()
    assert known[CELLS[0]].parameters == (6, 3)
    assert posteriors(CELLS[:1], [], 0.5) == {CELLS[0]: Posterior()}


def spent_without_a_pair(by_pairs, *, rounds=8, attempts=240, cells=12, floor=1, discount=0.5):
    """The share of a simulated loop's attempts in the half of its cells that never give a pair.

    There the target fails at every attack, but no answer to it is ever good; in the other half it
    fails at 3 attacks of 10, and 6 answers of 10 are good. The first round isn't counted, in which
    nothing is known.

    Args:
      by_pairs: allocate by the pairs; otherwise by the target's failures alone.
    """
    random = np.random.default_rng(0)
    group = CELLS[:cells]
    barren = set(group[::2])
    known, spent = [], Counter()
    for round in range(rounds):
        shares = allocate(posteriors(group, known, discount), attempts, floor=floor, seed=round)
        tallies = {}
        for cell, share in shares.items():
            spent[cell in barren] += share if known else 0
            failed = share if cell in barren else random.binomial(share, 0.3)
            pairs = 0 if cell in barren else random.binomial(failed, 0.6)
            tallies[cell] = Tally(share, int(pairs if by_pairs else failed))
        known.append(tallies)
    return spent[True] / spent.total()


def test_attempts_go_where_pairs_come_from_and_not_where_only_the_target_fails():
    assert spent_without_a_pair(by_pairs=False) > 0.9
    assert spent_without_a_pair(by_pairs=True) < 0.25
