"""How each role is asked: bounds, temperature and a seed of its own for every call."""

from collections.abc import Sequence
from typing import Any

from vcjax.adversarial.calls import Call
from vcjax.adversarial.config import SynthesisConfig
from vcjax.core.seeds import derive_seed
from vcjax.roles.role import Ask, Message

_ALTERNATIVES = 10
"""Of each number in a verdict: a score is one of six tokens, and some are spelt in two ways."""


class Asking:
    """Makes the calls of a run; a call's stage is `<role>/<what distinguishes it>`."""

    def __init__(self, config: SynthesisConfig) -> None:
        self._seed, self._top_p = config.seed, config.top_p
        actor = (config.actor_tokens, config.actor_temperature)
        self._sampling = {
            "attacker": (config.attacker_tokens, config.attacker_temperature),
            "actor": actor,
            "target": actor,
            "critic": (config.critic_tokens, config.critic_temperature),
        }

    def call(
        self,
        role: str,
        attempt: str,
        stage: str,
        messages: Sequence[Message],
        schema: dict[str, Any] | None = None,
    ) -> Call:
        """Args:
        role: of several Critics all but the first have a number behind the name.
        attempt: the id of the attempt that it belongs to.
        stage: begins with the role.
        """
        max_tokens, temperature = self._sampling[role.rstrip("0123456789")]
        ask = Ask(
            key=f"{attempt}/{stage}",
            messages=tuple(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=self._top_p,
            seed=derive_seed(self._seed, attempt, stage),
            json_schema=schema,
            top_logprobs=_ALTERNATIVES if schema is not None else 0,
        )
        return Call(role, attempt, stage, ask)
