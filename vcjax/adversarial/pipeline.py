"""Attacker -> Actor -> Critic in waves, until every cell has its pairs or the budget is spent.

Planner.plan(wave) -> attempts -> Episodes.steps, of several waves side by side -> Ledger
       ^                                                                             |
       +---- where cells have quotas: tallies of earlier waves, by WavePlan <---------+

`vcjax.adversarial.waves` has what depends on what, and how far attempts run ahead.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

from vcjax.adversarial.actor import Actor, AttackedModel
from vcjax.adversarial.attacker import Attacker
from vcjax.adversarial.attacks.queries import Queries, StandInQuestions
from vcjax.adversarial.attacks.style import attempts_in_a_row
from vcjax.adversarial.attacks.style_check import TopicWords, counts_as_attack
from vcjax.adversarial.calls import ACTOR, CRITIC, TARGET, Call, CallBuilder, Caller, Steps
from vcjax.adversarial.cells import AttackSuite, Attempt, Cell, CellGroup
from vcjax.adversarial.config import SynthesisConfig, split_names
from vcjax.adversarial.critic.forms import FormName
from vcjax.adversarial.critic.panel import AnswerJudge, CriticPanel, VoteRequest
from vcjax.adversarial.critic.rules import choose_filters
from vcjax.adversarial.episode import EpisodeResult, Episodes
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.plan import Limits, Planner
from vcjax.adversarial.progress import Progress
from vcjax.adversarial.reasons import AttemptReason, Origin, QueryReason
from vcjax.adversarial.refinement import Refinement
from vcjax.adversarial.topics import Topics
from vcjax.adversarial.wave_plan import Ended, WavePlan
from vcjax.adversarial.waves import run_waves
from vcjax.charter.schema import Charter
from vcjax.data.records import Question
from vcjax.roles.occupancy import Occupancy
from vcjax.roles.role import Reply, Role
from vcjax.roles.verdict import Verdict

_REPEATED = {"kind": "rejected", "reason": f"{Origin.ATTACKER}: {AttemptReason.OTHER_SHARD}"}
"""What becomes of an accepted attempt in a merged ledger whose query another shard has asked:
shards don't know each other's queries."""

_ASKED_BEFORE = Verdict("rejected", f"{Origin.ATTACKER}: {QueryReason.ASKED_BEFORE}")


class Pipeline:
    """One run's plan, roles, rules and ledger; a context manager, which shows the progress."""

    def __init__(
        self,
        config: SynthesisConfig,
        suite: AttackSuite,
        group: CellGroup,
        limits: Limits,
        *,
        roles: Mapping[str, Role],
        ledger: Ledger,
        questions: Iterable[Question] = (),
        excluded: Iterable[str] = (),
        shares: Mapping[Cell, int] | None = None,
        topics: Topics | None = None,
        on_ask: Callable[[Call], None] = lambda call: None,
        occupancy: Occupancy | None = None,
    ) -> None:
        """Args:
        group: the cells of the suite that are attacked.
        roles: `attacker`; `actor` to write answers, `target` to be attacked, or both; Critics,
          `critic`, `critic2` and so on; without any the charter's rules alone decide.
        questions: written ones, which stand in where the Attacker fails.
        excluded: texts that no query may repeat.
        shares: attempts of each cell, where they aren't to be spread evenly.
        topics: of the cells, where they aren't the charter's.
        on_ask, occupancy: see `Caller`.
        """
        charter, attacks = suite.charter, suite.attacks_by_name
        self.ledger, self._ahead = ledger, config.ahead
        self.planner = plan_attempts(config, suite, group, limits, shares=shares, topics=topics)
        self.progress = Progress(self.planner)
        self._charter = charter
        self._queries = Queries(StandInQuestions(questions, charter), excluded)
        # How many queries each wave that isn't decided had seen asked when it had opened.
        self._known: deque[int] = deque()
        self._refining = {name for name, each in attacks.items() if each.kind == "refinement"}
        self._repeats: set[str] = set()
        # The ledger has an attempt's last query; the first one of a conversation is in its turns,
        # which are read only where there may be some.
        self._reads_conversations = any(
            attacks[name].turn_kind.one_conversation
            for name in {cell.attack for cell in group.cells}
        )
        self._caller = Caller(roles, ledger, self.progress.called, on_ask, occupancy)
        calls = self._calls = CallBuilder(config)
        critics = [name for name in roles if name.startswith(CRITIC)]
        self.panel = critic_panel(config, charter, critics) if critics else None
        filters = choose_filters(split_names(config.filters))
        judge = self._judge = AnswerJudge(charter, self.panel, calls, filters)
        actor = target = None
        if ACTOR in roles:
            actor = Actor(
                charter,
                calls,
                judge,
                mode=config.actor_mode,
                answers=config.answers,
                brief=config.brief,
            )
        if TARGET in roles:
            target = AttackedModel(charter, calls, judge, TARGET)
        # Queries are refined against the Actor where there is no target.
        attacked = target or AttackedModel(charter, calls, judge, ACTOR)
        attacker = Attacker(
            calls,
            self._queries,
            topics=TopicWords(charter),
            # A Critic whose scores select nothing isn't trusted with queries either.
            critic_checks=self.panel is not None and self.panel.thresholds.score > 0,
            tries=config.attacker_tries,
        )
        self._episodes = Episodes(
            attacks,
            attacker=attacker,
            actor=actor,
            target=target,
            refinement=Refinement(calls, self._queries, attacked, judged=bool(critics)),
            only_failures=config.only_failures,
        )

    def __enter__(self) -> Self:
        self.progress.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.__exit__(*exception)

    def run(self) -> None:
        """Runs what the ledger doesn't have yet."""
        plan = WavePlan(self.planner, self._ahead)
        self._restore(plan)

        def begin() -> list[Steps[EpisodeResult]] | None:
            planned = plan.begin()
            return None if planned is None else [self._episodes.steps(each) for each in planned]

        run_waves(
            self._caller,
            begin,
            on_opened=self._finish_opening,
            on_decided=lambda results: plan.end(self._decide(plan.under_way, results)),
        )

    def trust_critic(self) -> None:
        """From now on the Critics are asked about what filters reject, and decide it."""
        self._judge.trusts_critic = self.panel is not None

    def poll(self, requests: Sequence[VoteRequest]) -> list[Reply]:
        """Asks for votes outside of any attempt; the ledger has each under its submission's id."""
        calls = [
            self._calls.build(
                request.critic,
                request.submission,
                f"{CRITIC}/v{request.vote}",
                request.messages,
                request.json_schema,
            )
            for request in requests
        ]
        return self._caller.ask(calls)

    def decided(self) -> Iterator[dict[str, Any]]:
        """All attempts in the order of their numbers, as `Ledger.attempts` gives them; those that
        repeat a query of another shard are rejected."""
        for row in self.ledger.attempts():
            yield {**row, **_REPEATED} if row["id"] in self._repeats else row

    def _restore(self, plan: WavePlan) -> None:
        """Reads what the ledger has already."""
        merged = self.ledger.merged()
        rows = self.ledger.attempts() if self._reads_conversations else self.ledger.decided()
        for row in rows:
            text = _opening(row)
            # Within one run a query is never asked twice; only shards don't know each other's.
            if (
                merged
                and row["kind"] == "accepted"
                and self._queries.repeats(text, self._queries.known)
            ):
                self._repeats.add(row["id"])
                row |= _REPEATED
            if row["attack"] in self._refining:
                self._queries.refined(text)
            else:
                self._queries.finish_wave([text])
            ended = Ended(Cell.of(row), row["kind"], counts_as_attack(row))
            plan.restore(row["wave"], ended)
            self.progress.restored(ended.cell, ended.kind, row["reason"], ended.attack)

    def _finish_opening(self, openings: list[str]) -> None:
        self._queries.finish_wave(openings)
        self._known.append(self._queries.known)

    def _decide(self, planned: Sequence[Attempt], results: Sequence[EpisodeResult]) -> list[Ended]:
        known = self._known.popleft()
        results = [
            self._unless_repeated(*each, known) for each in zip(planned, results, strict=True)
        ]
        # Together: a wave recorded in part would be completed by a plan of other tallies.
        with self.ledger.transaction():
            for attempt, result in zip(planned, results, strict=True):
                self._record(attempt, result)
        decided = []
        for attempt, result in zip(planned, results, strict=True):
            kind, reason = result.verdict.kind, result.verdict.reason
            ended = Ended(attempt.cell, kind, counts_as_attack(result.record()))
            self.progress.decided(ended.cell, kind, reason, ended.attack)
            decided.append(ended)
        return decided

    def _unless_repeated(
        self, attempt: Attempt, result: EpisodeResult, known: int
    ) -> EpisodeResult:
        """The result, rejected where an earlier attempt has asked the same and either query was
        refined: one didn't know of the other.

        Args:
          known: how many queries had been asked once its wave had opened.
        """
        refined = attempt.attack in self._refining
        repeated = result.verdict.kind == "accepted" and self._queries.repeats(
            result.opening, known if refined else 0
        )
        if refined:
            self._queries.refined(result.query)
        return replace(result, verdict=_ASKED_BEFORE) if repeated else result

    def _record(self, attempt: Attempt, result: EpisodeResult) -> None:
        self.ledger.record_attempt(
            attempt,
            **result.record(),
            answer=result.answer,
            verdict=result.verdict,
            candidates=[candidate.record() for candidate in result.candidates],
            charter=self._charter.content_hash,
            conversation=result.conversation if len(result.conversation) > 1 else (),
        )


def critic_panel(config: SynthesisConfig, charter: Charter, critics: Sequence[str]) -> CriticPanel:
    """The Critics of a run. Args: `critics` are the names of their roles."""
    return CriticPanel(
        charter,
        critics,
        form=cast(FormName, config.critic_form),
        votes=config.critic_votes,
        accept_score=config.accept_score,
    )


def plan_attempts(
    config: SynthesisConfig,
    suite: AttackSuite,
    group: CellGroup,
    limits: Limits,
    *,
    shares: Mapping[Cell, int] | None = None,
    topics: Topics | None = None,
) -> Planner:
    """The planner of a run over some cells of its suite; `shares`, `topics`: see `Planner`."""
    in_a_row = attempts_in_a_row(suite.attacks_by_name.values())
    return Planner(
        group,
        suite.charter,
        limits,
        seed=config.seed,
        in_a_row=in_a_row,
        shares=shares,
        topics=topics and topics.lists,
    )


def _opening(row: Mapping[str, Any]) -> str:
    """The query that an attempt asked first: its query, where there was no conversation."""
    conversation = row.get("conversation")
    return conversation[0]["content"] if conversation else row["query"]
