"""What the report says of the training itself."""

from vcjax.report.blocks import Table
from vcjax.report.training import training_section

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
