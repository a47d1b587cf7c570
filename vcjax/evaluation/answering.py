"""The model under test answers the benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.asking import ask_in_chunks, fingerprint
from vcjax.evaluation.store import Store
from vcjax.roles.role import Ask, Reply, Role

ANSWER_KEY = ("id", "fingerprint")


def answer(
    items: Sequence[BenchmarkItem],
    role: Role,
    *,
    store: Store,
    max_tokens: int,
    seed: int,
    system_prompts: Mapping[str, str] | None = None,
    temperature: float = 0.0,
    chunk: int = 32,
) -> list[dict[str, Any]]:
    """Asks `role` every item that `store` has no answer to; returns the answers in item order.

    An answer record is `{id, fingerprint, parallel_id, domain, lang, question, answer,
    answer_hash, model, finish_reason, prompt_tokens, tokens}`.

    Args:
      store: keyed by `ANSWER_KEY`.
      system_prompts: a system prompt by language; None asks the bare question.
      temperature: 0, greedy, is what a benchmark is usually run with.

    Raises:
      UserError: `system_prompts` lacks the language of an item.
    """
    asks = [_ask(item, system_prompts, max_tokens, temperature, seed) for item in items]
    marks = [fingerprint(role.model, asdict(ask)) for ask in asks]

    def record(index: int, reply: Reply) -> None:
        item = items[index]
        store.append(
            {
                "id": item.id,
                "fingerprint": marks[index],
                "parallel_id": item.parallel_id,
                "domain": item.domain,
                "lang": item.lang,
                "question": item.question,
                "answer": reply.text,
                "answer_hash": hash_text(reply.text),
                "model": role.model,
                "finish_reason": reply.finish_reason,
                "prompt_tokens": reply.prompt_tokens,
                "tokens": reply.tokens,
            }
        )

    keys = [(item.id, mark) for item, mark in zip(items, marks, strict=True)]
    done = [key in store.records for key in keys]
    ask_in_chunks(role, asks, done, record, chunk=chunk, label="answers")
    return [store.records[key] for key in keys]


def _ask(
    item: BenchmarkItem,
    system_prompts: Mapping[str, str] | None,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> Ask:
    messages = ({"role": "user", "content": item.question},)
    if system_prompts is not None:
        if item.lang not in system_prompts:
            raise UserError(f"system_prompts: none in {item.lang!r}, the language of {item.id!r}")
        messages = ({"role": "system", "content": system_prompts[item.lang]}, *messages)
    return Ask(
        key=f"{item.id}/answer",
        messages=messages,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=derive_seed(seed, item.id, "answer"),
    )
