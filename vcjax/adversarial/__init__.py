"""Floor 5: Attacker -> Actor -> Critic, every attempt in a ledger."""
