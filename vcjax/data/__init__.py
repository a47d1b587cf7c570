"""Data files to batches: records, deduplication, rows of tokens, and a loader that can resume.

    names --- files ---> readers ---> layouts, messages, columns ---> records      (importers)
                                                                         |
                           digests, near_duplicates (over sketches), overlap
                                                                         |
                           encode (text's rendering and tokenizer) ---> Example, Pair
                                                                         |
                           packing ---> rows [length] ---> prepared: a folder  (preparation)
                                                                         |
                           loader: (seed, step) ---> a batch [batch, length]

A folder is prepared once; what trains reads nothing but its rows.
"""
