"""Floor 7: the whole road, from a base model to a report, and one evaluation with its report."""
