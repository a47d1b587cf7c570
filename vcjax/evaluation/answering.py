"""The model under test answers the benchmark."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any

from vcjax.core.files import hash_text
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.roles.cache import CallCache, Key, fingerprint
from vcjax.roles.role import Ask, Message, Reply, Role

ANSWER_KEY = ("id", "fingerprint")


def answer(
    items: Sequence[BenchmarkItem],
    role: Role,
    *,
    cache: CallCache,
    max_tokens: int,
    seed: int,
    system_prompt: Callable[[BenchmarkItem], str] | None = None,
    messages: Callable[[BenchmarkItem], Sequence[Message]] | None = None,
    chunk: int = 32,
    begun_with: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Asks `role` every item that `cache` has no answer to; returns the answers in item order.

    An answer record is `{id, fingerprint, parallel_id, domain, lang, question, answer,
    answer_hash, model, model_hash, finish_reason, prompt_tokens, tokens}`, and of an item with a
    conversation `conversation`, the turns before its question, without a system message. It is
    found by the
    content of the model (`Role.identity`) and not by its path: what a model has answered before it
    was trained further is no answer of the one that is there now.

    Args:
      cache: keyed by `ANSWER_KEY`.
      max_tokens: bound of an answer.
      seed: of the run; each item's is derived from it.
      system_prompt: that of an item; None asks the bare questions.
      messages: of an item, the whole conversation that its answer ends; None asks the item's own
        under its system prompt, see `opening`.
      chunk: number of items that are asked at once.
      begun_with: identities of the models that the run began with. Records of earlier versions are
        known by the reference alone, and are used where it still is the same model.
    """
    asks = [
        Ask(
            # The same whatever the model is: a recorded transcript is found by it.
            key=f"{item.id}/answer",
            messages=tuple(messages(item) if messages else opening(item, system_prompt)),
            max_tokens=max_tokens,
            temperature=0.0,  # greedy: a benchmark's answers shouldn't depend on chance
            seed=derive_seed(seed, item.id, "answer"),
        )
        for item in items
    ]

    def keys_for(model: str) -> list[Key]:
        return [
            (item.id, fingerprint(model, asdict(ask)))
            for item, ask in zip(items, asks, strict=True)
        ]

    keys = keys_for(role.identity)
    # Only where the run began with this very model: an earlier version's record names a path,
    # behind which another model may be by now.
    if role.identity in begun_with:
        cache.adopt(keys, keys_for(role.model))

    def record(index: int, reply: Reply) -> dict[str, Any]:
        item = items[index]
        return {
            **dict(zip(ANSWER_KEY, keys[index], strict=True)),
            "parallel_id": item.parallel_id,
            "domain": item.domain,
            "lang": item.lang,
            "question": item.question,
            "answer": reply.text,
            "answer_hash": hash_text(reply.text),
            "model": role.model,
            "model_hash": role.identity,
            "finish_reason": reply.finish_reason,
            "prompt_tokens": reply.prompt_tokens,
            "tokens": reply.tokens,
            **({"conversation": list(item.conversation)} if item.conversation else {}),
        }

    cache.ask(role, asks, keys, record, chunk=chunk, label="answers")
    return [cache.records[key] for key in keys]


def opening(
    item: BenchmarkItem, system_prompt: Callable[[BenchmarkItem], str] | None
) -> tuple[Message, ...]:
    """The item's question, after a system message and the turns before it where there are any."""
    turns: tuple[Message, ...] = (*item.conversation, {"role": "user", "content": item.question})
    if system_prompt is None:
        return turns
    return {"role": "system", "content": system_prompt(item)}, *turns
