"""What calls have cost counts towards the budgets of whoever continues their run."""

from tests.adversarial.attempts import ASK, fill
from tests.roles.failing import serving
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec


def test_what_earlier_processes_spent_counts_towards_an_endpoint_s_bounds(tmp_path):
    path = tmp_path / "ledger.sqlite"
    fill(path, range(3))  # by a model that isn't an endpoint
    with serving() as server:
        spec = EndpointSpec.parse(f"{server.url}#m#price=10#prompt_price=2")
        first = EndpointRole(spec, family="a")
        (reply,) = first.ask([ASK])
        with Ledger(path) as ledger:
            ledger.record_call("x", "actor", ASK, reply, model=first.model, family="a")
        again = EndpointRole(spec, family="a")
        Ledger.of_run(path, roles=[again, again], charter="").close()
    assert again.account.tokens == first.account.tokens == 15
    assert again.account.cost == first.account.cost > 0


def test_calls_that_were_made_before_their_price_was_known_count_at_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with serving() as server:
        unpriced = EndpointRole(EndpointSpec.parse(f"{server.url}#m"), family="a")
        (reply,) = unpriced.ask([ASK])
        with Ledger(path) as ledger:
            ledger.record_call("x", "actor", ASK, reply, model=unpriced.model, family="a")
        priced = EndpointSpec.parse(f"{server.url}#m#price=10#prompt_price=2")
        later = EndpointRole(priced, family="a")
        Ledger.of_run(path, roles=[later], charter="").close()
    assert later.account.cost == priced.cost(10, 5) == 70e-6
