"""What an endpoint has been asked and has answered: its bounds, and whether it is still there."""

from vcjax.core.errors import GateNotMet
from vcjax.roles.answers import BAD_REQUEST, NO_ANSWER
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.role import Reply


class Account:
    """One endpoint's account in one run."""

    def __init__(self, spec: EndpointSpec) -> None:
        self._spec = spec
        self.tokens, self.cost = 0, 0.0
        self.answered = False
        self._failed_in_a_row = 0

    def charge(self, tokens: int, cost: float) -> None:
        """Counts what was spent."""
        self.tokens += tokens
        self.cost += cost

    def cost_of(self, reply: Reply) -> float:
        """What a reply costs, by the prices of a million tokens."""
        asked, answered = reply.prompt_tokens, reply.tokens
        return (asked * self._spec.prompt_price + answered * self._spec.price) / 1e6

    def enter(self, reply: Reply) -> None:
        """Takes a reply into account.

        A request that is turned down says nothing about the endpoint, unless none ever went well:
        then it is a mistake that they have in common.
        """
        self.charge(reply.prompt_tokens + reply.tokens, reply.cost)
        turned_down = reply.outcome == BAD_REQUEST and not self.answered
        if reply.outcome in NO_ANSWER or turned_down:
            self._failed_in_a_row += 1
        else:
            self._failed_in_a_row, self.answered = 0, True

    def check_budget(self) -> None:
        """Raises GateNotMet where all that the run may spend is spent."""
        spec = self._spec
        if spec.token_budget and self.tokens >= spec.token_budget:
            spent, bound = f"{self.tokens:,} tokens", f"token_budget={spec.token_budget}"
        elif spec.cost_budget and self.cost >= spec.cost_budget:
            spent, bound = f"a cost of {self.cost:.2f}", f"cost_budget={spec.cost_budget:g}"
        else:
            return
        raise GateNotMet(f"{spec.reference}: its budget is spent: {spent} of {bound}")

    def check_health(self, last: Reply) -> None:
        """Raises GateNotMet where too many asks in a row got no answer."""
        if self._failed_in_a_row >= self._spec.in_a_row:
            raise GateNotMet(
                f"{self._spec.reference}: {self._failed_in_a_row} asks in a row failed, the last "
                f"one: {last.outcome} ({last.detail}); the same command goes on from here"
            )
