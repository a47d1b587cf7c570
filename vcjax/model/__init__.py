"""Floor 1: the Llama family in Flax NNX."""
