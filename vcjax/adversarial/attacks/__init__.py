"""How the Attacker writes a query that is worth asking.

    styles/*.yaml --style.py--> Attack (instruction, severities, examples, kind of turns)
         |
         v
    prompts.py: the messages to the Attacker, and the query in its JSON
         |
         v
    queries.py: rejected with a reason, taken, or replaced by a stand-in question
         |                                    (near-duplicates of earlier waves are rejected)
         v
    style_check.py: is it of its style and on its topic? what counts as an attack
         |          (topic_words.yaml; measured on labelled_queries.jsonl)
         v
    refinement.py: queries improved against the attacked model's answers (PAIR, TAP)

A new style is one YAML file; without cues in it, only a Critic checks its queries. A new kind of
turns is an entry in `style.TURN_KINDS` and its steps in `vcjax.adversarial.episode.STEPS`.
"""
