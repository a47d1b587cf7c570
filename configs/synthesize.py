"""Attacker -> Actor -> Critic with the shipped model in all three roles.

    python -m launch.synthesize --config=configs/synthesize.py --workdir=runs/synthesize \\
        --config.actor=runs/sft --config.attempts=64

A Critic of the Actor's family is refused unless `allow_same_family` is set; the summary then says
so. Name another model as `config.critic` for evidence. The paper has 64 k accepted pairs; its
prompts, rubric, thresholds and word list are unspecified, so those in the charter are ours.
"""

from ml_collections import ConfigDict

from configs.common import demo_data


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.charter = "universal"
    config.attacker = config.actor = config.critic = "smollm2-135m-instruct"
    config.target = ""
    config.attacker_family = config.actor_family = config.critic_family = ""
    config.target_family = ""
    config.allow_same_family = False
    config.only_failures = False
    config.questions = demo_data("questions.jsonl")
    config.benchmark = "universal"
    config.attempts = 32
    config.per_cell = 0
    config.cell_attempts = 0
    config.attacks = ""
    config.held_out_attacks = ""
    config.languages = "en,zh"
    config.severities = "2"
    config.turns = ""
    config.actor_mode = "best"
    config.answers = 2
    config.critic_form = "full"
    config.critic_votes = 1
    config.calibration = ""
    config.min_kappa = 0.4
    config.force_export = False
    config.canaries = 0
    config.accept_score = -1
    config.wave = 16
    config.slots = 16
    config.attacker_tokens = 64
    config.actor_tokens = 192
    config.critic_tokens = 256
    config.attacker_temperature = 0.9
    config.actor_temperature = 0.7
    config.critic_temperature = 0.0
    config.top_p = 0.95
    config.seed = 0
    config.on_bad_record = "error"
    return config
