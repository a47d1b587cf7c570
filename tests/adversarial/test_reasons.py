"""The table of reject reasons: every reason that a ledger stores has its entry."""

import pytest

from vcjax.adversarial.reasons import (
    FUNNEL,
    REJECT_REASONS,
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
def test_a_ledger_s_reason_has_its_column_and_its_stage(text, reason, stages):
    assert reject_reason(text) is reason
    assert stages_passed("rejected", text) == stages
    assert stages_passed("accepted", "Any words of the Critic's.") == len(FUNNEL)


def test_no_two_columns_have_one_label_and_each_has_help():
    assert len({reason.label for reason in REJECT_REASONS}) == len(REJECT_REASONS)
    assert all(reason.help.endswith(".") for reason in REJECT_REASONS)


def test_what_names_no_origin_is_an_error():
    with pytest.raises(ValueError, match="nobody"):
        reject_reason("nobody: knows")
