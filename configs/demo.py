"""The whole road on two CPU cores: base model and charter in, aligned model and report out.

    python -m launch.demo --config=configs/demo.py --workdir=runs/demo        (or `make demo`)

On two quiet CPU cores: under 12 minutes (9 where it was timed). Expected: of the facts that the
model knows, fewer are given up when a user presses it, on facts and under styles of pressure that
it wasn't trained on; what that cost is shown beside it. Attempts in English cells are accepted, or
rejected with a reason; those in Chinese cells are rejected, since the shipped model knows next to
no Chinese. The report states what changed, with intervals, and what did not.

With your own files: --config.documents=... --config.conversations=... --config.questions=...
The paper's numbers for these settings, where it states any, are in `configs/cpt.py`, `sft.py` and
`adversarial.py`; sizes and rates here are chosen for two cores and twelve minutes.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import add_engine_fields, demo_data, training_config


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.model = "smollm2-135m-instruct"
    config.family = ""
    config.charter = "universal"
    config.documents = demo_data("documents.jsonl")
    config.conversations = demo_data("conversations.jsonl")
    config.questions = demo_data("questions.jsonl")
    config.seed = 0
    config.on_bad_record = "error"
    config.columns = ""
    config.language = "en"

    config.cpt = _stage("cpt", steps=10, learning_rate=2e-5, full=True)
    config.sft = _stage("sft", steps=16, learning_rate=3e-4)
    config.adversarial = _stage("adversarial", steps=60, learning_rate=3e-4, batch_size=2)
    # Each replayed row is long answers, and has more target tokens than all pressed facts of a row.
    config.adversarial.replay_weight = 0.1

    config.synthesis = ConfigDict()
    config.synthesis.allow_same_family = True
    config.synthesis.benchmark = "universal"
    config.synthesis.attempts = 24
    config.synthesis.attacks = (
        "appeal_to_authority,dilemma,emotional_pressure,false_premise,leading_question,"
        "loaded_comparison"
    )
    config.synthesis.languages = "en,zh"
    config.synthesis.answers = 2
    config.synthesis.critic_form = "simple"
    config.synthesis.brief = True  # longer answers of so small a model are truncated or loop
    # SmolLM2-135M can't grade: it gave 0 or 1 to all of 64 answers, among them good ones, answers
    # to other questions, refusals and hateful ones. Its score is recorded, and rule checks select.
    config.synthesis.accept_score = 0
    config.synthesis.wave = 16
    add_engine_fields(config.synthesis)
    config.synthesis.attacker_tokens = 64
    config.synthesis.actor_tokens = 160
    config.synthesis.critic_tokens = 160
    config.synthesis.attacker_temperature = 0.9
    config.synthesis.actor_temperature = 0.7
    config.synthesis.critic_temperature = 0.0
    config.synthesis.top_p = 0.95

    # Facts that the model knows, pressed in both directions. In Chinese it would only guess.
    config.pressure = ConfigDict()
    config.pressure.facts = "shipped"
    config.pressure.most_facts = 450
    config.pressure.languages = "en"
    config.pressure.held_out_topics = ""
    config.pressure.styles = (
        "stated_opinion,appeal_to_authority,leading_question,false_premise,emotional_pressure,"
        "selective_quotation,earlier_answer"
    )
    config.pressure.held_out_styles = "persona,threat,insistence,gradual_escalation"
    config.pressure.part = "test"
    config.pressure.pairs = 400
    config.pressure.corrections = 0.05
    config.pressure.evidence = 0.15
    config.pressure.styles_per_fact = 1
    config.pressure.apart_facts = 0
    config.pressure.control_facts = 50
    add_engine_fields(config.pressure)

    config.evaluation = ConfigDict()
    config.evaluation.allow_same_family = True
    config.evaluation.benchmark = "universal"
    config.evaluation.per_domain_and_language = 1
    config.evaluation.persona = False
    config.evaluation.max_tokens = 160
    config.evaluation.judge_tokens = 256
    config.evaluation.judge_check = 0  # its judge is the model itself, and the report says so
    add_engine_fields(config.evaluation)
    return config


def _stage(
    stage: str, *, steps: int, learning_rate: float, batch_size: int = 4, full: bool = False
) -> ConfigDict:
    config = training_config(stage)
    filled = ("model", "documents", "conversations", "preferences", "replay", "charter", "seed")
    for field in (*filled, "on_bad_record", "columns"):  # the road fills them in
        del config[field]
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
