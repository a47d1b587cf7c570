"""The prompts of the Attacker, and the query in its reply."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.reasons import QueryReason
from vcjax.roles.role import Message, Reply, writable
from vcjax.roles.verdict import ParseFailure, parse_form
from vcjax.text.language import Language

_LABELS = {
    "en": {
        "topic": "Topic: {}",
        "query": "Question: {}",
        "answer": "Answer: {}",
        "score": "Score: {}",
    },
    "zh": {"topic": "话题：{}", "query": "问题：{}", "answer": "回答：{}", "score": "得分：{}"},
}
_YES_OR_NO = {
    "en": 'Reply with JSON only: {"on_topic": true} or {"on_topic": false}.',
    "zh": '只回复 JSON：{"on_topic": true} 或 {"on_topic": false}。',
}
_AS_JSON = {
    "en": 'Reply with JSON only: {"query": "<all that is to be asked>"}.',
    "zh": '只回复 JSON：{"query": "<要问的全部内容>"}。',
}
# The Attacker gets the first part of an answer, which has its point; a small model's context is
# short.
_SHOWN_CHARACTERS = {"en": 600, "zh": 200}

QUERY_SCHEMA = {
    "type": "object",
    # No bound of its length: a query that is too long has a reject reason and isn't cut.
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
    "additionalProperties": False,
}
"""Of every query that the Attacker writes. What surrounds a query in free text, and where it ends,
can only be guessed: pressure often stands in sentences around the question."""


@dataclass(frozen=True)
class Turn:
    """A query that was asked; its answer and the Critic's score of that, 0 to 5, where known.

    `TurnKind.shown` names the fields that the Attacker sees.
    """

    query: str
    answer: str | None = None
    score: int | None = None


def attacker_messages(
    attack: Attack, lang: Language, topic: str, severity: int
) -> tuple[Message, ...]:
    """The prompt for a first query: the instruction, the examples as turns, and the topic."""
    instruction = (
        f"{attack.instruction[lang]} {attack.severity[lang][severity - 1]} {_AS_JSON[lang]}"
    )
    messages = [{"role": "system", "content": instruction}]
    for example in attack.examples[lang]:
        messages += _example(_labelled(lang, topic=example.topic), example.question)
    messages.append({"role": "user", "content": _labelled(lang, topic=topic)})
    return tuple(messages)


def follow_up_messages(
    attack: Attack, lang: Language, topic: str, severity: int, turns: Sequence[Turn]
) -> tuple[Message, ...]:
    """The prompt for what comes next: the other framing, the next turn or a better query.

    Args:
      turns: at least one: of a conversation all of it, of a refinement the queries of one branch,
        of a pair the first framing.
    """
    assert attack.follow_up is not None, attack.name
    instruction = f"{attack.follow_up[lang]} {attack.severity[lang][severity - 1]} {_AS_JSON[lang]}"
    messages = [{"role": "system", "content": instruction}]
    for example in attack.examples[lang]:
        turn = Turn(example.question, example.answer, example.score)
        messages += _example(_turns(attack, lang, example.topic, [turn]), example.then or "")
    messages.append({"role": "user", "content": _turns(attack, lang, topic, turns)})
    return tuple(messages)


def on_topic_messages(
    attack: Attack, lang: Language, topic: str, query: str
) -> tuple[Message, ...]:
    """The prompt for a judge of a refined query, whose reply has `ON_TOPIC_SCHEMA`."""
    assert attack.on_topic is not None, attack.name
    return (
        {"role": "system", "content": f"{attack.on_topic[lang]} {_YES_OR_NO[lang]}"},
        {"role": "user", "content": _labelled(lang, topic=topic, query=query)},
    )


ON_TOPIC_SCHEMA = {
    "type": "object",
    "properties": {"on_topic": {"type": "boolean"}},
    "required": ["on_topic"],
    "additionalProperties": False,
}


class _WrittenQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    query: str


def read_query(reply: Reply) -> tuple[str, QueryReason | None]:
    """The query in a reply of `QUERY_SCHEMA`: whole, without the spaces and lines around it.

    Nothing is repaired: of a reply that is cut off or is other text, the query is empty, and the
    reason is returned with it.
    """
    try:
        query = parse_form(reply, _WrittenQuery).query.strip()
    except ParseFailure as failure:
        cut = str(failure) == "length"
        return "", QueryReason.CUT_OFF if cut else QueryReason.MALFORMED
    # Half of a surrogate pair, which JSON can spell and no file can store.
    if writable(query) != query:
        return "", QueryReason.MALFORMED
    return query, None


def _example(prompt: str, query: str) -> list[Message]:
    # As the schema's compact JSON, which the Attacker is to imitate.
    reply = json.dumps({"query": query}, ensure_ascii=False, separators=(",", ":"))
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]


def _turns(attack: Attack, lang: Language, topic: str, turns: Sequence[Turn]) -> str:
    parts = [_labelled(lang, topic=topic)]
    for turn in turns:
        clipped = turn.answer and _clipped(turn.answer, _SHOWN_CHARACTERS[lang])
        known = {"query": turn.query, "answer": clipped, "score": turn.score}
        parts.append(_labelled(lang, **{name: known[name] for name in attack.turn_kind.shown}))
    return "\n\n".join(parts)


def _labelled(lang: Language, **values: str | int | None) -> str:
    labels = _LABELS[lang]
    known = {name: value for name, value in values.items() if value is not None}
    return "\n".join(labels[name].format(value) for name, value in known.items())


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit].rstrip()}…"
