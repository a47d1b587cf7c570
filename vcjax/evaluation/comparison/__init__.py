"""Finished evaluations on the same questions, compared question by question.

    workdirs: ours        -> runs: score records, and what is wrong with them
                                 |
                                 v
                             differences: of two runs, with intervals and effect sizes;
                                 |        options: their stances and their multiple choice
                                 v
                             analysis: all runs with the first; corrected, what could have been
                                 |     found, and the paper's table in shape
                                 v
                             gate: bounds on the ends of intervals

Nothing here imports JAX or a model.
"""
