"""Floor 4: who can be asked: the local engine or a recorded transcript."""
