"""Grouped-query attention: over packed rows in training, over a cache in decoding.

packed.choose_backend   `config.attention`, the devices, the mesh -> a backend
packed.attend_packed    whole rows -> reference | blockwise | cuDNN | splash
cached.attend_rows, attend_tiles  a cache of rows
paged.attend_ragged     a cache of pages -> a kernel on TPUs
blockwise.tree_attention  rows whose texts have their common prefixes once, to score them
reference.attend        a cache, or rows with a mask; what every backend is tested against
"""
