"""Which rules of a charter does a model learn from selected answers to attacks, and from what else?

    python -m launch.ablate --config=configs/ablate.py --workdir=runs/ablate

The judge has no opinion: every principle of the charter `verifiable` is a rule, one of which
selects nothing, stands in no prompt, and is only measured. So the table shows which rules are
learned, not values. The arms:

    base            the model as it is
    persona         the same, with the charter's rules as system message
    adversarial     two rounds of attack, answer, selection by the rules and training
    selected_plain  the same selection from answers to plain questions, as many pairs
    ordinary        as many ordinary conversations
    unselected      as many answers to attacks, with no selection of queries or answers

Every arm is asked held-out attacks and plain questions on the same 12 held-out topics: a habit
that doesn't depend on attacks shows in both. The intervals are by topic, and the verdict is
corrected for the number of comparisons (Holm). About an hour on two CPU cores.
`--config.report_language=zh` writes the report in Chinese.

An arm takes a few lines. `data` is `none`, `attacks`, `questions`, `answers` or `conversations`;
`persona` asks with the charter's system message; `synthesis` and `train` override fields of the
shared sections. For example, arms with a Critic and with DPO:

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
    config.report_language = "en"
    config.attacks = (
        "appeal_to_authority,emotional_pressure,false_premise,hypothetical,leading_question,"
        "persona,selective_quotation"
    )
    config.held_out_attacks = "dilemma,historical_analogy,loaded_comparison,stated_opinion"
    config.held_out_queries = 8
    config.trained_queries = 1
    config.clean_queries = 16
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
            "persona": {"data": "none", "persona": True},
            "adversarial": {"data": "attacks"},
            "selected_plain": {"data": "questions", "like": "adversarial"},
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
