"""Logs of other tools, read without them: samples of a common form, and from these a run.

inspect   Inspect's .eval, a zip, or its JSON      lm_eval   samples_*.jsonl, or their folder
promptfoo its results as JSON                      pyrit     its exported conversations, JSON
    \\        |        /        /
     samples: one score of each sample, domains and languages by the fields that hold them
"""
