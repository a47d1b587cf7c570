"""Plans of a training run on hardware that isn't there: memory, time, and whether it fits."""
