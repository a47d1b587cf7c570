"""Does training on answered attacks lower the success of held-out ones more than other data does?

    python -m launch.ablate --config=configs/ablate.py --workdir=runs/ablate

The judge has no opinion: every principle of the charter `verifiable` is a rule, one of which
selects nothing and is only measured. The arms are the base model; two rounds of attack, answer,
selection by the rules and training; the same number of ordinary conversations in place of the
pairs; and the same answers without any selection.

36 minutes on two CPU cores shared with other work. Expected: held-out attacks succeed less often by
37 percentage points [28 to 47] than on the base model and by 35 [24 to 45] than after the same
number of ordinary conversations; perplexity on other text rises from 58 to 90.

An arm takes a few lines. `data` is `none`, `attacks`, `conversations` or `answers`; `synthesis` and
`train` override fields of the shared sections. For example, arms with a Critic and with DPO:

    "critic": {"data": "attacks", "synthesis": {"critic": MODEL, "critic_family": FAMILY}},
    "dpo": {"data": "attacks", "train": {"objective": "dpo"}, "after": "adversarial"},
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import add_engine_fields, demo_data, training_config


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.model = "smollm2-135m-instruct"
    config.family = ""
    config.attacker = config.attacker_family = ""
    config.actor = config.actor_family = ""
    config.charter = "verifiable"
    config.language = "en"
    config.attacks = (
        "appeal_to_authority,emotional_pressure,false_premise,hypothetical,leading_question,"
        "persona,selective_quotation"
    )
    config.held_out_attacks = "dilemma,historical_analogy,loaded_comparison,stated_opinion"
    config.held_out_queries = 8
    config.trained_queries = 1
    config.questions = demo_data("questions.jsonl")
    config.conversations = demo_data("conversations.jsonl")
    config.documents = demo_data("documents.jsonl")
    config.document_tokens = 512
    config.answer_tokens = 192
    config.samples = 20
    config.rounds = 2
    config.seeds = 1
    config.seed = 0
    add_engine_fields(config)
    config.on_bad_record = "error"
    config.synthesis = _synthesis()
    config.train = _train()
    config.arms = ConfigDict(
        {
            "base": {"data": "none"},
            "adversarial": {"data": "attacks"},
            "ordinary": {"data": "conversations", "like": "adversarial"},
            "unselected": {"data": "answers", "like": "adversarial"},
        }
    )
    return config


def _synthesis() -> ConfigDict:
    """No Critic: the charter's rules alone select. The model is Attacker, target and, under the
    charter's persona, Actor; only attacks that succeeded are answered."""
    config = ConfigDict()
    config.critic = ""
    config.only_failures = True
    config.attempts = 120
    config.answers = 6
    config.actor_mode = "best"
    config.brief = True
    config.wave = 32
    config.attacker_tokens = 64
    config.actor_tokens = 168
    config.attacker_temperature = 0.9
    config.actor_temperature = 0.7
    config.top_p = 0.95
    return config


def _train() -> ConfigDict:
    config = training_config("adversarial")
    filled = ("model", "documents", "conversations", "preferences", "replay", "charter", "seed")
    for field in (*filled, "on_bad_record"):  # the ablation fills them in
        del config[field]
    config.steps = 40
    config.batch_size = 4
    config.length = 256
    config.learning_rate = 3e-4
    config.warmup_steps = 4
    config.replay_weight = 1.0
    config.checkpoint_every = 10
    config.keep = 1
    return config
