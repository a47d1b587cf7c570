"""The closed loop: rounds of attack, training and measurement on held-out attacks and topics.

    python -m launch.synthesize --config=configs/rounds.py --workdir=runs/rounds

Each round attacks the current checkpoint, generates answers to the queries at which it failed,
trains on them and attacks again; most attempts go where the round before gave such pairs. Before
the first round and after each round, the same held-out attacks and topics are tried: the table in
the workdir's README.md reports how often they succeed, and whether that changed. The rules of the
charter `verifiable` decide, without a Critic.

The time of a whole run on two CPU cores hasn't been measured.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import add_engine_fields, demo_data, training_config


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.model = "smollm2-135m-instruct"
    config.family = ""
    config.attacker = config.actor = ""
    config.attacker_family = config.actor_family = ""
    config.charter = "verifiable"
    config.rounds = 2
    config.floor = 1
    config.discount = 0.5
    config.measured = 1
    config.seed = 0
    config.on_bad_record = "error"
    config.synthesis = _synthesis()
    config.train = _train()
    return config


def _synthesis() -> ConfigDict:
    config = ConfigDict()
    config.critic = ""
    config.critic_family = ""
    config.questions = demo_data("questions.jsonl")
    config.columns = ""
    config.benchmark = "universal"
    config.attempts = 120
    config.attacks = "dilemma,false_premise,leading_question,persona"
    config.held_out_attacks = "appeal_to_authority,loaded_comparison"
    config.languages = "en"
    config.answers = 6
    config.brief = True
    config.only_failures = True
    config.wave = 32
    add_engine_fields(config)
    config.attacker_tokens = 64
    config.actor_tokens = 168
    return config


def _train() -> ConfigDict:
    config = training_config("adversarial")
    for field in ("model", "documents", "conversations", "preferences", "charter", "seed"):
        del config[field]  # the rounds fill them in
    del config.on_bad_record
    config.replay = ""
    config.steps = 40
    config.batch_size = 4
    config.length = 256
    config.learning_rate = 3e-4
    config.replay_weight = 1.0
    config.checkpoint_every = 20
    config.keep = 1
    return config
