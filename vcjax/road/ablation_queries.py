"""The queries that every arm is measured with: written once, by the base model as Attacker."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.asking import Asking
from vcjax.adversarial.attacks.prompts import attacker_messages, extract_query
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.adversarial.calls import Caller, Steps, run_together
from vcjax.adversarial.candidates import failure
from vcjax.adversarial.cells import Attempt, Cell
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.outcome import ATTACKER
from vcjax.adversarial.plan import Limits, Planner, Tally
from vcjax.adversarial.scope import HeldOut, read_scope, split
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.charter.load import charter_file, load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, read_jsonl, write_json, write_jsonl
from vcjax.core.lineage import NAME, Parent, write_lineage
from vcjax.core.run import check_config, opened
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


def groups(config: AblationConfig) -> dict[str, HeldOut]:
    """The cells of each group.

    Raises:
      UserError: an attack that is unknown, in both groups or, where it is held out, asks on from
        answers; or nothing is held out, or nothing left to train on that can be measured with.
    """
    scope = read_scope(config.synthesis)
    for attack in scope.held_out_attacks:
        if attack.kind != "single":
            raise UserError(
                f"config.held_out_attacks: {attack.name!r} goes on from what it is answered, and "
                "every arm is asked the same queries; name attacks of kind single"
            )
    held_out = scope.held_out().get("both")
    if held_out is None:
        raise UserError(
            f"charter {scope.charter.name!r} holds no topic in {config.language!r} out; mark a "
            "subdomain `held_out`"
        )
    singles = {attack.name for attack in scope.attacks if attack.kind == "single"}
    trained = tuple(cell for cell in scope.cells() if cell.attack in singles)
    if not trained:
        raise UserError("config.attacks: none is of kind single; all queries must stand alone")
    return {HELD_OUT: held_out, TRAINED: HeldOut(trained, topics=False)}


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
    check_config(folder, settings)
    if (folder / NAME).is_file():
        return
    charter = load_charter(config.charter)
    roles, parents = open_roles({ATTACKER: attacker}, config)
    with opened(folder, settings):
        with Ledger(folder / "ledger.sqlite") as ledger:
            writing = _Writing(config, charter, Caller(roles, ledger))
            found = {
                group: writing.fill(members, wanted[group])
                for group, members in groups(config).items()
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
        write_lineage(folder, kind="queries", parents=parents, config=settings, seed=config.seed)


def read_places(folder: Path) -> dict[str, Place]:
    """The place of each query, by its id."""
    return {id: Place(**place) for id, place in read_json(folder / PLACES).items()}


def read_questions(folder: Path) -> dict[str, str]:
    """The text of each query, by its id."""
    return {item["id"]: item["question"] for _, item in read_jsonl(folder / ITEMS)}


class _Writing:
    """Has queries written until each cell has those that are wanted of it, or its attempts are
    spent; a kill loses nothing that was written, as the ledger has it."""

    def __init__(self, config: AblationConfig, charter: Charter, caller: Caller) -> None:
        self._seed, self._charter, self._caller = config.seed, charter, caller
        self._asking = Asking(replace(config.synthesis, seed=self._seed))
        chosen = (split(config.attacks), split(config.held_out_attacks))
        self._attacks = {each.name: each for names in chosen for each in choose_attacks(names)}
        self._queries = Queries(SeedQuestions((), charter))
        self._wave = config.slots

    def fill(self, group: HeldOut, wanted: int) -> list[tuple[Attempt, str]]:
        """Good queries of the group's cells, in the order in which they were written."""
        most = wanted * _ATTEMPTS
        limits = Limits(len(group.cells) * most, wanted, most, self._wave)
        planner = Planner(
            *(group.cells, self._charter, limits), seed=self._seed, held_out=group.topics
        )
        tallies: dict[Cell, Tally] = {}
        good: list[tuple[Attempt, str]] = []
        wave = 0
        while planned := planner.plan(wave, tallies):
            written = run_together([self._script(attempt) for attempt in planned], self._caller.ask)
            self._queries.finish_wave(written)
            for attempt, text in zip(planned, written, strict=True):
                kind = "accepted" if text else "rejected"
                tallies[attempt.cell] = tallies.get(attempt.cell, Tally()).counted(kind)
            good += [pair for pair in zip(planned, written, strict=True) if pair[1]]
            wave += 1
        return good

    def _script(self, attempt: Attempt) -> Steps[str]:
        """One query; empty where what was written is none."""
        attack = self._attacks[attempt.attack]
        prompt = attacker_messages(attack, attempt.lang, attempt.topic, attempt.severity)
        [reply] = yield [self._asking.call(ATTACKER, attempt.id, _CALL, prompt)]
        text = extract_query(reply.text)
        if failure(ATTACKER, reply) or self._queries.fault(attempt, attack, prompt, text):
            return ""
        self._queries.take(text)
        return text
