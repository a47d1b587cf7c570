"""Floor 3: one training loop for all stages: configuration, loss, optimiser, step, run."""
