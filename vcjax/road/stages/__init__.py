"""The ablation by stage: base, then continued pre-training, instruction tuning and adversarial
training, each on top of another; what does each one add, and what does it cost?

config      what all arms share; each arm is one stage of training after another arm
text        documents that are only measured on
arms        one arm: its data -> train -> evaluated | pressed | documents | capability
steps       each arm less the one that it was trained from, in pairs
summary     what `summary.json` has
run         all of it: `ablate_stages`
"""
