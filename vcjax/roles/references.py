"""From the references of roles in a config to roles that can be asked.

A reference is a model, `recorded:FILE` or an endpoint. Roles of one model share it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json
from vcjax.core.lineage import Parent
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.cluster import ClusterRole, EngineCluster
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec, is_endpoint, split_references
from vcjax.roles.local import LocalRole
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.role import Role
from vcjax.text.chat_settings import pinned, split_options, template_file
from vcjax.weights.resolve import SHIPPED
from vcjax.weights.workdir import as_begun

RECORDED = "recorded:"
TEMPLATE = "template"
"""Role of a chat template in a lineage."""


@dataclass(frozen=True)
class RoleSpec:
    """A role's model and its declared family.

    Attributes:
      model: a model reference, for the local engine; `recorded:FILE`; or an OpenAI-compatible
        endpoint, `http://HOST:PORT/v1#MODEL[#key_env=NAME][#OPTION=VALUE...]`, with or without
        `endpoint:` before it; of several URLs with commas between them, its replicas, the least
        loaded is asked. The options are the fields of `EndpointSpec`.
      family: e.g. `llama3`; empty where it is known.
    """

    model: str
    family: str = ""


UNDECLARED = "undeclared"
"""The family of a model that nobody has declared, where nothing depends on it."""


def family_of(spec: RoleSpec, field: str) -> str:
    """The declared family, or the known one of a shipped model or of a run that trained one.

    Args:
      field: where the user declares it, e.g. `critic_family`.

    Raises:
      UserError: it isn't declared and can't be known.
    """
    if (family := known_family(spec)) is None:
        raise UserError(f"config.{field}: declare the model family of {spec.model!r}, {_EXAMPLE}")
    return family


def families_of(specs: Mapping[str, RoleSpec]) -> dict[str, str]:
    """The families of roles by name, where a Critic or judge must be of another one.

    Raises:
      UserError: some aren't declared and can't be known; it names all of them.
    """
    families = {name: known_family(spec) for name, spec in specs.items()}
    missing = [name for name, family in families.items() if family is None]
    if missing:
        fields = ", ".join(dict.fromkeys(f"config.{_field(name)}" for name in missing))
        models = " and ".join(dict.fromkeys(repr(specs[name].model) for name in missing))
        what = "model family" if len(missing) == 1 else "model families"
        raise UserError(f"{fields}: declare the {what} of {models}, {_EXAMPLE}")
    return {name: family for name, family in families.items() if family is not None}


_EXAMPLE = "e.g. 'llama3'"


def _field(role: str) -> str:
    """Where the user declares a role's family; several critics share a field."""
    return f"{role.rstrip('0123456789')}_family"


def known_family(spec: RoleSpec) -> str | None:
    """The family of a model as far as it is declared or known."""
    if spec.family:
        return spec.family
    reference = split_options(spec.model)[0]
    visited: set[str] = set()
    # Back through the runs that trained it to the shipped model that they began with.
    while reference not in SHIPPED and reference not in visited:  # runs may name each other
        visited.add(reference)
        config = Path(reference) / "config.json"
        if not ((Path(reference) / "checkpoints").is_dir() and config.is_file()):
            break
        reference = split_options(read_json(config)["model"])[0]
    return SHIPPED[reference].family if reference in SHIPPED else None


def without_options(references: str) -> str:
    """Comma-separated references as configs and summaries record them: endpoints without options.

    Bounds and prices may change when a run is continued, since they don't change the requests. A
    chat template does, so its hash is recorded.
    """
    return ",".join(
        EndpointSpec.parse(each).reference if is_endpoint(each) else pinned(each)
        for each in split_references(references)
    )


EXECUTORS = ("local", "ray")
"""Where models run: on this machine's devices, or on those of a cluster of Ray."""


def open_roles(
    specs: Mapping[str, RoleSpec],
    config: EngineConfig,
    workdir: Path | None = None,
    executor: str = "local",
) -> tuple[dict[str, Role], list[Parent]]:
    """Opens every role. Returns them by name, and their models as parents in the lineage.

    Files with chat templates that references name are parents too.

    Args:
      executor: one of EXECUTORS.
      workdir: of the run. If it has begun, models of a hub are those of the commits that it began
        with; see `models_of`.

    Raises:
      UserError: a missing model or transcript, a bad endpoint, or one that doesn't answer.
    """
    roles: dict[str, Role] = {}
    opened: dict[tuple[str, str], Role] = {}
    parents: list[Parent] = []
    local = {spec.model for spec in specs.values() if not _is_remote(spec.model)}
    open_model = _opener(config, len(local), executor)
    for name, spec in specs.items():
        family = known_family(spec) or UNDECLARED
        model = spec.model if workdir is None else as_begun(spec.model, workdir, name)
        # By family too: a role has one, and roles of one model may declare different ones.
        if (model, family) not in opened:
            opened[model, family], found = _open(name, model, family, open_model)
            known = {each.reference for each in parents}
            parents += [parent for parent in found if parent.reference not in known]
        roles[name] = opened[model, family]
    return roles, parents


def models_of(roles: Mapping[str, Role]) -> list[Parent]:
    """The model of each role that is an engine's, for `write_sources` when a run begins."""
    return [
        replace(role.origin, role=name)
        for name, role in roles.items()
        if isinstance(role, LocalRole | ClusterRole)
    ]


def _is_remote(model: str) -> bool:
    """Whether no model is loaded here for it."""
    return model.startswith(RECORDED) or is_endpoint(model)


def _opener(
    config: EngineConfig, models: int, executor: str
) -> Callable[[str, str], LocalRole | ClusterRole]:
    """What opens a model by its reference, with its family."""
    if executor == "ray" and models:
        cluster = EngineCluster(config, models)
        return lambda model, family: ClusterRole(cluster, model, family=family)
    pool = ModelPool(config, models=max(1, models))
    return lambda model, family: LocalRole(pool, model, family=family)


def _open(
    name: str,
    model: str,
    family: str,
    open_model: Callable[[str, str], LocalRole | ClusterRole],
) -> tuple[Role, list[Parent]]:
    if model.startswith(RECORDED):
        path = model.removeprefix(RECORDED)
        return RecordedRole(path, family=family), [Parent.of(name, path, model)]
    if is_endpoint(model):
        role = EndpointRole(EndpointSpec.parse(model), family=family)
        # Here and not at the first ask, which may come hours later.
        role.check()
        # An endpoint's weights can't be hashed; the ledger has the model that it reports.
        return role, [Parent(name, role.model, hash_text(role.model))]
    role = open_model(model, family)
    return role, [replace(role.origin, role=name), *template_parents(model)]


def template_parents(model: str) -> list[Parent]:
    """The file with the chat template that a model reference names, if any, for the lineage."""
    path = template_file(model)
    return [] if path is None else [Parent.of(TEMPLATE, path)]
