"""Floor 2: records, importers, curation, packing, prepared datasets and the batch loader."""
