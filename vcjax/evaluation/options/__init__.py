"""Questions with options, scored by log-likelihood: nothing is sampled and no judge takes part.

rows.py       rows of any file, by a mapping of columns
asking.py     options under letters, and how probable a model finds each

The measure is `vcjax.evaluation.measures.choice`.
"""
