"""Launch scripts on paths in stores: those that need a disk report it before they start."""

import pytest

from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import UserError
from vcjax.road.ablation.run import ablate
from vcjax.road.demo.run import run_demo
from vcjax.road.rounds import run_rounds


@pytest.mark.parametrize("verb", [synthesize, ablate, run_rounds, run_demo])
def test_a_verb_with_a_ledger_refuses_a_store_before_it_looks_at_anything_else(verb):
    with pytest.raises(UserError, match=r"^gs://bucket/run: can't be in a store") as error:
        verb(None, "gs://bucket/run")
    assert "\n" not in str(error.value)


def test_a_ledger_in_a_store_is_refused():
    with (
        pytest.raises(UserError, match="can't be in a store"),
        opened_to_read("gs://bucket/ledger.sqlite"),
    ):
        pass
