"""Whether it worked: benchmark, answers, judge's verdicts, standard tasks.

`run.evaluate` does all of it; `summarise.compare` sets two runs side by side; `capability` runs
lm-eval's tasks.
"""
