"""The whole road on two CPU cores: base model and charter in, aligned model and report out.

    python -m launch.demo --config=configs/demo.py --workdir=runs/demo        (or `make demo`)

On two CPU cores: under 15 minutes. Expected: attempts in English cells are accepted, or rejected
with a reason, and those in Chinese cells are rejected, since the shipped model knows next to no
Chinese; the report states what changed, with intervals, and what did not.

With your own files: --config.documents=... --config.conversations=... --config.questions=...
The paper's numbers for these settings, where it states any, are in `configs/cpt.py`, `sft.py` and
`adversarial.py`; sizes and rates here are chosen for two cores and fifteen minutes.
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

    config.cpt = _stage("cpt", steps=10, learning_rate=2e-5, full=True)
    config.sft = _stage("sft", steps=24, learning_rate=3e-4)
    config.adversarial = _stage("adversarial", steps=12, learning_rate=2e-4)

    config.synthesis = ConfigDict()
    config.synthesis.allow_same_family = True
    config.synthesis.benchmark = "universal"
    config.synthesis.attempts = 28
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

    config.evaluation = ConfigDict()
    config.evaluation.allow_same_family = True
    config.evaluation.benchmark = "universal"
    config.evaluation.per_domain_and_language = 1
    config.evaluation.persona = False
    config.evaluation.max_tokens = 160
    config.evaluation.judge_tokens = 256
    add_engine_fields(config.evaluation)
    return config


def _stage(stage: str, *, steps: int, learning_rate: float, full: bool = False) -> ConfigDict:
    config = training_config(stage)
    filled = ("model", "documents", "conversations", "preferences", "replay", "charter", "seed")
    for field in (*filled, "on_bad_record", "columns"):  # the road fills them in
        del config[field]
    config.steps = steps
    config.learning_rate = learning_rate
    config.batch_size = 4
    config.length = 256
    config.warmup_steps = 2
    config.checkpoint_every = max(4, steps // 2)
    config.keep = 1
    if full:
        config.update({"lora": {"rank": 0}})
    return config
