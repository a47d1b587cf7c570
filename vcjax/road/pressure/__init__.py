"""The pressure experiment: arms that are taught facts, each in its way, and pressed to deny others.

config      what is taught and measured; what each arm has otherwise
experiment  the facts, what the base model knows of them, the pairs, and how a model is measured
arms        the stages of one arm with one seed: pairs -> train -> measured, answers, documents
attacks     the messages that an Attacker writes, before anything is pressed
half_life   how soon further training undoes what an arm has learned
outside     facts from published data sets, which no arm is taught
change      one model before and after, as the demo compares them
summary     what `summary.json` has
run         all of it: `measure_pressure`
"""
