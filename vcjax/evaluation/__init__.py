"""Floor 5: whether it worked: benchmark, answers, verdicts, and statistics with intervals.

`run.evaluate` does all of it; `summarise.compare` sets two runs side by side.
"""
