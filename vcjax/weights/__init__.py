"""Floor 2: where weights come from and go to: hub, Hugging Face folders, GGUF, checkpoints."""
