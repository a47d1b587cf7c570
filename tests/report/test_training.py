"""The report's sections on training and on the attempts."""

from vcjax.adversarial.reasons import QueryReason
from vcjax.report.page import Figure, Table
from vcjax.report.training import attempts_section, training_section

RUN = {
    **{"steps": 40, "tokens": 2000, "loss_tokens": 1000, "seconds": 10.0},
    **{"first_loss": 2.5, "last_loss": 1.5},
}


def tables(stages) -> list[Table]:
    blocks = training_section(stages, {}, {}).blocks
    return [block for block in blocks if isinstance(block, Table)]


def test_held_out_losses_are_shown_for_the_stages_that_measured_them():
    held_out = {"first_loss": 3.0, "last_loss": 2.25, "best_loss": 2.0, "best_step": 20}
    stages = {"cpt": RUN, "sft": {**RUN, "validation": held_out, "stopped_early": 40}}
    (_, table) = tables(stages)
    assert table.rows == [("Instruction tuning", "3.000", "2.250", "2.000", "20", "40")]
    (_, table) = tables({"sft": {**RUN, "validation": held_out}})
    assert table.rows[0][-1] == "–"
    never_finite = dict.fromkeys(held_out)
    (_, table) = tables({"sft": {**RUN, "validation": never_finite}})
    assert set(table.rows[0][1:]) == {"–"}


def test_a_run_that_measured_nothing_has_no_such_table():
    assert len(tables({"cpt": RUN, "sft": RUN})) == 1


def test_reject_reasons_are_explained_as_the_table_of_reasons_has_it():
    unread = {"critic: malformed": 2}
    kinds = dict.fromkeys(("attempts", "accepted", "rejected", "unscored", "blocked"), 0)
    summary = {
        **kinds,
        "accept_rate_bounds": None,
        "sources": {},
        "reasons": {"rejected": {"actor: refusal": 3, "rule: sane_length": 1}, "unscored": unread},
        "attacker_faults": {reason: 1 for reason in QueryReason},
        "cells": [],
    }
    tables = [block for block in attempts_section(summary).blocks if isinstance(block, Table)]
    attempts, queries = tables[1:]
    assert attempts.rows == [
        ("Rejected", "actor: refusal", "The answer declines to answer.", "3"),
        ("Rejected", "rule: sane_length", "The answer fails a rule check of the charter.", "1"),
        ("Unscored", "critic: malformed", "–", "2"),
    ]
    assert [row[1] for row in queries.rows] == [reason.help for reason in QueryReason]


def test_the_yield_so_far_is_drawn_where_it_was_recorded():
    summary = {
        **dict.fromkeys(("attempts", "accepted", "rejected", "unscored", "blocked"), 8),
        **{"sources": {}, "reasons": {}, "cells": [], "accept_rate_bounds": None},
        "yield_curve": [{"attempts": 4, "accepted": 3}, {"attempts": 8, "accepted": 4}],
    }
    captions = [
        each.caption for each in attempts_section(summary).blocks if isinstance(each, Figure)
    ]
    assert captions == ["Pairs by the number of attempts so far."]
    del summary["yield_curve"]  # of an earlier version
    assert not any(isinstance(each, Figure) for each in attempts_section(summary).blocks)
