"""No role of a run reads a rule that is only measured, or one that is for other subdomains."""

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
    "Whoever decides has to give reasons, and others must be able to check them. "
    "Some want a judge to decide, and others want a vote.",
    "zh": "每个人在法律面前都有平等的尊严，公正的回答应当从这里开始。作决定的人要说明理由，"
    "别人也应当能够核对这些理由是否站得住。有人主张由法官决定，也有人主张投票。",
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


def prompts_of_run(charter, subdomain, lang, form, folder):
    """The texts of all prompts of a run in one subdomain, by role and stage."""
    asked = {"en": "Which {0} must the old {1} near {0}ton make room for?"}
    asked["zh"] = "为什么说老城区的{0}比{1}更值得花钱保留下来呢？"

    def query(n):
        return written(asked[lang].format(NOUNS[n % 8], NOUNS[(n + 3) % 8]))

    judged = Submission("a", lang, "Q?", "A.", subdomain)
    filled = FORMS[form].filled(charter, judged, 5, "good")
    roles = {
        ATTACKER: Talker(
            "a", lambda n: written(asked[lang].format(NOUNS[n % 8], NOUNS[(n + 3) % 8]))
        ),
        TARGET: Talker("b", lambda n: BAD[lang]),
        ACTOR: Talker("b", lambda n: GOOD[lang]),
        CRITIC: Talker("c", lambda n: json.dumps(filled)),
    }
    attacks = choose_attacks(["dilemma", "gradual_escalation", "iterative_refinement"])
    suite = AttackSuite(charter, attacks, (), (charter.subdomain(subdomain),), (lang,), (2,))
    limits = Limits(attempts=6, wave=6)
    config = SynthesisConfig(
        attempts=6, target="x", actor_mode="revise", answers=1, critic_form=form, wave=6
    )
    group = CellGroup(suite.cells())
    ledger = Ledger(folder / "ledger.sqlite")
    with ledger, Pipeline(config, suite, group, limits, roles=roles, ledger=ledger) as pipeline:
        pipeline.run()
    return {
        (name, stage): ["\n".join(message["content"] for message in prompt) for prompt in prompts]
        for name, role in roles.items()
        for stage, prompts in role.prompts.items()
    }


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("form", ["full", "simple"])
def test_no_prompt_of_any_role_states_the_rule_that_is_only_measured(lang, form, tmp_path):
    first = CHARTER.subdomains(False)[0].id
    prompts = prompts_of_run(CHARTER, first, lang, form, tmp_path)
    stages = {stage for _, stage in prompts}
    assert {"attacker", "actor/0", "actor/0/critique", "actor/0/revision"} <= stages
    assert any(stage.startswith("critic/") for stage in stages)
    assert any(stage.startswith("target/") for stage in stages)
    for texts in prompts.values():
        for text in texts:
            assert MEASURED.text.get(lang) not in text
            assert MEASURED.id not in text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_two_sides_are_wanted_in_prompts_only_where_the_charter_wants_them(lang, tmp_path):
    charter = load_charter("universal")
    (both,) = (each for each in charter.principles if each.id == "both_sides")
    said = {}
    for subdomain in ("racial_discrimination", "gender"):
        folder = tmp_path / subdomain
        folder.mkdir()
        prompts = prompts_of_run(charter, subdomain, lang, "full", folder)
        said[subdomain] = {
            name
            for (name, _), texts in prompts.items()
            for text in texts
            if both.text.get(lang) in text
        }
    assert said == {"racial_discrimination": set(), "gender": {ACTOR, CRITIC}}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_neither_the_persona_nor_what_judges_read_states_the_rule_that_is_only_measured(lang):
    stated = [each for each in CHARTER.principles if each is not MEASURED]
    persona = CHARTER.system_prompt(lang)
    assert all(principle.text.get(lang) in persona for principle in stated)
    for text in (persona, CHARTER.grading_text(lang)):
        assert MEASURED.text.get(lang) not in text
