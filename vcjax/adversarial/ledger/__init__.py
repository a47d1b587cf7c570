"""The ledger: every call and every attempt of a run, in one SQLite file.

Caller --record_call--> calls, setups --+
                                        +--> ledger.sqlite --query.py--> launch.ledger, summary
Pipeline --record_attempt--> attempts --+         ^
                                                  +--merge.py-- ledgers of shards

schema.py: the tables, how the file is opened, SQLite's errors as lines for the user
ledger.py: one run's ledger, which is written during the run
spending.py: what calls have cost, and endpoints' budgets
superseded.py: a ledger of other weights or another charter, which a run puts aside
"""
