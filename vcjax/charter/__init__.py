"""What a model is aligned to: a charter, the checks that it names, and the shipped charters.

    shipped/*.yaml, mine.yaml --- load.load_charter ---> schema.Charter
                                                            |
              +------------------------+--------------------+-------------------+
              v                        v                    v                   v
    system_prompt (the Actor)   grading_text (Critic,   topics_for (what    run_checks (rules that
    persona, principles,        judge): the rubric      the Attacker asks   decide a property of an
    a line of the floor         and the floor rules     about)              answer: `checks`)

`parts` has what `schema` puts together, and checks that it fits; `floor` the rules that bind every
charter. `review` reports what is wrong with a file, and what is doubtful, for
`launch.charter check`.
"""
