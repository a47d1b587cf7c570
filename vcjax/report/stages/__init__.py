"""The report of the ablation by stage.

report    the page
verdict   what each stage changed, in words
tables    arms, steps, domains, rules and training
"""
