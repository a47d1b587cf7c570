"""What recorded calls have cost: for reports, and towards the budgets of endpoints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.role import Role


def charge_recorded_calls(
    roles: Iterable[Role], spending: Callable[[], Sequence[Mapping[str, Any]]]
) -> None:
    """Counts what a ledger's calls have cost towards the budgets of the roles' endpoints: a run
    that is started again has spent that already.

    Args:
      spending: see `Ledger.spending`, which takes seconds for a million calls.
    """
    # By identity: several roles may be one endpoint, whose account must be charged once.
    endpoints = {id(role): role for role in roles if isinstance(role, EndpointRole)}.values()
    if not endpoints:
        return
    spent = spending()
    for role in endpoints:
        for row in spent:
            if row["model"] == role.model:
                tokens = row["prompt_tokens"] + row["tokens"]
                role.account.charge(tokens, spent_cost(role.spec, row) or 0.0)


def spent_cost(spec: EndpointSpec, row: Mapping[str, Any]) -> float | None:
    """What a row of `Ledger.spending` or `Ledger.usage` has cost; None where that isn't known.

    Calls that were made before their price was known have the price of now.
    """
    later = spec.cost(row["unpriced_prompt_tokens"], row["unpriced_tokens"])
    return None if later is None else row["cost"] + later
