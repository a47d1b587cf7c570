"""Floor 1: what a model is aligned to: the charter's schema, its checks and the shipped charters.

`load.load_charter` reads one, `schema.Charter` holds it, `checks.run_checks` applies its rules.
"""
