"""Floor 3: the engine that continues token ids, and a thin text layer on it."""
