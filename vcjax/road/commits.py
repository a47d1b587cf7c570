"""The models of a run of several stages: each of a hub's at one commit for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vcjax.adversarial.calls import CRITIC
from vcjax.adversarial.config import SynthesisConfig, split_names
from vcjax.core.lineage import Parent
from vcjax.roles.endpoint_spec import is_endpoint
from vcjax.roles.references import RECORDED
from vcjax.weights.load import open_model
from vcjax.weights.workdir import as_begun


def at_commits(
    models: Mapping[str, str], workdir: Path, *, begins: bool
) -> tuple[dict[str, str], list[Parent]]:
    """The models of a run by role, each hub id at the commit that the run began with.

    Otherwise a stage that starts after a commit to the hub would be made with another model than
    the stages before it. A run that was begun without such records keeps its references, which
    its stages have recorded.

    Args:
      models: references as for `RoleSpec`; an empty one stays empty.
      begins: whether no stage has begun yet.

    Returns:
      The references, and what `write_sources` is to record of a run that begins.

    Raises:
      UserError: no such model, or one without a tokenizer.
    """
    found = {role: as_begun(model, workdir, role) for role, model in models.items()}
    parents: list[Parent] = []
    if not begins:
        return found, parents
    for role, model in found.items():
        if model and not model.startswith(RECORDED) and not is_endpoint(model):
            # Opened, not only looked up: a model that can't be used shows here, before the first
            # stage.
            stored = open_model(model)
            stored.require_tokenizer()
            found[role] = stored.origin.reference
            parents.append(replace(stored.origin, role=role))
    return found, parents


def critics_of(synthesis: SynthesisConfig, prefix: str = "") -> dict[str, str]:
    """The Critics of a synthesis run by roles of their own, such as `PREFIXcritic1`."""
    named = enumerate(split_names(synthesis.critic), start=1)
    return {f"{prefix}{CRITIC}{number}": model for number, model in named}


def with_critics(synthesis: SynthesisConfig, models: Sequence[str]) -> SynthesisConfig:
    """The settings with these Critics; as they were written, where they are the same."""
    if split_names(synthesis.critic) == list(models):
        return synthesis
    return replace(synthesis, critic=",".join(models))
