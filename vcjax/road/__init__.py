"""The road: the stages of the rooms below, put together into whole runs.

Each of these is a `Run` of stages (`vcjax.core.run`); every stage is a run in a folder of its own,
so what was stopped continues, and what is finished is skipped.

demo      model -> cpt -> sft -> before, synthesis, knowledge, facts, pressed_before -> adversarial
          -> after, pressed_after -> export; one report
rounds    measure0 -> attack1 -> train1 -> measure1 -> attack2 -> ...; one table (rounds_summary)
ablation  queries -> for each seed and arm: data -> train -> measured, documents; one table, plot
stages    text, knowledge -> for each arm: data -> train -> evaluated, pressed, documents
pressure  knowledge -> for each seed and arm: pairs -> train -> measured, answers, documents
evaluate  one evaluation: roles, answers, scores, report
commits   the models of a run as they were when it began
"""
