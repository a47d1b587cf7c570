"""Splits and suites: what teaches is never what measures."""

import pytest

from tests.adversarial.pressure.facts import numbered_facts
from vcjax.adversarial.pressure.pairs import (
    ADVERSARIAL,
    CLEAN,
    DATA,
    MIXED,
    ONE_SIDED,
    Taught,
    conversation,
    pairs,
    preference,
)
from vcjax.adversarial.pressure.probes import filled
from vcjax.adversarial.pressure.split import DEV, TEST, TRAIN, split_facts
from vcjax.adversarial.pressure.style import choose_styles, controls
from vcjax.adversarial.pressure.suite import (
    CORRECTION,
    EVIDENCE,
    FACTS_APART,
    GROUPS,
    HELD_OUT,
    NEUTRAL,
    PREAMBLE,
    STYLES_APART,
    TOPICS_APART,
    WRONG_NEUTRAL,
    Material,
    Sizes,
    suite,
)
from vcjax.core.errors import UserError
from vcjax.evaluation.facts.knowledge import KNOWN, UNSURE, WRONG

FACTS = numbered_facts(300)
TRAINED, HELD = choose_styles(["majority", "flattery"]), choose_styles(["threat", "persona"])
SPLIT = split_facts(FACTS, [], seed=0)
KNOWLEDGE = {fact.id: (KNOWN, KNOWN, KNOWN, WRONG, UNSURE)[n % 5] for n, fact in enumerate(FACTS)}
MATERIAL = Material(FACTS, KNOWLEDGE, SPLIT, TRAINED, HELD)
SIZES = Sizes(styles=2, apart=20, controls=15)
SUITE = suite(MATERIAL, "en", SIZES, part=TEST, seed=0)
TOPIC = {fact.id: fact.topic for fact in FACTS}


def taught(lang="en") -> Taught:
    facts = SPLIT.of(FACTS, TRAIN, topic_held_out=False)
    known, unsure = ([f for f in facts if KNOWLEDGE[f.id] == kind] for kind in (KNOWN, UNSURE))
    return Taught(known, unsure, TRAINED)


def made(data: str, count: int = 60, corrections: float = 0.2):
    return pairs(data, taught(), "en", count, corrections=corrections, seed=1)


def test_held_out_topics_are_of_both_kinds_and_wholly_in_the_test_part() -> None:
    assert len(SPLIT.held_out_topics) == 4  # of ten, two sensitive ones and two others
    assert {int(name[-1]) % 2 for name in SPLIT.held_out_topics} == {0, 1}
    for fact in FACTS:
        if fact.topic in SPLIT.held_out_topics:
            assert SPLIT.roles[fact.id] == TEST


def test_a_role_stays_when_facts_are_added() -> None:
    topics = sorted(SPLIT.held_out_topics)
    fewer = split_facts(FACTS[:150], topics, seed=0)
    assert fewer.roles.items() <= SPLIT.roles.items()


def test_all_parts_have_facts_and_another_seed_draws_others() -> None:
    assert set(SPLIT.roles.values()) == {TRAIN, DEV, TEST}
    assert split_facts(FACTS, [], seed=1).roles != SPLIT.roles


def test_a_topic_that_no_fact_has_is_refused() -> None:
    with pytest.raises(UserError, match="no fact is of topic 'flor1'; did you mean 'floor1'"):
        split_facts(FACTS, ["flor1"], seed=0)
    with pytest.raises(UserError, match="no topic is left"):
        split_facts(FACTS, sorted({fact.topic for fact in FACTS}), seed=0)


def test_groups_hold_out_what_their_names_say() -> None:
    assert tuple(SUITE) == GROUPS
    held, trained = ({style.name for style in styles} for styles in (HELD, TRAINED))
    expected = {
        HELD_OUT: (TEST, held),
        STYLES_APART: (TRAIN, held),
        FACTS_APART: (TEST, trained),
        TOPICS_APART: (TEST, trained),
    }
    for group, (role, styles) in expected.items():
        assert SUITE[group]
        for probe in SUITE[group]:
            assert KNOWLEDGE[probe.fact] == KNOWN
            assert SPLIT.roles[probe.fact] == role
            assert probe.style in styles
    assert all(TOPIC[p.fact] in SPLIT.held_out_topics for p in SUITE[TOPICS_APART])
    assert not any(TOPIC[p.fact] in SPLIT.held_out_topics for p in SUITE[FACTS_APART])
    assert {TOPIC[p.fact] in SPLIT.held_out_topics for p in SUITE[HELD_OUT]} == {True, False}


def test_every_claim_is_pressed_in_both_directions() -> None:
    for group in (HELD_OUT, STYLES_APART, FACTS_APART, TOPICS_APART):
        keys = {d: {(p.fact, p.style) for p in SUITE[group] if p.claimed == d} for d in
                ("false", "true")}  # fmt: skip
        assert keys["false"] == keys["true"]


def test_controls_are_of_the_facts_that_they_are_for() -> None:
    for group, kind in ((NEUTRAL, KNOWN), (PREAMBLE, KNOWN), (EVIDENCE, KNOWN),
                        (WRONG_NEUTRAL, WRONG), (CORRECTION, WRONG)):  # fmt: skip
        assert {KNOWLEDGE[probe.fact] for probe in SUITE[group]} == {kind}
    assert all(probe.claimed == "true" for probe in SUITE[CORRECTION])


def test_the_development_part_sees_no_test_fact_and_no_held_out_topic() -> None:
    for group, probes in suite(MATERIAL, "en", SIZES, part=DEV, seed=0).items():
        roles = {SPLIT.roles[probe.fact] for probe in probes}
        assert roles <= ({TRAIN} if group == STYLES_APART else {DEV}), group


@pytest.mark.parametrize("data", DATA)
def test_pairs_are_many_true_and_of_trained_facts_and_styles(data: str) -> None:
    found = made(data)
    assert len(found) == len({probe.id for probe in found}) == 60
    measured = {probe.fact for group in GROUPS if group != STYLES_APART for probe in SUITE[group]}
    for probe in found:
        assert SPLIT.roles[probe.fact] == TRAIN
        assert probe.fact not in measured
        assert probe.style in {"", *(style.name for style in TRAINED)}
        assert conversation(probe, None)["messages"][-1]["content"] == probe.answers[0]


def test_arms_press_as_their_names_say() -> None:
    def directions(data: str) -> list[str]:
        known = [p for p in made(data) if KNOWLEDGE[p.fact] == KNOWN]
        return sorted(probe.claimed for probe in known)

    assert set(directions(CLEAN)) == {""}
    assert set(directions(ONE_SIDED)) == {"false"}
    assert directions(ADVERSARIAL).count("false") == directions(ADVERSARIAL).count("true") == 24
    mixed = directions(MIXED)
    assert [mixed.count(each) for each in ("", "false", "true")] == [24, 12, 12]


def test_unsure_facts_are_pressed_to_the_truth_alone() -> None:
    unsure = [probe for probe in made(ADVERSARIAL) if KNOWLEDGE[probe.fact] == UNSURE]
    assert len(unsure) == 12
    assert {probe.claimed for probe in unsure} == {"true"}
    assert not [p for p in made(ADVERSARIAL, corrections=0) if KNOWLEDGE[p.fact] == UNSURE]


def test_contexts_that_change_the_answer_are_taught_by_other_wordings_than_they_are_measured() -> (
    None
):
    found = pairs(ADVERSARIAL, taught(), "en", 60, corrections=0.2, evidence=0.1, seed=1)
    shown = [probe for probe in found if probe.kind == "evidence"]
    assert len(found) == 60
    assert len(shown) == 6
    measured = {filled(text, "", "") for text in controls().evidence["en"]}
    for probe in shown:
        assert conversation(probe, None)["messages"][-1]["content"] == probe.answers[1]
        assert preference(probe)["rejected"] == probe.answers[0]
        assert not any(text.split("“")[0] in probe.messages[0]["content"] for text in measured)
    clean = pairs(CLEAN, taught(), "en", 60, corrections=0.2, evidence=0.1, seed=1)
    assert {probe.kind for probe in clean if KNOWLEDGE[probe.fact] == KNOWN} == {"neutral"}


def test_a_preference_has_both_answers() -> None:
    probe = made(ADVERSARIAL)[0]
    record = preference(probe)
    assert (record["chosen"], record["rejected"]) == probe.answers
    assert record["messages"] == list(probe.messages)


def test_pairs_are_the_same_for_a_seed_and_others_for_another() -> None:
    assert made(ADVERSARIAL) == made(ADVERSARIAL)
    other = pairs(ADVERSARIAL, taught(), "en", 60, corrections=0.2, seed=2)
    assert other != made(ADVERSARIAL)


def test_without_a_known_fact_nothing_can_be_taught() -> None:
    with pytest.raises(UserError, match="knows none of the facts"):
        pairs(CLEAN, Taught([], [], TRAINED), "en", 5, corrections=0, seed=0)
