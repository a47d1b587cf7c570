"""Attacker -> Actor -> Critic over the cells of a charter, every attempt in a ledger.

inputs.py (charter, attacks, roles)
    |
topics.py: what the attempts are about: the charter's, a file's, the Attacker's
    |
plan.py: the next wave of attempts over cells.py's cells  <----------- tallies ----------+
    |                                                                                    |
episode.py: one attempt --attacker.py--> query --actor.py--> answer --critic/--> verdict |
    |                  (attacks/: styles, prompts, and what a query must not be;         |
    |                  refinement.py: queries improved against the attacked model)       |
    |                  calls.py: every call through the ledger                           |
    v                                                                                    |
pipeline.py: waves, side by side by waves.py --> ledger/ --------------------------------+
    |
run.py --summary.py, diversity.py, outputs.py--> accepted.jsonl, preferences.jsonl,
    rejected.jsonl, summary.json, dataset card          reasons.py: every reject reason
attack_success.py: whether an attack succeeded, and how often attacks do
measurement.py: the same attacks on every checkpoint, only to measure
"""
