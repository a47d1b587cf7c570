"""Whether alignment worked: a benchmark, the model's answers, a judge's scores and their summary.

    benchmark: items  -->  answering: the model's answers   -> answers.jsonl
                               |
                               v
                           judge: scores and rule checks    -> scores.jsonl
                               |
                               v
                           summary: means, rates, intervals -> summary.json
                                    (and paired differences of two runs)

`run.evaluate` does all of it for a `subject.Subject`, with which every measure asks as well: the
model, its judges, the charter and the settings. `roles.cache.CallCache` keeps the answers and the
scores, so that a run which was killed asks only what is missing. `capability` runs public tasks
instead.
"""
