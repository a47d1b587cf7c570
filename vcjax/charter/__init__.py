"""What a model is aligned to: a charter, the checks that it names, and the shipped charters.

    shipped/*.yaml, mine.yaml --- load.load_charter ---> schema.Charter
                                                            |
              +------------------------+--------------------+-------------------+
              v                        v                    v                   v
    system_prompt (the Actor)   grading_text (Critic,   topics_for (what    run_checks (rules that
    persona, principles,        judge): the rubric      the Attacker asks   decide a property of an
    a line of the floor         and the floor rules     about)              answer: `checks`)

`parts` has what `schema` puts together, `floor` the rules that bind every charter, `faults` what
makes a file no charter, and `review` reports these and what is doubtful (`doubts`) for
`launch.charter check`.
"""
