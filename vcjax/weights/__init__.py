"""Floor 2: where weights come from and go to: hub, Hugging Face folders, GGUF, checkpoints."""

DTYPES = ("float32", "bfloat16", "float16")
"""That weights may be loaded and stored in."""
