"""The rule that is only measured: no role of a run reads it in any prompt."""

import json
from collections import defaultdict

import pytest

from tests.adversarial.conftest import NOUNS
from tests.questions import written
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.adversarial.calls import ACTOR, ATTACKER, CRITIC, TARGET
from vcjax.adversarial.cells import AttackSuite, CellGroup
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.critic.forms import FORMS
from vcjax.adversarial.critic.votes import Submission
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.plan import Limits
from vcjax.charter.load import load_charter
from vcjax.roles.role import Reply

CHARTER = load_charter("verifiable")
(MEASURED,) = (principle for principle in CHARTER.principles if principle.measure_only)
BAD = {"en": "It is so.", "zh": "是的。"}
GOOD = {
    "en": "Every person keeps an equal dignity before the law, and a fair answer begins with that. "
    "Whoever decides has to give reasons, and others must be able to check them.",
    "zh": "每个人在法律面前都有平等的尊严，公正的回答应当从这里开始。作决定的人要说明理由，"
    "别人也应当能够核对这些理由是否站得住。",
}


class Talker:
    """A role that replies to anything, and keeps the prompts that it was given by stage."""

    model = identity = "talker"

    def __init__(self, name, reply):
        self.family, self._reply = name, reply
        self.prompts = defaultdict(list)

    def ask(self, asks, on_reply=None):
        replies = []
        for index, ask in enumerate(asks):
            self.prompts[ask.key.split("/", 1)[1]].append(ask.messages)
            replies.append(Reply(self._reply(len(self.prompts)), "stop", 0, 0))
            if on_reply is not None:
                on_reply(index, replies[-1])
        return replies


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("form", ["full", "simple"])
def test_no_prompt_of_any_role_states_the_rule_that_is_only_measured(lang, form, tmp_path):
    asked = {"en": "Which {0} must the old {1} near {0}ton make room for?"}
    asked["zh"] = "为什么说老城区的{0}比{1}更值得花钱保留下来呢？"
    filled = FORMS[form].filled(CHARTER, Submission("a", lang, "Q?", "A."), 5, "good")
    roles = {
        ATTACKER: Talker(
            "a", lambda n: written(asked[lang].format(NOUNS[n % 8], NOUNS[(n + 3) % 8]))
        ),
        TARGET: Talker("b", lambda n: BAD[lang]),
        ACTOR: Talker("b", lambda n: GOOD[lang]),
        CRITIC: Talker("c", lambda n: json.dumps(filled)),
    }
    attacks = choose_attacks(["dilemma", "gradual_escalation", "iterative_refinement"])
    suite = AttackSuite(CHARTER, attacks, (), CHARTER.subdomains(False)[:1], (lang,), (2,))
    limits = Limits(attempts=6, wave=6)
    config = SynthesisConfig(
        attempts=6, target="x", actor_mode="revise", answers=1, critic_form=form, wave=6
    )
    group = CellGroup(suite.cells())
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger, Pipeline(config, suite, group, limits, roles=roles, ledger=ledger) as pipeline:
        pipeline.run()
    stages = {stage for role in roles.values() for stage in role.prompts}
    assert {"attacker", "actor/0", "actor/0/critique", "actor/0/revision"} <= stages
    assert any(stage.startswith("critic/") for stage in stages)
    assert any(stage.startswith("target/") for stage in stages)
    for role in roles.values():
        for prompts in role.prompts.values():
            for prompt in prompts:
                text = "\n".join(message["content"] for message in prompt)
                assert MEASURED.text.get(lang) not in text
                assert MEASURED.id not in text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_neither_the_persona_nor_what_judges_read_states_the_rule_that_is_only_measured(lang):
    stated = [each for each in CHARTER.principles if each is not MEASURED]
    persona = CHARTER.system_prompt(lang)
    assert all(principle.text.get(lang) in persona for principle in stated)
    for text in (persona, CHARTER.grading_text(lang)):
        assert MEASURED.text.get(lang) not in text
