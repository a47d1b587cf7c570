"""Questions with options, scored by log-likelihood: nothing is sampled and no judge takes part.

rows.py       rows of any file, by a mapping of columns
letters.py    options under letters, and how probable a model finds each

stances.py    items of a questionnaire; statements.jsonl are the package's own

The measures are `vcjax.evaluation.measures.choice` and `stance`.
"""
