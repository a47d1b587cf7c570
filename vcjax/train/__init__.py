"""Floor 3, above `generate`: one training loop for all stages: configuration, loss, step, run."""
