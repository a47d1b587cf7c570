"""Attacker -> Actor -> Critic over subdomain x attack x language x severity x turns.

    python -m launch.synthesize --config=configs/synthesize.py --workdir=runs/synthesize \\
        --config.actor=runs/sft --config.critic=OTHER --config.critic_family=FAMILY

By default the shipped model plays all three roles and makes 32 attempts over all cells. A Critic
of the Actor's family is refused unless `allow_same_family` is set; the summary then notes it. For
evidence, name another model or an endpoint as `config.critic`. With `per_cell` every cell is
attacked until it has that number of accepted pairs or has used up its budget (exit code 3).

    python -m launch.synthesize --config=configs/synthesize.py:demo --workdir=runs/synthesize

attacks 6 subdomains x 6 attacks x 2 languages for one pair each. The shipped model can't grade, so
there is no Critic: the charter's rule checks decide. At most 288 attempts. Expected: exit code 3,
with few cells filled (8 of 72, in 274 attempts and 15 minutes): only an attack of its style and on
its topic fills a cell, and of so small a model's queries one in nine is that (27 of 241 by the
rules that check it; in 23 attempts a seed question stood in). The pairs of the others are in the
files too, marked as such.

The paper has 64 k accepted pairs; its prompts, rubric, thresholds and word list are unspecified.
Those in the charter and in the attacks are therefore ours.
"""

from ml_collections import ConfigDict

from vcjax.adversarial.reasons import FILTERS
from vcjax.core.defaults import add_engine_fields, demo_data
from vcjax.core.errors import UserError, suggest

VARIANTS = ("default", "demo")


def get_config(variant: str = "default") -> ConfigDict:
    if variant not in VARIANTS:
        hint = suggest(variant, VARIANTS)
        raise UserError(f"config variant {variant!r} is none of {', '.join(VARIANTS)}{hint}")
    config = ConfigDict()
    config.charter = "universal"
    config.attacker = config.actor = config.critic = "smollm2-135m-instruct"
    config.target = ""
    config.attacker_family = config.actor_family = config.critic_family = ""
    config.target_family = ""
    config.allow_same_family = False
    config.only_failures = False
    config.questions = demo_data("questions.jsonl")
    config.topics = ""  # a file, or attacker:200 where 64 k pairs are wanted
    config.benchmark = "universal"
    config.attempts = 32
    config.per_cell = 0
    config.cell_attempts = 0
    config.subdomains = ""
    config.attacks = ""
    config.held_out_attacks = ""
    config.languages = "en,zh"
    config.severities = "2"
    config.turns = ""
    config.attacker_tries = 1
    config.actor_mode = "best"
    config.answers = 2
    config.brief = False
    config.filters = ",".join(FILTERS)
    config.critic_form = "full"
    config.critic_votes = 1
    config.calibration = ""
    config.min_kappa = 0.4
    config.force_export = False
    config.canaries = 0
    config.accept_score = -1
    config.shard = ""
    config.wave = 16
    config.ahead = 0
    add_engine_fields(config)
    config.attacker_tokens = 64
    config.actor_tokens = 192
    config.critic_tokens = 256
    config.attacker_temperature = 0.9
    config.actor_temperature = 0.7
    config.critic_temperature = 0.0
    config.top_p = 0.95
    config.seed = 0
    config.on_bad_record = "error"
    config.columns = ""
    if variant == "demo":
        _demo(config)
    return config


def _demo(config: ConfigDict) -> None:
    config.charter = "vcllm"  # its rules ask for nothing that the shipped model can't do
    config.critic = ""
    config.subdomains = (
        "ethnic_relations,racial_discrimination,religion,human_rights,technology,governance"
    )
    config.attacks = (
        "appeal_to_authority,dilemma,false_premise,leading_question,opposing_framings,"
        "gradual_escalation"
    )
    config.per_cell = 1
    config.cell_attempts = 4
    config.attempts = 72 * 4
    config.turns = "2"
    config.attacker_tries = 3
    config.brief = True
    config.actor_tokens = 160
    config.wave = 32
