"""Attacker -> Actor -> Critic in waves, until every cell has its pairs or the budget is spent."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from vcjax.adversarial.actor import Actor, Checkpoint
from vcjax.adversarial.asking import Asking
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.refinement import Refinement
from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.calls import Caller, run_together
from vcjax.adversarial.cells import Attempt, Cell
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.critic.forms import FormName
from vcjax.adversarial.critic.judging import Judging
from vcjax.adversarial.critic.panel import Ballot, CriticPanel
from vcjax.adversarial.episode import Turns
from vcjax.adversarial.funnel import Funnel
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.outcome import ACTOR, CRITIC, TARGET
from vcjax.adversarial.plan import Planner, Tally
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.adversarial.shards import REPEAT
from vcjax.charter.schema import Charter
from vcjax.roles.role import Reply, Role

_REPEATED = {"kind": "rejected", "reason": REPEAT}


class Pipeline:
    """One run's plan, roles, rules and ledger."""

    def __init__(
        self,
        config: SynthesisConfig,
        charter: Charter,
        attacks: Mapping[str, Attack],
        planner: Planner,
        seeds: SeedQuestions,
        roles: Mapping[str, Role],
        ledger: Ledger,
        excluded: Iterable[str] = (),
        on_call: Callable[[str, int, int], None] = lambda role, done, planned: None,
    ) -> None:
        """Args:
        roles: `attacker`; `actor` to write answers, `target` to be attacked, or both; Critics,
          `critic`, `critic2` and so on; without any the charter's rules alone decide.
        excluded: texts that no query may repeat.
        on_call: told, after each call, whose it was and how many of the step's are done.
        """
        self.ledger, self.planner = ledger, planner
        self._charter, self._queries = charter, Queries(seeds, excluded)
        self._repeats: set[str] = set()
        self._converses = any(attack.kind == "escalation" for attack in attacks.values())
        self._caller = Caller(roles, ledger, on_call)
        asking = self._asking = Asking(config)
        critics = [name for name in roles if name.startswith(CRITIC)]
        self.panel = panel(config, charter, critics) if critics else None
        judging = Judging(charter, self.panel, asking)
        actor = target = None
        if ACTOR in roles:
            actor = Actor(
                *(charter, asking, judging),
                mode=config.actor_mode,
                answers=config.answers,
                brief=config.brief,
            )
        if TARGET in roles:
            target = Checkpoint(charter, asking, judging, TARGET)
        attacked = target or Checkpoint(charter, asking, judging, ACTOR)
        self._turns = Turns(
            *(attacks, asking, self._queries),
            actor=actor,
            target=target,
            refinement=Refinement(asking, self._queries, attacked, judged=bool(critics)),
            tries=config.attacker_tries,
            only_failures=config.only_failures,
        )

    def run(self, funnel: Funnel) -> None:
        """Runs what the ledger doesn't have yet."""
        tallies, wave, begun = self._restore(funnel)
        while True:
            planned = self.planner.plan(wave, tallies, [cell for cell, _ in begun])
            if not planned and not begun:
                break
            _count(tallies, [*begun, *self._run_wave(planned, funnel)])
            wave, begun = wave + 1, []

    def poll(self, ballots: Sequence[Ballot]) -> list[Reply]:
        """Asks for votes outside of any attempt; each is in the ledger under its exhibit's id."""
        calls = [
            self._asking.call(
                *(ballot.critic, ballot.exhibit, f"{CRITIC}/v{ballot.vote}"),
                *(ballot.messages, ballot.json_schema),
            )
            for ballot in ballots
        ]
        return self._caller.ask(calls)

    def decided(self) -> Iterator[dict[str, Any]]:
        """All attempts in the order of their numbers, as `Ledger.attempts` gives them; those that
        repeat what another shard asked are rejected."""
        for row in self.ledger.attempts():
            yield {**row, **_REPEATED} if row["id"] in self._repeats else row

    def _restore(self, funnel: Funnel) -> tuple[dict[Cell, Tally], int, list[tuple[Cell, str]]]:
        """What the ledger has: the tallies before its last wave, that wave, and what is in it."""
        tallies: dict[Cell, Tally] = {}
        wave, begun, merged = 0, [], self.ledger.merged()
        # Only a conversation's first query isn't what the ledger has as the query.
        rows = self.ledger.attempts() if self._converses else self.ledger.decided()
        for row in rows:
            if row["wave"] > wave:
                _count(tallies, begun)
                wave, begun = row["wave"], []
            text = _opening(row)
            if merged and row["kind"] == "accepted" and self._queries.asked(text):
                self._repeats.add(row["id"])
                row |= _REPEATED
            self._queries.finish_wave([text])
            begun.append((Cell.of(row), row["kind"]))
            funnel.restored(Cell.of(row), row["kind"], row["reason"])
        return tallies, wave, begun

    def _run_wave(self, planned: list[Attempt], funnel: Funnel) -> list[tuple[Cell, str]]:
        scripts = [self._turns.script(attempt) for attempt in planned]
        outcomes = run_together(scripts, self._caller.ask)
        with self.ledger.together():
            for attempt, outcome in zip(planned, outcomes, strict=True):
                self.ledger.record_attempt(
                    attempt,
                    source=outcome.source,
                    attacker_fault=outcome.attacker_fault,
                    query=outcome.query,
                    answer=outcome.answer,
                    verdict=outcome.verdict,
                    candidates=[candidate.record() for candidate in outcome.candidates],
                    charter=self._charter.content_hash,
                    conversation=outcome.conversation if len(outcome.conversation) > 1 else (),
                )
        self._queries.finish_wave(outcome.opening for outcome in outcomes)
        for attempt, outcome in zip(planned, outcomes, strict=True):
            funnel.decided(attempt.cell, outcome.verdict.kind, outcome.verdict.reason)
        return [
            (attempt.cell, outcome.verdict.kind)
            for attempt, outcome in zip(planned, outcomes, strict=True)
        ]


def panel(config: SynthesisConfig, charter: Charter, critics: Sequence[str]) -> CriticPanel:
    """The Critics of a run as its config has them."""
    return CriticPanel(
        charter,
        critics,
        form=cast(FormName, config.critic_form),
        votes=config.critic_votes,
        accept_score=config.accept_score,
    )


def _count(tallies: dict[Cell, Tally], decided: Iterable[tuple[Cell, str]]) -> None:
    for cell, kind in decided:
        tallies[cell] = tallies.get(cell, Tally()).counted(kind)


def _opening(row: Mapping[str, Any]) -> str:
    """What an attempt asked first: the query, where there was no conversation."""
    conversation = row.get("conversation")
    return conversation[0]["content"] if conversation else row["query"]
