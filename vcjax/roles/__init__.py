"""Floor 4: who can be asked: the local engine, an endpoint over HTTP or a recorded transcript."""
