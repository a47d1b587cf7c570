"""Facts under pressure: the report of the experiment, and a section of the demo's.

report      the experiment's page
verdict     what its planned contrasts show, in words
tables      rates, contrasts, costs and training, arm by arm
outside     facts that no arm was taught, and PARROT's protocol
half_life   how soon further training undoes what an arm has learned
change      before and after, for the demo
"""
