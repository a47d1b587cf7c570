"""Floor 3: the engine that continues token ids, and a thin text layer on it."""

FORMS = ("", "int8")
"""Of the projections' kernels: plain, or 8 bits a weight with a scale for each output."""
