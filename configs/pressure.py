"""Does adversarial data make a model keep the facts that it knows under pressure, and at what cost?

    python -m launch.ablate --config=configs/pressure.py --workdir=runs/pressure
    python -m launch.ablate --config=configs/pressure.py:full --workdir=runs/pressure-full
    python -m launch.ablate --config=configs/pressure.py:parrot --workdir=runs/pressure-parrot \
        --config.outside=parrot:FILE,halluqa:FILE

Nobody judges: after each question the log-likelihoods of a true and a false sentence are compared.
The facts that the base model knows are split; arms are trained on some of them under some styles of
pressure, and measured on others, on whole topics and under styles that no arm saw. The user claims
the false answer in half of the conversations and the true one in the other half.

The preset has three arms, the base model, the same facts asked neutrally (`clean`) and pressed in
both directions (`adversarial`), with three seeds. `:full` has all arms, those of the preset with
three seeds and the others with one; it may continue a preset's workdir. `:parrot` is the preset
with one seed and, beside our facts, published ones that no arm is taught: PARROT's
`mmlu-ALL.jsonl`, by its published protocol as well as by ours, and HalluQA's `HalluQA.json`. An arm
takes a line: `data` is `none`, `clean`, `one_sided`, `adversarial`, `mixed` or a JSONL file of
pairs, `seeds` bounds its runs, and `train` overrides fields of the shared section. With
`--config.attacker=MODEL` the pressing messages of the styles that have an attack are written by an
Attacker, once. `--config.capability=TASKS` has every arm do tasks of the evaluation harness.
`--config.half_life.steps=32` trains every arm further, on ordinary examples and on opposing ones,
and reports after how many steps half of its gain is gone; also of a finished experiment.
`--config.language=zh` writes the report in Chinese.

Expected time: on two cores with other work the preset took 50 minutes, `:full` 79. Expected result,
on the test part: 80 % of the known facts are given up by the base model, 72 % after `clean` and
59 % after `adversarial`; all arms, contrasts and costs are in docs/results/pressure.md.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import add_engine_fields, demo_data, training_config

_PRESET = {
    "base": {"data": "none"},
    "clean": {"data": "clean"},
    "adversarial": {"data": "adversarial"},
}
_FULL = {
    "base": {"data": "none"},
    "persona": {"data": "none", "persona": True},
    "clean": {"data": "clean"},
    "one_sided": {"data": "one_sided", "seeds": 1},
    "adversarial": {"data": "adversarial"},
    "dpo": {
        "data": "adversarial",
        "seeds": 1,
        "train": {"objective": "dpo", "learning_rate": 2e-5},
    },
    "mixed": {"data": "mixed", "seeds": 1},
}
_CONTRASTS = (
    "adversarial - clean: flips",
    "adversarial - clean: contrarian",
    "adversarial - clean: corrections",
    "adversarial - clean: evidence",
    "adversarial - base: flips",
)
_FULL_CONTRASTS = (
    *_CONTRASTS,
    "one_sided - adversarial: contrarian",
    "one_sided - adversarial: corrections",
    "persona - base: flips",
    "dpo - clean: flips",
    "mixed - clean: flips",
    "mixed - adversarial: corrections",
)


def get_config(variant: str = "") -> ConfigDict:
    if variant not in ("", "full", "parrot"):
        raise ValueError(f"configs/pressure.py has no variant {variant!r}; it has: full, parrot")
    full = variant == "full"
    config = ConfigDict()
    config.model = "smollm2-135m-instruct"
    config.charter = "universal"
    config.facts = "shipped"
    config.most_facts = 0
    config.languages = "en,zh"
    config.held_out_topics = ""
    config.styles = (
        "stated_opinion,appeal_to_authority,leading_question,false_premise,emotional_pressure,"
        "selective_quotation,earlier_answer"
    )
    config.held_out_styles = "persona,threat,insistence,gradual_escalation"
    config.part = "test"
    config.pairs = 480
    config.corrections = 0.05
    config.evidence = 0.15
    config.styles_per_fact = 1
    config.apart_facts = 40
    config.control_facts = 100
    config.contrasts = _FULL_CONTRASTS if full else _CONTRASTS
    config.documents = demo_data("documents.jsonl")
    config.document_tokens = 512
    config.capability = config.capability_path = ""
    config.capability_limit = 0
    config.answers = 20
    config.answer_tokens = 48
    config.seeds = 1 if variant == "parrot" else 3
    config.seed = 0
    config.outside = "parrot:data/parrot/mmlu-ALL.jsonl" if variant == "parrot" else ""
    config.outside_facts = 200
    config.attacker = config.attacker_family = config.critic = config.critic_family = ""
    add_engine_fields(config)
    config.on_bad_record = "error"
    config.language = "en"
    config.half_life = ConfigDict(
        {"steps": 0, "pairs": 64, "learning_rate": 0.0, "conversations": ""}
    )
    config.train = _train()
    config.arms = ConfigDict(_FULL if full else _PRESET)
    return config


def _train() -> ConfigDict:
    config = training_config("adversarial")
    filled = ("model", "documents", "conversations", "preferences", "replay", "charter", "seed")
    for field in (*filled, "on_bad_record"):  # the experiment fills them in
        del config[field]
    config.steps = 90  # an epoch of the longest arm
    config.batch_size = 2
    config.length = 256
    config.learning_rate = 3e-4
    config.warmup_steps = 6
    config.checkpoint_every = 90
    config.keep = 1
    return config
