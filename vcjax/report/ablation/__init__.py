"""The report of the ablation by data: which rules were learned from what.

report    the page, its verdict in words, its plot and samples
tables    arms, contrasts, rules and training
"""
