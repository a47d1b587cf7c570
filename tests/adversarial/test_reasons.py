"""The table of reject reasons: every reason that a ledger stores has its entry."""

import pytest

from vcjax.adversarial.reasons import (
    FUNNEL,
    AnswerReason,
    AttemptReason,
    Origin,
    QueryReason,
    reject_reason,
    stages_passed,
)


@pytest.mark.parametrize(
    ("text", "reason", "stages"),
    [
        ("attacker: too short, and no seed question is left", QueryReason.TOO_SHORT, 1),
        ("attacker: no first framing", AttemptReason.NO_FIRST_FRAMING, 1),
        ("attacker: asked in another shard", AttemptReason.OTHER_SHARD, 1),
        ("attacker: timeout", Origin.ATTACKER, 1),
        ("follow-up: copies its prompt", QueryReason.COPIES_PROMPT, 2),
        ("target: withstood", AttemptReason.ATTACK_FAILED, 2),
        ("target: empty", AnswerReason.EMPTY, 2),
        ("actor: refusal", AnswerReason.REFUSAL, 2),
        ("rule: fair/not_a_refusal", Origin.RULE, 2),
        ("critic: facts 2", Origin.CRITIC, 3),
        ("critic: floor no_hate", Origin.CRITIC, 3),
    ],
)
def test_a_ledger_s_reason_has_its_entry_and_its_stage(text, reason, stages):
    assert reject_reason(text) is reason
    assert stages_passed("rejected", text) == stages
    assert stages_passed("accepted", "Any words of the Critic's.") == len(FUNNEL)


@pytest.mark.parametrize("table", [Origin, QueryReason, AttemptReason, AnswerReason])
def test_each_reason_is_explained_in_a_sentence_of_its_own(table):
    assert all(reason.help.endswith(".") for reason in table)
    assert len({reason.help for reason in table}) == len(table)


def test_what_names_no_origin_is_an_error():
    with pytest.raises(ValueError, match="nobody"):
        reject_reason("nobody: knows")
