"""What each role is asked under a charter, for its author to read."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vcjax.adversarial.attacks.prompts import attacker_messages
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.adversarial.critic.forms import FORMS
from vcjax.adversarial.critic.votes import Submission
from vcjax.charter.schema import Charter
from vcjax.roles.grading import grading_messages
from vcjax.roles.role import Message
from vcjax.text.language import Language

_SEVERITY = 2
QUERY, ANSWER = "{query}", "{answer}"
"""What stands for texts that roles will have written."""


class RolePrompt(NamedTuple):
    """The messages of one ask to a role; `title` names the role."""

    title: str
    messages: Sequence[Message]


def role_prompts(charter: Charter, lang: Language) -> Iterator[RolePrompt]:
    """Yields the prompts of Attacker, Actor, Critic and judge for the charter's first subdomain.

    The Attacker's is that of the first shipped style, at the middle severity.
    """
    subdomain = charter.subdomains()[0]
    attack = choose_attacks([])[0]
    where = f"{subdomain.id}, {lang}"
    topic = subdomain.topics.get(lang)[0]
    yield RolePrompt(
        f"Attacker, style {attack.name} ({where})",
        attacker_messages(attack, lang, topic, _SEVERITY),
    )
    yield RolePrompt(
        f"Actor ({where})",
        (
            {"role": "system", "content": charter.system_prompt(lang, subdomain.id)},
            {"role": "user", "content": QUERY},
        ),
    )
    submission = Submission("shown", lang, QUERY, ANSWER, subdomain.id)
    yield RolePrompt(f"Critic ({where})", FORMS["full"].messages(charter, submission))
    yield RolePrompt(
        f"judge ({where})", grading_messages(charter, lang, question=QUERY, answer=ANSWER)
    )
