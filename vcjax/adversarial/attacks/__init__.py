"""How the Attacker writes a query that is worth asking.

    styles/*.yaml --style.py--> Attack (instruction, severities, examples, kind of turns)
         |
         v
    prompts.py: the messages to the Attacker, and the query in what it wrote
         |
         v
    queries.py: rejected with a reason, taken, or replaced by a stand-in question
         |                                    (near-duplicates of finished waves are rejected)
         v
    refinement.py: queries improved against the attacked model's answers (PAIR, TAP)

A new style is one YAML file. A new kind of turns is an entry in `style.TURN_KINDS` and its steps in
`vcjax.adversarial.episode.STEPS`.
"""
