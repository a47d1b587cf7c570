"""From raw files to a prepared dataset: documents, the steps that they pass, and the run."""
