"""Floor 0: what every room stands on: errors, files, lineage, seeds."""
