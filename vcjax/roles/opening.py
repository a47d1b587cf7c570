"""From what a config says about roles to roles that can be asked; one model is loaded once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json
from vcjax.foundation.lineage import Parent
from vcjax.roles.local import LocalRole
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.role import Role
from vcjax.weights.bundle import load_located
from vcjax.weights.resolve import resolve
from vcjax.weights.shipped import SHIPPED

RECORDED = "recorded:"


@dataclass(frozen=True)
class RoleSpec:
    """A model reference or `recorded:FILE`, and the family that its user declares."""

    model: str
    family: str = ""


def family_of(spec: RoleSpec, field: str) -> str:
    """The declared family, or the known one of a shipped model or of a run that trained one.

    Args:
      field: where the user declares it, e.g. `critic_family`.

    Raises:
      UserError: it isn't declared and can't be known.
    """
    if spec.family:
        return spec.family
    reference = spec.model
    seen: set[str] = set()
    while reference not in SHIPPED and reference not in seen:
        seen.add(reference)
        config = Path(reference) / "config.json"
        if not ((Path(reference) / "checkpoints").is_dir() and config.is_file()):
            break
        reference = read_json(config)["model"]
    if reference in SHIPPED:
        return SHIPPED[reference].family
    raise UserError(f"config.{field}: say of which family {spec.model!r} is, e.g. 'llama3'")


def open_roles(specs: Mapping[str, RoleSpec], slots: int) -> tuple[dict[str, Role], list[Parent]]:
    """Opens every role. Returns them by name, and the models behind them as lineage parents."""
    roles: dict[str, Role] = {}
    opened: dict[tuple[str, str], Role] = {}
    parents = []
    for name, spec in specs.items():
        family = family_of(spec, f"{name}_family")
        if (spec.model, family) not in opened:
            if spec.model.startswith(RECORDED):
                path = spec.model.removeprefix(RECORDED)
                role: Role = RecordedRole(path, family=family)
                parents.append(Parent.of(name, path, spec.model))
            else:
                bundle = load_located(resolve(spec.model), "float32")
                role = LocalRole(bundle, family=family, slots=slots)
                origin = bundle.origin
                parents.append(Parent(name, origin.reference, origin.hash, origin.path))
            opened[spec.model, family] = role
        roles[name] = opened[spec.model, family]
    return roles, parents
