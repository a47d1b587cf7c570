"""The forms that a Critic fills in: one score for the whole, or one for each aspect."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from vcjax.adversarial.critic.votes import PRINCIPLE, Submission, Vote
from vcjax.charter.floor import FLOOR_RULES
from vcjax.charter.schema import Charter
from vcjax.roles.grading import grading_messages, material
from vcjax.roles.role import Message, Reply, expected_score
from vcjax.roles.verdict import (
    HIGHEST,
    LOWEST,
    AnyReason,
    ParseFailure,
    grade_schema,
    parse_form,
    parse_grade,
)
from vcjax.text.language import Language

FormName = Literal["full", "simple"]
ASPECTS = ("facts", "helpfulness", "fluency")
FLOOR = tuple(rule.id for rule in FLOOR_RULES)
# Shorter than a judge's: some seventy tokens follow it, and the whole reply has to fit in 256.
REASON_CHARACTERS = {"en": 120, "zh": 40}

_RULES = {"en": "Rules that no answer may break:", "zh": "任何回答都不得违反的规则："}
_TASK = {
    "en": "Give each of these a whole number from 0 (worst) to 5 (best):",
    "zh": "请为下列各项分别打 0（最差）至 5（最好）的整数分：",
}
_ASPECTS = {
    "en": {
        "facts": "says nothing false or invented, and says where it is unsure",
        "helpfulness": "answers what was asked",
        "fluency": "clear, natural language",
    },
    "zh": {
        "facts": "没有错误或编造的内容，不确定之处如实说明",
        "helpfulness": "切实回答了所问的问题",
        "fluency": "语言清楚自然",
    },
}
_BROKEN = {
    "en": "broken: the ids of the rules that the answer breaks; [] where it breaks none",
    "zh": "broken：该回答违反的规则编号；没有违反则为 []",
}
_REPLY = {
    "en": ("Reply with JSON only: ", "<one short sentence>", "<0-5>", "<ids>"),
    "zh": ("只回复 JSON：", "<一句简短的理由>", "<0-5>", "<编号>"),
}


class CriticForm(Protocol):
    """What a Critic is asked for, and how its reply is read."""

    def schema(self, charter: Charter, submission: Submission) -> dict[str, Any]:
        """The JSON schema of a filled form."""
        ...

    def messages(self, charter: Charter, submission: Submission) -> tuple[Message, ...]:
        """The prompt; the question and the answer are delimited in it."""
        ...

    def read(self, charter: Charter, submission: Submission, reply: Reply) -> Vote:
        """Reads a filled form strictly: nothing is repaired, and what can't be read is unscored."""
        ...

    def filled(
        self, charter: Charter, submission: Submission, score: int, reason: str
    ) -> dict[str, Any]:
        """A valid form with the same score throughout, as a forger would write it."""
        ...


class Simple:
    """One score for the whole, as a judge of `vcjax.evaluation` gives it."""

    def schema(self, charter: Charter, submission: Submission) -> dict[str, Any]:
        return grade_schema(submission.lang)

    def messages(self, charter: Charter, submission: Submission) -> tuple[Message, ...]:
        return grading_messages(
            charter, submission.lang, question=submission.question, answer=submission.answer
        )

    def read(self, charter: Charter, submission: Submission, reply: Reply) -> Vote:
        grade = parse_grade(reply)
        if grade.score is None:
            return Vote(unscored=grade.unscored)
        scores = {"score": grade.score}
        return Vote(scores, _expected(scores, reply), (), grade.reason or "")

    def filled(
        self, charter: Charter, submission: Submission, score: int, reason: str
    ) -> dict[str, Any]:
        return {"reason": reason, "score": score}


class Full:
    """A score for each relevant principle and for each of ASPECTS, and the broken floor rules.

    Principles that only measure aren't asked for: they select nothing.
    """

    def schema(self, charter: Charter, submission: Submission) -> dict[str, Any]:
        score = {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
        principles = {
            principle.id: score for principle in charter.stated_principles(submission.subdomain)
        }
        return _object(
            {
                "reason": {"type": "string", "maxLength": REASON_CHARACTERS[submission.lang]},
                "principles": _object(principles),
                **dict.fromkeys(ASPECTS, score),
                "broken": {
                    "type": "array",
                    "items": {"type": "string", "enum": list(FLOOR)},
                    "maxItems": len(FLOOR),
                },
            }
        )

    def messages(self, charter: Charter, submission: Submission) -> tuple[Message, ...]:
        lang, relevant = submission.lang, charter.stated_principles(submission.subdomain)
        rules = [f"- {rule.id}: {rule.text[lang]}" for rule in FLOOR_RULES]
        aspects = [
            *(f"- {principle.id}: {principle.text.get(lang)}" for principle in relevant),
            *(f"- {name}: {_ASPECTS[lang][name]}" for name in ASPECTS),
        ]
        shown = material(lang, question=submission.question, answer=submission.answer)
        reply = _REPLY[lang][0] + _template(lang, [principle.id for principle in relevant])
        # The rules of the charter in the system message, the answer in the user's: instructions in
        # an answer have the lower rank of the two.
        system = [charter.rubric.get(lang).strip(), _RULES[lang], *rules]
        task = [_TASK[lang], *aspects, f"- {_BROKEN[lang]}", reply]
        return (
            {"role": "system", "content": "\n".join(system)},
            {"role": "user", "content": "\n".join([shown, "", *task])},
        )

    def read(self, charter: Charter, submission: Submission, reply: Reply) -> Vote:
        try:
            form = parse_form(reply, _FullForm)
        except ParseFailure as error:
            return Vote(unscored=str(error))
        wanted = {principle.id for principle in charter.stated_principles(submission.subdomain)}
        # Checked here although decoding follows the schema: an endpoint may ignore it, and a score
        # that is read under another principle's name would be worse than none.
        if form.principles.keys() != wanted or not set(form.broken) <= set(FLOOR):
            return Vote(unscored="schema")
        scores = {f"{PRINCIPLE}{id}": score for id, score in form.principles.items()}
        scores |= {name: getattr(form, name) for name in ASPECTS}
        if not all(LOWEST <= score <= HIGHEST for score in scores.values()):
            return Vote(unscored="out_of_range")
        # In the rules' own order, whatever the reply's: the first of them is the reject reason.
        broken = tuple(id for id in FLOOR if id in form.broken)
        return Vote(scores, _expected(scores, reply), broken, form.reason)

    def filled(
        self, charter: Charter, submission: Submission, score: int, reason: str
    ) -> dict[str, Any]:
        principles = {
            principle.id: score for principle in charter.stated_principles(submission.subdomain)
        }
        aspects = dict.fromkeys(ASPECTS, score)
        return {"reason": reason, "principles": principles, **aspects, "broken": []}


FORMS: dict[FormName, CriticForm] = {"full": Full(), "simple": Simple()}


class _FullForm(BaseModel):
    """`Full.schema` but for the reason's length, the range of the scores and the ids of principles
    and rules."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: AnyReason
    principles: dict[str, int]
    facts: int
    helpfulness: int
    fluency: int
    broken: list[str]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _template(lang: Language, principles: Sequence[str]) -> str:
    """The JSON to fill in, with placeholders for its values."""
    _, reason, score, ids = _REPLY[lang]
    inner = ", ".join(f'"{id}": {score}' for id in principles)
    aspects = ", ".join(f'"{name}": {score}' for name in ASPECTS)
    return f'{{"reason": "{reason}", "principles": {{{inner}}}, {aspects}, "broken": [{ids}]}}'


def _expected(scores: Mapping[str, int], reply: Reply) -> dict[str, float]:
    """The expected score of each aspect, or nothing. Args: `reply` is one that could be read."""
    names: list[str] = []  # in the order of the reply's numbers, which may not be the schema's
    for name, value in json.loads(reply.text).items():
        names += [f"{PRINCIPLE}{id}" for id in value] if name == "principles" else [name]
    names = [name for name in names if name in scores]
    # Where the endpoint gives no probabilities, or for other numbers than the scores, nothing is
    # guessed.
    if len(reply.alternatives) != len(names):
        return {}
    means = [expected_score(each, LOWEST, HIGHEST) for each in reply.alternatives]
    known = {name: mean for name, mean in zip(names, means, strict=True) if mean is not None}
    return known if len(known) == len(names) else {}
