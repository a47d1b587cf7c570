"""Attacks and queries that only measure: the same for every checkpoint, and never trained on.

`measure_attacks` attacks a checkpoint on all that is held out; its first queries are those of the
first measurement, so that the same attempts on two checkpoints can be compared in pairs.
`QueryWriter` has queries written that whoever measures asks by other means.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vcjax.adversarial.attack_success import AttackSuccess, attack_outcome
from vcjax.adversarial.attacks.prompts import QUERY_SCHEMA, attacker_messages, read_query
from vcjax.adversarial.attacks.queries import Queries, StandInQuestions
from vcjax.adversarial.attacks.style_check import counts_as_attack
from vcjax.adversarial.calls import (
    ACTOR,
    ATTACKER,
    CRITIC,
    TARGET,
    CallBuilder,
    Caller,
    Opened,
    Steps,
    failed_call,
)
from vcjax.adversarial.cells import AttackSuite, Attempt, Cell, CellGroup
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.inputs import Inputs, read_inputs
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.query import asked_queries, attempts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.pipeline import Pipeline, plan_attempts
from vcjax.adversarial.plan import Limits, Tally
from vcjax.adversarial.waves import run_waves
from vcjax.charter.load import charter_parents
from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.lineage import Parent
from vcjax.core.run import SUMMARY, Run
from vcjax.roles.cache import CachedRole
from vcjax.roles.references import models_of, open_roles
from vcjax.roles.role import OK, Reply, Role
from vcjax.weights.workdir import write_sources

_UNUSED = ("attempts", "cell_attempts", "force_export")
"""Settings of a synthesis run that a measurement doesn't depend on, so they may be raised."""


def measure_attacks(
    config: SynthesisConfig, folder: Path, *, per_cell: int, first: Path | None = None
) -> dict[str, Any]:
    """Attacks `config.target` on all that is held out; returns success by group.

    Args:
      config: its `actor` isn't asked.
      per_cell: attempts in each held-out cell.
      first: the folder of an earlier measurement, whose first queries are asked again.

    Raises:
      UserError: a bad input, or nothing is held out; before anything is written.
    """
    inputs = read_inputs(config)
    groups = inputs.suite.held_out()
    if not groups:
        raise UserError(
            f"charter {inputs.suite.charter.name!r} holds nothing out, so nothing shows whether a "
            "round was learned or memorised; name config.synthesis.held_out_attacks"
        )
    settings = {**asdict(config), "per_cell": per_cell, "first": str(first or "")}
    renewing = [ATTACKER, TARGET, CRITIC]
    run = Run("measure", folder, settings, seed=config.seed, deferred=_UNUSED, renewing=renewing)
    if (summary := run.finished()) is not None:
        return summary
    # The target's own answers are measured; nobody writes better ones.
    specs = {name: spec for name, spec in inputs.specs.items() if name != ACTOR}
    roles, parents = open_roles(specs, config, folder)
    with run.opened():
        write_sources(folder, models_of(roles))
        found = {}
        for name, group in groups.items():
            known = {} if first is None else first_replies(first / f"{name}.sqlite")
            ledger = folder / f"{name}.sqlite"
            found[name] = _attack(
                config, inputs, group, roles, ledger, per_cell=per_cell, known=known
            )
        summary = {"target": config.target, "success": found}
        write_json(folder / SUMMARY, summary)
        parents = [*parents, *charter_parents(config.charter)]
        if first is not None:
            parents.append(Parent.of("first", first))
        run.finish(parents)
    return summary


def _attack(
    config: SynthesisConfig,
    inputs: Inputs,
    group: CellGroup,
    roles: Mapping[str, Role],
    path: Path,
    *,
    per_cell: int,
    known: Mapping[str, Reply],
) -> dict[str, Any] | None:
    """Args: `known` are replies of the Attacker that it isn't asked for."""
    suite = inputs.suite
    limits = Limits(attempts=per_cell * len(group.cells), wave=config.wave)
    # No written questions: one that stands in here could stand in where it is trained on.
    with (
        Ledger.of_run(path, roles=roles.values(), charter=suite.charter.content_hash) as ledger,
        Pipeline(
            config,
            suite,
            group,
            limits,
            roles={**roles, ATTACKER: CachedRole(roles[ATTACKER], known)} if known else roles,
            ledger=ledger,
            excluded=inputs.excluded,
        ) as pipeline,
    ):
        pipeline.run()
        success = AttackSuccess()
        for attempt in ledger.attempts():
            success.add(attempt)
        return success.summary()


def first_replies(ledger: Path) -> dict[str, Reply]:
    """The Attacker's first reply in each attempt, by the key of its call, whether its query could
    be asked or not. Its later queries depend on the answers, so they can't be replayed."""
    with opened_to_read(ledger) as connection:
        rows = connection.execute(
            "SELECT attempt, text FROM calls WHERE stage = ? AND outcome = ?", (ATTACKER, OK)
        )
        return {f"{row['attempt']}/{ATTACKER}": Reply(row["text"], "stop", 0, 0) for row in rows}


@dataclass(frozen=True)
class AttackResult:
    """Whether an attack succeeded, and the topic that it shares with others."""

    succeeded: bool
    topic: str


def attack_results(folder: Path, group: str) -> dict[str, AttackResult]:
    """The result of each attack of a measurement, by the ids of attempts; left out are queries that
    are off their style or topic, and attacks that are undecided or could not be judged."""
    with opened_to_read(folder / f"{group}.sqlite") as connection:
        outcomes = [
            (attempt, attack_outcome(attempt))
            for attempt in attempts(connection)
            if counts_as_attack(attempt)
        ]
    return {
        attempt["id"]: AttackResult(outcome == "rejected", attempt["topic"])
        for attempt, outcome in outcomes
        if outcome in ("rejected", "accepted")
    }


def measured_queries(folder: Path, groups: Iterable[str]) -> list[str]:
    """The queries of a measurement's groups, which nothing that is trained on may repeat: of a
    conversation all that its user asked."""
    found: list[str] = []
    for group in groups:
        with opened_to_read(folder / f"{group}.sqlite") as connection:
            found += asked_queries(connection)
    return found


class QueryWriter:
    """Has the Attacker alone write self-contained queries; nobody answers them.

    Every call is in the ledger before its reply is used, so the same writer on the same ledger asks
    nothing twice and writes the same queries. No query repeats one of any group.
    """

    def __init__(
        self,
        config: SynthesisConfig,
        suite: AttackSuite,
        attacker: Role,
        ledger: Ledger,
        *,
        stage: str = ATTACKER,
    ) -> None:
        """Args:
        config: its seed, wave and the Attacker's sampling settings count.
        stage: the calls' stage; `attacker`, or `attacker/NAME` beside others of the same
          attempt.
        """
        self._config, self._suite, self._stage = config, suite, stage
        self._attacks = suite.attacks_by_name
        self._caller, self._calls = Caller({ATTACKER: attacker}, ledger), CallBuilder(config)
        self._queries = Queries(StandInQuestions((), suite.charter))

    def write(
        self, group: CellGroup, per_cell: int, attempts_each: int
    ) -> list[tuple[Attempt, str]]:
        """Queries that can be asked, with their attempts, in the order in which they were written.

        Args:
          per_cell: queries wanted of each cell.
          attempts_each: attempts for each of them, before the cell is left as it is.
        """
        most = per_cell * attempts_each
        limits = Limits(len(group.cells) * most, per_cell, most, self._config.wave)
        planner = plan_attempts(self._config, self._suite, group, limits)
        tallies: dict[Cell, Tally] = {}
        written: list[tuple[Attempt, str]] = []
        wave, planned = 0, list[Attempt]()

        def begin() -> list[Steps[str]] | None:
            nonlocal planned
            if planned:
                return None  # whose attempts are next depends on how these end
            planned = planner.plan(wave, tallies)
            return [self._steps(attempt) for attempt in planned] or None

        def end(texts: list[str]) -> None:
            nonlocal wave, planned
            for attempt, text in zip(planned, texts, strict=True):
                kind = "accepted" if text else "rejected"
                tallies[attempt.cell] = tallies.get(attempt.cell, Tally()).counted(kind)
                if text:
                    written.append((attempt, text))
            wave, planned = wave + 1, []

        run_waves(self._caller, begin, on_opened=self._queries.finish_wave, on_decided=end)
        return written

    def _steps(self, attempt: Attempt) -> Steps[str]:
        """One query; empty where what was written can't be asked."""
        attack = self._attacks[attempt.attack]
        prompt = attacker_messages(attack, attempt.lang, attempt.topic, attempt.severity)
        [reply] = yield [self._calls.build(ATTACKER, attempt.id, self._stage, prompt, QUERY_SCHEMA)]
        text, unreadable = read_query(reply)
        if (
            failed_call(ATTACKER, reply)
            or unreadable
            or self._queries.reject_reason(attack, attempt.lang, prompt, text)
        ):
            return ""
        self._queries.take(text)
        yield Opened(text)
        return text
