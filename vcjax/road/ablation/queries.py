"""The queries that every arm of an ablation is asked: written once, by the base model as Attacker.

held_out  attacks and topics that no arm is trained on
trained   attacks and topics that arms are trained on
clean     plain questions on the held-out topics, without any attack: a habit that doesn't depend on
          attacks shows in these as well
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.attacks.style import plain_question
from vcjax.adversarial.calls import ATTACKER
from vcjax.adversarial.cells import AttackSuite, CellGroup
from vcjax.adversarial.inputs import read_suite
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.measurement import QueryWriter
from vcjax.charter.load import charter_parents
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, read_jsonl, write_json, write_jsonl
from vcjax.core.run import Run
from vcjax.data.records import BenchmarkItem
from vcjax.generate.room import USUAL_SLOTS
from vcjax.road.ablation.config import AblationConfig
from vcjax.roles.references import RoleSpec, models_of, open_roles, without_options
from vcjax.weights.workdir import write_sources

HELD_OUT, TRAINED, CLEAN = "held_out", "trained", "clean"
GROUPS = (HELD_OUT, TRAINED, CLEAN)
ITEMS, CELLS = "queries.jsonl", "places.json"
_CALL = f"{ATTACKER}/measured"  # not the call of an arm's attempt, which has another seed then
_ATTEMPTS = 6
"""For each query that is wanted of a cell, before it is given up."""


@dataclass(frozen=True)
class QueryCell:
    """The group of a query, and the part of its cell by which queries differ; and its topic."""

    group: str
    subdomain: str
    attack: str
    topic: str

    @property
    def cluster(self) -> tuple[str, str]:
        """The topic, by which queries are alike, with the subdomain that it is of."""
        return self.subdomain, self.topic


def query_groups(config: AblationConfig) -> dict[str, CellGroup]:
    """The cells of each group.

    Raises:
      UserError: an attack that is unknown, in both groups or, where it is held out, of several
        turns; or nothing is held out, or nothing that is trained on can be measured with.
    """
    suite = read_suite(config.synthesis)
    for attack in suite.held_out_attacks:
        if attack.kind != "single":
            raise UserError(
                f"config.held_out_attacks: {attack.name!r} continues from the answers, and "
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
        raise UserError("config.attacks: none is of kind single; measured queries have one turn")
    # The same held-out topics, so that attacked and plain queries differ in the attack alone.
    clean = replace(suite, held_out_attacks=(plain_question(),)).held_out()["both"]
    return {HELD_OUT: held_out, TRAINED: CellGroup(trained), CLEAN: clean}


def write_queries(config: AblationConfig, attacker: RoleSpec, folder: Path) -> None:
    """Has `queries.jsonl` (benchmark items) and `places.json` (their cells) written, unless they
    are there.

    Raises:
      GateNotMet: no query that is good for a held-out cell was written, or no plain question.
    """
    names = ("charter", "language", "attacks", "held_out_attacks", "seed")
    settings: dict[str, Any] = {name: getattr(config, name) for name in names}
    wanted = {group: getattr(config, f"{group}_queries") for group in GROUPS}
    settings |= {f"{group}_queries": count for group, count in wanted.items()}
    settings["attacker"] = without_options(attacker.model)
    run = Run("queries", folder, settings, seed=config.seed)
    if run.is_finished():
        return
    roles, parents = open_roles({ATTACKER: attacker}, config, folder)
    # A wave fills the engine once. Its size decides which queries repeat others, so that without
    # slots in the config it is a fixed one and not the machine's.
    sampling = replace(config.synthesis, seed=config.seed, wave=config.slots or USUAL_SLOTS)
    with run.opened():
        write_sources(folder, models_of(roles))
        suite = _suite(config)
        with Ledger.of_run(
            folder / "ledger.sqlite", roles=roles.values(), charter=suite.charter.content_hash
        ) as ledger:
            writer = QueryWriter(sampling, suite, roles[ATTACKER], ledger, stage=_CALL)
            found = {
                name: writer.write(group, wanted[name], _ATTEMPTS)
                for name, group in query_groups(config).items()
            }
        for group, what in ((HELD_OUT, "good query"), (CLEAN, "plain question")):
            if not found[group]:
                raise GateNotMet(f"{folder}: the Attacker wrote no {what} on held-out topics")
        items, cells = [], {}
        for group, queries in found.items():
            for attempt, text in queries:
                cell = QueryCell(group, attempt.subdomain, attempt.attack, attempt.topic)
                cells[attempt.id] = asdict(cell)
                item = BenchmarkItem(
                    id=attempt.id,
                    parallel_id=attempt.id,
                    domain=attempt.subdomain,
                    lang=attempt.lang,
                    question=text,
                )
                items.append(item.to_dict())
        write_jsonl(folder / ITEMS, items)
        write_json(folder / CELLS, cells)
        parents += charter_parents(config.charter)
        run.finish(parents)


def read_query_cells(folder: Path) -> dict[str, QueryCell]:
    """The cell of each query, by its id."""
    return {id: QueryCell(**cell) for id, cell in read_json(folder / CELLS).items()}


def read_questions(folder: Path) -> dict[str, str]:
    """The text of each query, by its id."""
    return {item["id"]: item["question"] for _, item in read_jsonl(folder / ITEMS)}


def query_ids(cells: Mapping[str, QueryCell], group: str) -> list[str]:
    """The ids of a group's queries, sorted: the order of every array over them."""
    return sorted(id for id, cell in cells.items() if cell.group == group)


def _suite(config: AblationConfig) -> AttackSuite:
    """All that queries are written in: the attacks, and the style of plain questions."""
    suite = read_suite(config.synthesis)
    return replace(suite, held_out_attacks=(*suite.held_out_attacks, plain_question()))
