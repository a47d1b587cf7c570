"""What does each stage of training add, and what does it cost?

    python -m launch.ablate --config=configs/stages.py --workdir=runs/stages

The arms are stages on top of each other: the base model, continued pre-training (`cpt`),
instruction tuning (`sft`), adversarial training on accepted pairs and pressed facts
(`adversarial`). Each is compared with the one before it: the rules of the charter `verifiable` that
its answers keep, by domain and language; facts that it gives up under pressure; and what alignment
costs: facts of topics that no arm is taught, asked plainly in every language, and the loss of text
that no arm was trained on. With `--config.evaluation.judge=MODEL` and
`--config.evaluation.judge_family=FAMILY` a judge scores the answers as well, and with
`--config.capability=TASKS` every arm does tasks of the evaluation harness, compared in pairs.
`--config.language=zh` writes the report in Chinese.

An arm takes a line: `stage`, the arm that it is `after`, `data` of an adversarial stage, and
`train` overrides fields of the stage's section. For example, stages that are left out, and pairs
that people have written beside those of the pipeline or in their place:

    "no_cpt": {"stage": "sft", "after": "base"},
    "written": {"stage": "adversarial", "after": "sft", "data": "FILE.jsonl"},
    "both": {"stage": "adversarial", "after": "sft", "data": "attacks,facts,FILE.jsonl"},

Expected time: 12 minutes on two cores with other work. Expected result: the loss of held-out text
falls clearly with `cpt` and with `sft`; with 13 questions a language, 97 known facts and one seed
nothing else is clear. docs/results/stages.md has the table.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import add_engine_fields, demo_data, training_config


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.model = "smollm2-135m-instruct"
    config.family = ""
    config.charter = "verifiable"
    config.documents = demo_data("documents.jsonl")
    config.measured_documents = ""
    config.held_out_share = 0.45
    config.document_tokens = 512
    config.conversations = demo_data("conversations.jsonl")
    config.questions = demo_data("questions.jsonl")
    config.columns = ""
    config.capability = config.capability_path = ""
    config.capability_limit = 0
    config.seed = 0
    config.on_bad_record = "error"
    config.language = "en"
    config.cpt = _stage("cpt", steps=16, learning_rate=2e-5, full=True)
    config.sft = _stage("sft", steps=20, learning_rate=3e-4)
    config.adversarial = _stage("adversarial", steps=60, learning_rate=3e-4, batch_size=2)
    config.synthesis = _synthesis()
    config.evaluation = _evaluation()
    config.pressure = _pressure()
    config.arms = ConfigDict(
        {
            "base": {},
            "cpt": {"stage": "cpt", "after": "base"},
            "sft": {"stage": "sft", "after": "cpt"},
            "adversarial": {"stage": "adversarial", "after": "sft"},
        }
    )
    return config


def _stage(
    stage: str, *, steps: int, learning_rate: float, batch_size: int = 4, full: bool = False
) -> ConfigDict:
    config = training_config(stage)
    filled = ("stage", "model", "documents", "conversations", "preferences", "replay")
    for field in (*filled, "charter", "seed", "on_bad_record", "columns"):
        del config[field]  # the ablation fills them in
    config.steps = steps
    config.learning_rate = learning_rate
    config.batch_size = batch_size
    config.length = 256
    config.warmup_steps = 2
    config.checkpoint_every = max(4, steps // 2)
    config.keep = 1
    if full:
        config.update({"lora": {"rank": 0}})
    return config


def _synthesis() -> ConfigDict:
    """No Critic: the charter's rules alone select; name one with `critic` and `critic_family`."""
    config = ConfigDict()
    config.critic = config.critic_family = ""
    config.benchmark = "universal"
    config.attempts = 28
    config.attacks = (
        "appeal_to_authority,dilemma,emotional_pressure,false_premise,leading_question,"
        "loaded_comparison"
    )
    config.languages = "en"  # the shipped model knows next to no Chinese
    config.answers = 2
    config.brief = True
    config.wave = 16
    add_engine_fields(config)
    config.attacker_tokens = 48
    config.actor_tokens = 128
    config.attacker_temperature = 0.9
    config.actor_temperature = 0.7
    config.top_p = 0.95
    return config


def _evaluation() -> ConfigDict:
    config = ConfigDict()
    config.judge = config.judge_family = ""
    config.allow_same_family = False
    config.benchmark = "universal"
    config.per_domain_and_language = 1
    config.persona = False
    config.max_tokens = 128
    config.judge_tokens = 256
    add_engine_fields(config)
    return config


def _pressure() -> ConfigDict:
    config = ConfigDict()
    config.facts = "shipped"
    config.most_facts = 240
    config.languages = "en"  # in Chinese the shipped model only guesses
    config.held_out_topics = ""
    config.styles = (
        "stated_opinion,appeal_to_authority,leading_question,false_premise,emotional_pressure,"
        "selective_quotation,earlier_answer"
    )
    config.held_out_styles = "persona,threat,insistence,gradual_escalation"
    config.part = "test"
    config.pairs = 240
    config.corrections = 0.05
    config.evidence = 0.15
    config.styles_per_fact = 1
    config.apart_facts = 0
    config.control_facts = 30
    add_engine_fields(config)
    return config
