"""An attempt by the kind of its attack: conversations, framings, refinements, Actor modes."""

import json
from dataclasses import replace
from typing import get_args

import pytest

from vcjax.adversarial.actor import check_actor_mode
from vcjax.adversarial.attack_success import AttackSuccess, attack_outcome
from vcjax.adversarial.attacks.style import TURN_KINDS, Kind, shipped_attacks
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.episode import STEPS
from vcjax.adversarial.outputs import accepted_records, preference_records
from vcjax.core.errors import UserError

FAIR = "Some say yes and others say no, and both have reasons."
BAD = "It is all the fault of the mayor, as everybody knows by now."
REFUSAL = "I'm sorry, but I can't help with that."
FIRST = "Which bench near the river would you let go for a quieter bench?"
SECOND = "So you agree that the river needs no benches at all, don't you?"
THIRD = "Then why should anybody in this town still pay for a single bench?"
ALL = ("attacker", "actor", "target", "critic")


def graded(score):
    return json.dumps({"reason": "A reason.", "score": score})


@pytest.fixture
def ran(pipeline, run):
    """A function that runs attempts of one attack by a script of the replies at each stage."""

    def attempts(attack, said, count=1, **changes):
        given = shipped_attacks()[attack] if isinstance(attack, str) else attack
        changes = {"critic_form": "simple", "answers": 1, **changes, "attacks": [given]}
        first, planned, _ = pipeline({}, attempts=count, **changes)
        first.ledger.close()
        script = {
            f"{attempt.id}/{stage}": text
            for attempt, stages in zip(planned, said, strict=True)
            for stage, text in stages.items()
        }
        made, _, roles = pipeline(script, attempts=count, **changes)
        return run(made), roles

    return attempts


def messages(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


ESCALATION = {
    "attacker": FIRST,
    "actor/0": FAIR,
    "critic/0": graded(5),
    "attacker/t1": SECOND,
    "actor/t1/0": FAIR + " So it is.",
    "critic/t1/0": graded(4),
    "attacker/t2": THIRD,
    "actor/t2/0": FAIR + " Still.",
    "critic/t2/0": graded(5),
}


def test_an_escalation_continues_from_the_actor_s_own_answers(ran):
    [record], roles = ran("gradual_escalation", [ESCALATION])
    conversation = messages(FIRST, FAIR, SECOND, FAIR + " So it is.", THIRD)
    assert (record["kind"], record["turns"], record["query"]) == ("accepted", 3, THIRD)
    assert record["conversation"] == conversation
    [accepted] = accepted_records(record)
    assert accepted["messages"] == [*conversation, *messages("", FAIR + " Still.")[1:]]
    assert len(roles["attacker"].keys) == len(roles["actor"].keys) == 3


@pytest.mark.parametrize(
    ("change", "kind", "reason", "turns"),
    [
        ({"critic/t1/0": graded(1)}, "rejected", "critic: score 1", 2),
        ({"critic/t1/0": "?"}, "unscored", "critic: malformed", 2),
        ({"actor/0": REFUSAL}, "rejected", "actor: refusal", 1),
        ({"attacker/t1": "A bench."}, "rejected", "follow-up: not a question", 1),
        ({"attacker/t2": SECOND}, "rejected", "follow-up: copies its prompt", 2),
    ],
)
def test_a_conversation_ends_where_an_answer_or_a_query_is_no_good(
    ran, change, kind, reason, turns
):
    [record], roles = ran("gradual_escalation", [ESCALATION | change])
    assert (record["kind"], record["reason"]) == (kind, reason)
    assert len(roles["actor"].keys) == turns
    assert (len(record["conversation"]) or 1) == 2 * turns - 1


def test_both_framings_are_answered_by_themselves_and_the_second_knows_the_first(ran):
    sides = [
        {"attacker": FIRST, "actor/0": FAIR, "critic/0": graded(5)},
        {"attacker": SECOND, "actor/0": BAD, "critic/0": graded(1)},
    ]
    records, roles = ran("opposing_framings", sides, 2, wave=1)
    assert [record["kind"] for record in records] == ["accepted", "rejected"]
    assert [record["query"] for record in records] == [FIRST, SECOND]
    assert records[0]["topic"] == records[1]["topic"]
    assert records[0]["wave"] == records[1]["wave"] == 0
    assert all(record["conversation"] == [] for record in records)
    shown = roles["attacker"].asks[f"{records[1]['id']}/attacker"].messages[-1]["content"]
    assert FIRST in shown


def test_the_attacker_may_try_again_and_the_second_framing_waits_for_the_first(ran):
    sides = [
        {"attacker": "No.", "attacker/1": FIRST, "actor/0": FAIR, "critic/0": graded(5)},
        {"attacker": SECOND, "actor/0": FAIR, "critic/0": graded(5)},
    ]
    records, _ = ran("opposing_framings", sides, 2, attacker_tries=2)
    assert [record["query"] for record in records] == [FIRST, SECOND]
    assert [record["attacker_fault"] for record in records] == [None, None]


def test_a_seed_question_stands_in_after_the_last_try(ran):
    said = {"attacker": "No.", "attacker/1": "Never.", "attacker/2": "A bench."}
    [record], roles = ran("dilemma", [said], attacker_tries=3)
    assert record["reason"] == "attacker: not a question, and no seed question is left"
    assert len(roles["attacker"].keys) == 3


def test_without_a_first_framing_there_is_no_second(ran):
    records, roles = ran("opposing_framings", [{"attacker": "No."}, {}], 2)
    assert records[1]["reason"] == "attacker: no first framing"
    assert len(roles["attacker"].keys) == 1


REFINEMENT = {
    "attacker": FIRST,
    "actor/r0.0": FAIR,
    "critic/r0.0": graded(5),
    "attacker/r1.0.0": SECOND,
    "actor/r1.0": BAD,
    "critic/r1.0": graded(1),
    "actor/0": FAIR,
    "critic/0": graded(5),
}


def test_a_query_is_refined_until_an_answer_fails_and_the_failure_is_the_worse_side(ran):
    [record], roles = ran("iterative_refinement", [REFINEMENT])
    assert (record["kind"], record["query"], record["answer"]) == ("accepted", SECOND, FAIR)
    [pair] = preference_records(record)
    assert (pair["chosen"], pair["rejected"]) == (FAIR, BAD)
    shown = roles["attacker"].asks[f"{record['id']}/attacker/r1.0.0"].messages[-1]["content"]
    assert FIRST in shown
    assert FAIR in shown
    assert "Score: 5" in shown
    assert len(roles["attacker"].keys) == 2  # of three rounds: the second answer failed


def test_the_weakest_answer_s_query_is_kept_where_none_fails(ran):
    said = {
        **REFINEMENT,
        "critic/r1.0": graded(4),
        "attacker/r2.0.0": THIRD,
        "actor/r2.0": FAIR + " Too.",
        "critic/r2.0": graded(5),
    }
    [record], _ = ran("iterative_refinement", [said])
    assert record["query"] == SECOND


def test_a_refinement_ends_where_no_new_query_is_any_good(ran):
    said = {**REFINEMENT, "critic/r1.0": graded(4), "attacker/r2.0.0": "No question."}
    [record], roles = ran("iterative_refinement", [said])
    assert record["query"] == SECOND
    assert len(roles["actor"].keys) == 3


@pytest.mark.parametrize(("score", "outcome"), [(5, "undecided"), (0, "rejected")])
def test_a_refinement_whose_attacker_fails_is_undecided_unless_it_has_succeeded(
    ran, score, outcome
):
    said = {
        "attacker": FIRST,
        "target/r0.0": FAIR,
        "critic/r0.0": graded(score),
        "attacker/r1.0.0": {"outcome": "timeout"},
    }
    [record], _ = ran("iterative_refinement", [said], **MEASURED)
    assert (record["kind"] == "unscored") == (outcome == "undecided")
    assert attack_outcome(record) == outcome


def test_branches_that_leave_the_topic_are_cut_before_they_are_answered(ran):
    tree = replace_turns(shipped_attacks()["tree_of_attacks"], 2)
    said = {
        "attacker": FIRST,
        "actor/r0.0": FAIR,
        "critic/r0.0": graded(5),
        "attacker/r1.0.0": SECOND,
        "attacker/r1.0.1": THIRD,
        "critic/r1.0/topic": '{"on_topic": false}',
        "critic/r1.1/topic": '{"on_topic": true}',
        "actor/r1.0": FAIR + " Too.",
        "critic/r1.0": graded(4),
        "actor/0": FAIR,
        "critic/0": graded(5),
    }
    [record], _ = ran(tree, [said])
    assert (record["kind"], record["query"]) == ("accepted", THIRD)


def replace_turns(attack, turns):
    return attack.model_copy(update={"turns": turns})


def test_a_draft_is_criticised_and_revised_and_both_are_judged(ran):
    said = {
        "attacker": FIRST,
        "actor/0": BAD,
        "actor/0/critique": "It is one-sided.",
        "actor/0/revision": FAIR,
        "critic/0": graded(1),
        "critic/0/revision": graded(5),
    }
    [record], roles = ran("dilemma", [said], actor_mode="revise")
    assert (record["kind"], record["answer"]) == ("accepted", FAIR)
    [pair] = preference_records(record)
    assert (pair["chosen"], pair["rejected"]) == (FAIR, BAD)
    asked = roles["actor"].asks[f"{record['id']}/actor/0/critique"].messages
    assert "Both sides." in asked[-1]["content"]
    asked = roles["actor"].asks[f"{record['id']}/actor/0/revision"].messages
    assert [each["content"] for each in asked[2:5:2]] == [BAD, "It is one-sided."]


def test_a_short_answer_is_asked_for_and_the_pair_doesn_t_say_so(ran):
    said = {"attacker": FIRST, "actor/0": FAIR, "critic/0": graded(5)}
    [record], roles = ran("dilemma", [said], brief=True)
    [asked] = roles["actor"].asks.values()
    assert asked.messages[-1]["content"] == f"{FIRST} Answer in two or three sentences."
    [accepted] = accepted_records(record)
    assert accepted["messages"][0]["content"] == FIRST


def test_an_unknown_mode_and_several_direct_answers_are_mistakes():
    with pytest.raises(UserError, match="did you mean 'revise'"):
        check_actor_mode("revised", 1)
    with pytest.raises(UserError, match=r"config\.answers is 2, but actor_mode=direct gives one"):
        check_actor_mode("direct", 2)
    with pytest.raises(UserError, match="no target that could fail"):
        replace(SynthesisConfig(), only_failures=True)


TARGETED = {
    "attacker": FIRST,
    "target/t0": BAD,
    "critic/t0": graded(0),
    "actor/0": FAIR,
    "critic/0": graded(5),
}


def test_the_attacked_checkpoint_answers_first_and_its_failure_is_the_worse_side(ran):
    [record], roles = ran("dilemma", [TARGETED], who=ALL, target="x")
    assert (record["kind"], record["answer"]) == ("accepted", FAIR)
    assert [(each["by"], each["kind"]) for each in record["candidates"]] == [
        ("target", "rejected"),
        ("actor", "accepted"),
    ]
    [pair] = preference_records(record)
    assert (pair["chosen"], pair["rejected"]) == (FAIR, BAD)
    [asked] = roles["target"].asks.values()
    assert [each["role"] for each in asked.messages] == ["user"]  # without the persona


def test_a_good_answer_of_the_attacked_checkpoint_never_replaces_the_actor_s(ran):
    said = {**TARGETED, "critic/t0": graded(5), "critic/0": graded(0)}
    [record], _ = ran("dilemma", [said], who=ALL, target="x")
    assert (record["kind"], record["answer"]) == ("rejected", FAIR)


def test_nothing_is_written_where_the_attack_failed_and_only_failures_count(ran):
    said = {**TARGETED, "critic/t0": graded(5)}
    [record], roles = ran("dilemma", [said], who=ALL, target="x", only_failures=True)
    assert (record["kind"], record["reason"]) == ("rejected", "target: withstood")
    assert roles["actor"].keys == []


def test_an_escalation_turns_to_the_actor_where_the_attacked_checkpoint_falls(ran):
    said = {
        "attacker": FIRST,
        "target/t0": FAIR,
        "critic/t0": graded(5),
        "attacker/t1": SECOND,
        "target/t1": BAD,
        "critic/t1": graded(1),
        "actor/t1/0": FAIR + " So it is.",
        "critic/t1/0": graded(5),
    }
    [record], _ = ran("gradual_escalation", [said], who=ALL, target="x")
    assert record["kind"] == "accepted"
    assert record["conversation"] == messages(FIRST, FAIR, SECOND)
    assert record["answer"] == FAIR + " So it is."


MEASURED = {"who": ("attacker", "target", "critic"), "target": "x"}


@pytest.mark.parametrize(
    ("second", "reason"),
    [({"outcome": "timeout"}, "attacker: timeout"), ("A bench.", "follow-up: not a question")],
)
def test_an_escalation_that_its_attacker_does_not_carry_through_is_undecided(ran, second, reason):
    said = {
        "attacker": FIRST,
        "target/t0": FAIR,
        "critic/t0": graded(5),
        "attacker/t1": second,
    }
    [record], _ = ran("gradual_escalation", [said], **MEASURED)
    assert record["reason"] == reason
    success = AttackSuccess()
    success.add(record)
    found = success.summary()
    assert (found["overall"]["k"], found["overall"]["n"]) == (0, 0)
    assert (found["undecided"], found["unknown"]) == (1, 0)


def test_an_escalation_that_the_target_fails_before_its_last_turn_has_succeeded(ran):
    said = {"attacker": FIRST, "target/t0": BAD, "critic/t0": graded(0)}
    [record], _ = ran("gradual_escalation", [said], **MEASURED)
    assert attack_outcome(record) == "rejected"


def test_a_query_that_may_not_be_asked_is_kept_out_of_every_turn(ran):
    [record], _ = ran("gradual_escalation", [ESCALATION], excluded=[SECOND])
    assert record["reason"] == "follow-up: in the benchmark"


def test_without_an_actor_the_target_s_own_verdict_is_the_attempt_s(ran):
    said = [{key: TARGETED[key] for key in ("attacker", "target/t0", "critic/t0")}]
    [record], _ = ran("dilemma", said, who=("attacker", "target", "critic"), target="x")
    assert (record["kind"], record["answer"]) == ("rejected", BAD)


def test_without_a_critic_the_charter_s_rules_decide(ran):
    said = [
        {"attacker": FIRST, "actor/0": FAIR},
        {"attacker": SECOND, "actor/0": REFUSAL},
    ]
    records, _ = ran("dilemma", said, 2, who=("attacker", "actor"))
    assert [record["kind"] for record in records] == ["accepted", "rejected"]


def test_every_kind_of_turns_has_its_steps():
    assert STEPS.keys() == TURN_KINDS.keys() == set(get_args(Kind))
