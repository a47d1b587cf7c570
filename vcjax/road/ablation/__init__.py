"""An ablation: arms that are trained in different ways and asked the same queries.

config      what all arms share, and what each has otherwise
queries     attacks and plain questions that every arm is asked, written once
data        what an arm trains on that isn't its own attacks, as much as these gave pairs
arms        the stages of one arm with one seed: data -> train -> measured, documents
documents   the loss of text that no arm was trained on
results     what the arms did, as arrays
contrasts   differences between arms, with intervals by topic and corrected p-values
summary     what `summary.json` has
run         all of it: `ablate`
"""
