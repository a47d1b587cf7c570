"""The queries that every arm is measured with: written once, by the base model as Attacker."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.calls import ATTACKER
from vcjax.adversarial.cells import CellGroup
from vcjax.adversarial.inputs import read_suite
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.pipeline import QueryWriter
from vcjax.charter.load import charter_file
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, read_jsonl, write_json, write_jsonl
from vcjax.core.lineage import Parent
from vcjax.core.run import Run
from vcjax.data.records import BenchmarkItem
from vcjax.road.ablation_config import AblationConfig
from vcjax.roles.references import RoleSpec, open_roles, without_options

HELD_OUT, TRAINED = "held_out", "trained"
GROUPS = (HELD_OUT, TRAINED)
"""Attacks and subdomains that no arm is trained on, and those that arms are trained on."""
ITEMS, PLACES = "queries.jsonl", "places.json"
_CALL = f"{ATTACKER}/measured"  # not the call of an arm's attempt, which has another seed then
_ATTEMPTS = 6
"""For each query that is wanted of a cell, before it is given up."""


@dataclass(frozen=True)
class Place:
    """Where a query is in the matrix of attacks."""

    group: str
    subdomain: str
    attack: str
    topic: str


def groups(config: AblationConfig) -> dict[str, CellGroup]:
    """The cells of each group.

    Raises:
      UserError: an attack that is unknown, in both groups or, where it is held out, asks on from
        answers; or nothing is held out, or nothing left to train on that can be measured with.
    """
    suite = read_suite(config.synthesis)
    for attack in suite.held_out_attacks:
        if attack.kind != "single":
            raise UserError(
                f"config.held_out_attacks: {attack.name!r} goes on from what it is answered, and "
                "every arm is asked the same queries; name attacks of kind single"
            )
    held_out = suite.held_out().get("both")
    if held_out is None:
        raise UserError(
            f"charter {suite.charter.name!r} holds no topic in {config.language!r} out; mark a "
            "subdomain `held_out`"
        )
    singles = {attack.name for attack in suite.attacks if attack.kind == "single"}
    trained = tuple(cell for cell in suite.cells() if cell.attack in singles)
    if not trained:
        raise UserError("config.attacks: none is of kind single; all queries must stand alone")
    return {HELD_OUT: held_out, TRAINED: CellGroup(trained)}


def write_queries(config: AblationConfig, attacker: RoleSpec, folder: Path) -> None:
    """Has `queries.jsonl`, benchmark items, and `places.json` written, unless they are there.

    Raises:
      GateNotMet: no query that is good for a held-out cell was written.
    """
    names = ("charter", "language", "attacks", "held_out_attacks", "seed")
    settings: dict[str, Any] = {name: getattr(config, name) for name in names}
    wanted = {HELD_OUT: config.held_out_queries, TRAINED: config.trained_queries}
    settings |= {f"{group}_queries": count for group, count in wanted.items()}
    settings["attacker"] = without_options(attacker.model)
    run = Run("queries", folder, settings, seed=config.seed)
    if run.is_finished():
        return
    roles, parents = open_roles({ATTACKER: attacker}, config)
    sampling = replace(config.synthesis, seed=config.seed, wave=config.slots)
    suite = read_suite(config.synthesis)
    with run.opened():
        with Ledger(folder / "ledger.sqlite") as ledger:
            writer = QueryWriter(sampling, suite, roles[ATTACKER], ledger, stage=_CALL)
            found = {
                name: writer.write(group, wanted[name], _ATTEMPTS)
                for name, group in groups(config).items()
            }
        if not found[HELD_OUT]:
            raise GateNotMet(f"{folder}: the Attacker wrote no good query on held-out topics")
        items, places = [], {}
        for group, queries in found.items():
            for attempt, text in queries:
                place = Place(group, attempt.subdomain, attempt.attack, attempt.topic)
                places[attempt.id] = asdict(place)
                named = (attempt.id, attempt.id, attempt.subdomain, attempt.lang)
                items.append(BenchmarkItem(*named, text).to_dict())
        write_jsonl(folder / ITEMS, items)
        write_json(folder / PLACES, places)
        parents.append(Parent.of("charter", charter_file(config.charter), config.charter))
        run.finish(parents)


def read_places(folder: Path) -> dict[str, Place]:
    """The place of each query, by its id."""
    return {id: Place(**place) for id, place in read_json(folder / PLACES).items()}


def read_questions(folder: Path) -> dict[str, str]:
    """The text of each query, by its id."""
    return {item["id"]: item["question"] for _, item in read_jsonl(folder / ITEMS)}
