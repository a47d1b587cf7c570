"""Is this answer acceptable? All that decides it, and how far the decision can be trusted.

answer --rules.py--> rejected with a reason of `vcjax.adversarial.reasons`, or
     |               a failed check of the charter
     v
panel.py: the votes of every Critic --forms.py--> prompt, JSON schema, reading of the reply
     |                              --votes.py--> scores against the charter's thresholds
     v
one verdict for each answer: accepted | rejected | unscored | blocked

filters.py: how often the rules are right, on labelled answers
labels.py, calibration.py: the Critic beside people's labels, and what that makes of the rates
trust.py: the same on what a run leaves to the Critic, and whether it may overrule the rules
canaries.py: text planted in answers that tries to steer the Critic
"""
