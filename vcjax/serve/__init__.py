"""Floor 4: an OpenAI-compatible HTTP server over the engine, and a conversation in a terminal."""
