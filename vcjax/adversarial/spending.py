"""What a run has spent on its endpoints before it was started again."""

from collections.abc import Iterable

from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.role import Role


def charge_earlier(roles: Iterable[Role], ledger: Ledger) -> None:
    """Counts what the ledger's calls have cost towards the bounds of those that are endpoints."""
    endpoints = {id(role): role for role in roles if isinstance(role, EndpointRole)}.values()
    if not endpoints:
        return
    spent = ledger.usage()
    for role in endpoints:
        for row in spent:
            if row["model"] == role.model:
                role.account.charge(row["prompt_tokens"] + row["tokens"], row["cost"])
