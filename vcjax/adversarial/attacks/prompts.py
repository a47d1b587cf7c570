"""The prompts of the Attacker, and the query in what it wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vcjax.adversarial.attacks.style import Attack
from vcjax.roles.role import Message
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
_ONLY = {"en": "Only the question.", "zh": "只写问题。"}
# The Attacker gets the first part of an answer, which has its point; a small model's context is
# short.
_SHOWN_CHARACTERS = {"en": 600, "zh": 200}

_QUESTION = re.compile(r"[^?？]*[?？]+")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』"}
_MARKUP = "*#>`_ \t"
_LABEL = re.compile(
    r"^(?:[-•]|\(?\d{1,2}[.)、）]|(?:the |new |better )?(?:question|query|q)\s*\d{0,2}\s*[:：]|"
    r"(?:新的|更好的)?(?:问题|提问)\s*\d{0,2}\s*[:：])\s*",
    re.IGNORECASE,
)
_NOT_THE_QUERY = re.compile(
    r"[:：]\s*$|^(?:topic|answer|score|话题|回答|得分)\s*[:：]", re.IGNORECASE
)


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
    instruction = f"{attack.instruction[lang]} {attack.severity[lang][severity - 1]} {_ONLY[lang]}"
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
    instruction = f"{attack.follow_up[lang]} {attack.severity[lang][severity - 1]} {_ONLY[lang]}"
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


def extract_query(text: str) -> str:
    """The query in what the Attacker wrote: the first line, up to its first question mark.

    Lines that announce it ("Here is one:") or echo the prompt, labels ("Question:", "1."), markup
    and quotation marks around it are left out. Empty where there is none.
    """
    for line in text.splitlines():
        line = _unquoted(line.strip(_MARKUP))
        if line and not _NOT_THE_QUERY.search(line):
            line = _unquoted(_LABEL.sub("", line).strip(_MARKUP))
            first = _QUESTION.match(line)
            return _unquoted(first.group() if first else line)
    return ""


def _unquoted(text: str) -> str:
    """The text without quotation marks that enclose all of it or are never closed."""
    while text[:1] in _QUOTES and text[:1]:
        inner = text[1:].removesuffix(_QUOTES[text[0]])
        if _QUOTES[text[0]] in inner:
            break
        text = inner.strip()
    return text


def _example(prompt: str, query: str) -> list[Message]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": query}]


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
