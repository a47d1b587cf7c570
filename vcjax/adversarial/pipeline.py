"""Attacker -> Actor -> Critic over the planned attempts, in fixed waves.

Within a wave each role is asked once, for all attempts together. What a wave decides (which
queries are repeats, which seed question stands in) depends only on earlier attempts in the order
of their numbers, so a kill, the number of slots or the order in which replies come change nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.attacker import attacker_messages, extract_query, query_fault
from vcjax.adversarial.attacks import Attack
from vcjax.adversarial.candidates import after_critic, before_critic, best
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger import Ledger
from vcjax.adversarial.matrix import Attempt
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.adversarial.verdict import Verdict
from vcjax.charter.schema import Charter
from vcjax.foundation.seeds import derive_seed
from vcjax.roles.grading import grading_messages
from vcjax.roles.role import Ask, Message, Reply, Role
from vcjax.roles.verdict import verdict_schema


@dataclass(frozen=True)
class _Call:
    attempt: str
    stage: str
    ask: Ask


@dataclass(frozen=True)
class _Query:
    attempt: Attempt
    text: str
    source: str
    fault: str | None


class Pipeline:
    """One run's roles, rules and ledger."""

    def __init__(
        self,
        config: SynthesisConfig,
        charter: Charter,
        styles: Sequence[Attack],
        seeds: SeedQuestions,
        roles: Mapping[str, Role],
        ledger: Ledger,
        excluded: Iterable[str] = (),
        on_call: Callable[[str, int, int], None] = lambda role, done, planned: None,
    ) -> None:
        """Args:
        roles: `attacker`, `actor` and `critic`.
        excluded: texts that no query may repeat.
        on_call: told, after each call, whose it was and how many of the wave's are done.
        """
        self.on_call = on_call
        self.config, self.charter, self.seeds = config, charter, seeds
        self.roles, self.ledger = roles, ledger
        self.styles = {style.name: style for style in styles}
        self.excluded = tuple(excluded)
        chosen = config.accept_score
        self.accept_score = charter.accept_score if chosen < 0 else chosen

    def run(self, planned: Sequence[Attempt], on_decided: Callable[[Verdict], None]) -> None:
        """Runs every attempt that the ledger hasn't decided; `on_decided` is called for each."""
        decided = {record["id"]: record for record in self.ledger.attempts()}
        asked: list[str] = []
        for start in range(0, len(planned), self.config.wave):
            wave = planned[start : start + self.config.wave]
            if all(attempt.id in decided for attempt in wave):
                asked += [decided[attempt.id]["query"] for attempt in wave]
            else:
                asked += self._run_wave(wave, asked, decided.keys(), on_decided)

    def _run_wave(
        self,
        wave: Sequence[Attempt],
        asked: Sequence[str],
        decided: Iterable[str],
        on_decided: Callable[[Verdict], None],
    ) -> list[str]:
        queries = self._queries(wave, asked)
        answered = [query for query in queries if query.text]
        answers = self._answers(answered)
        verdicts = self._verdicts(answered, answers)
        already = set(decided)
        with self.ledger.together():
            for query in queries:
                if query.attempt.id in already:
                    continue
                verdict = self._record(query, answers, verdicts)
                on_decided(verdict)
        return [query.text for query in queries]

    def _queries(self, wave: Sequence[Attempt], asked: Sequence[str]) -> list[_Query]:
        config, calls = self.config, []
        for attempt in wave:
            messages = attacker_messages(attempt, self.styles[attempt.attack])
            sampling = (config.attacker_tokens, config.attacker_temperature)
            calls.append(self._call(attempt, "attacker", messages, *sampling))
        replies = self._ask("attacker", calls)
        earlier = [text for text in asked if text]
        queries = []
        for attempt, call, reply in zip(wave, calls, replies, strict=True):
            text, source = extract_query(reply.text), "attacker"
            shown = [message["content"] for message in call.ask.messages]
            fault = query_fault(text, attempt.lang, shown, (*earlier, *self.excluded))
            if fault is not None:
                text, source = self.seeds.next_for(attempt, set(earlier)) or "", "seed"
            queries.append(_Query(attempt, text, source, fault))
            if text:
                earlier.append(text)
        return queries

    def _answers(self, queries: Sequence[_Query]) -> dict[tuple[str, int], Reply]:
        calls, keys = [], []
        for query in queries:
            lang = query.attempt.lang
            messages = (
                {"role": "system", "content": self.charter.system_prompt(lang)},
                {"role": "user", "content": query.text},
            )
            for n in range(self.config.answers):
                sampling = (self.config.actor_tokens, self.config.actor_temperature)
                calls.append(self._call(query.attempt, f"actor/{n}", messages, *sampling))
                keys.append((query.attempt.id, n))
        return dict(zip(keys, self._ask("actor", calls), strict=True))

    def _verdicts(
        self, queries: Sequence[_Query], answers: Mapping[tuple[str, int], Reply]
    ) -> dict[tuple[str, int], Verdict]:
        verdicts: dict[tuple[str, int], Verdict] = {}
        calls, keys = [], []
        for query in queries:
            lang = query.attempt.lang
            for n in range(self.config.answers):
                reply = answers[query.attempt.id, n]
                early = before_critic(
                    self.charter,
                    query=query.text,
                    reply=reply,
                    lang=lang,
                    subdomain=query.attempt.subdomain,
                )
                if early is not None:
                    verdicts[query.attempt.id, n] = early
                    continue
                messages = grading_messages(
                    self.charter, lang, question=query.text, answer=reply.text
                )
                sampling = (self.config.critic_tokens, self.config.critic_temperature)
                calls.append(
                    self._call(
                        query.attempt,
                        f"critic/{n}",
                        messages,
                        *sampling,
                        schema=verdict_schema(lang),
                    )
                )
                keys.append((query.attempt.id, n))
        for key, reply in zip(keys, self._ask("critic", calls), strict=True):
            verdicts[key] = after_critic(reply, self.accept_score)
        return verdicts

    def _critic_call(self, query: _Query, n: int, answer: str) -> _Call:
        lang = query.attempt.lang
        messages = grading_messages(self.charter, lang, question=query.text, answer=answer)
        sampling = (self.config.critic_tokens, self.config.critic_temperature)
        schema = verdict_schema(lang)
        return self._call(query.attempt, f"critic/{n}", messages, *sampling, schema=schema)

    def _record(
        self,
        query: _Query,
        answers: Mapping[tuple[str, int], Reply],
        verdicts: Mapping[tuple[str, int], Verdict],
    ) -> Verdict:
        attempt, answer, candidates = query.attempt, None, []
        if not query.text:
            verdict = Verdict("rejected", f"attacker: {query.fault}, and no seed question is left")
        else:
            own = [verdicts[attempt.id, n] for n in range(self.config.answers)]
            texts = [answers[attempt.id, n].text for n in range(self.config.answers)]
            candidates = [
                {"answer": text, "kind": v.kind, "reason": v.reason, "score": v.score}
                for text, v in zip(texts, own, strict=True)
            ]
            chosen = best(own)
            verdict, answer = own[chosen], texts[chosen]
        self.ledger.record_attempt(
            attempt,
            source=query.source,
            attacker_fault=query.fault,
            query=query.text,
            answer=answer,
            verdict=verdict,
            candidates=candidates,
            charter=self.charter.content_hash,
        )
        return verdict

    def _call(
        self,
        attempt: Attempt,
        stage: str,
        messages: Sequence[Message],
        max_tokens: int,
        temperature: float,
        schema: dict[str, Any] | None = None,
    ) -> _Call:
        ask = Ask(
            key=f"{attempt.id}/{stage}",
            messages=tuple(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=self.config.top_p,
            seed=derive_seed(self.config.seed, attempt.id, stage),
            json_schema=schema,
        )
        return _Call(attempt.id, stage, ask)

    def _ask(self, name: str, calls: Sequence[_Call]) -> list[Reply]:
        """Asks what the ledger has no reply to, and records each reply as it comes."""
        role = self.roles[name]
        known = [self.ledger.reply(call.attempt, call.stage, call.ask) for call in calls]
        open_ = [call for call, reply in zip(calls, known, strict=True) if reply is None]
        done = len(calls) - len(open_)

        def record(index: int, reply: Reply) -> None:
            nonlocal done
            call, done = open_[index], done + 1
            self.ledger.record_call(
                call.attempt, call.stage, call.ask, reply, model=role.model, family=role.family
            )
            self.on_call(name, done, len(calls))

        fresh = iter(role.ask([call.ask for call in open_], record) if open_ else [])
        return [next(fresh) if reply is None else reply for reply in known]
