"""Another Critic on the answers of an existing ledger: no answer is asked again.

ledger.sqlite --judged.py--> the answers that its Critics judged, with their decisions
                                 |
another Critic --votes.py--> votes.jsonl, its votes on the same answers
                                 |
agreement.py: how far the decisions, the scores and the reasons agree
"""
