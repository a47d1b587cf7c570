"""What is measured beside the benchmark, each measure in a folder of its own below the workdir.

measure.py       what a measure is, and how values are read from answers and scores
run.py           the measures by name; runs those of a config after the benchmark
consistency.py   other wordings, opposing framings, the other language
choice.py        multiple choice, of any file
factual.py       claims of the answers against documents
stance.py        positions on a questionnaire
"""
