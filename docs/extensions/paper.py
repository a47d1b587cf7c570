"""What the paper (arXiv 2601.13137) leaves unspecified, by the class of the config's fields.

A field that is named here has a value of ours. What the paper states stands in the config files'
docstrings: a Llama-3-8B base, LoRA, the sizes of the three data sets, a Critic of another family,
13 subdomains, 174 questions per language, scores up to 5 by a judge.
"""

_FIELDS = {
    "TrainConfig": """
        objective replay replay_weight steps batch_size length learning_rate schedule warmup_steps
        decay_steps final_learning_rate_ratio optimizer weight_decay b1 b2 clip_norm groups dtype
        mesh
    """,
    "LoraSettings": "rank alpha targets dropout base",
    "PreferenceSettings": "beta odds_weight",
    "SynthesisConfig": """
        attacker actor critic questions topics attempts per_cell cell_attempts attacks severities
        turns attacker_tries actor_mode answers filters critic_form critic_votes accept_score
        attacker_tokens actor_tokens critic_tokens attacker_temperature actor_temperature
        critic_temperature top_p
    """,
    "EvaluationConfig": "judge judge_samples judge_language judge_tokens max_tokens axes persona",
    "RoundsConfig": "rounds floor discount",
    "PrepareConfig": "steps settings length validation",
}
UNSPECIFIED = {name: frozenset(fields.split()) for name, fields in _FIELDS.items()}
"""Names of the fields, by class."""
