"""Plans: what a run needs of hardware that isn't here, and how long it takes there.

model's shape, config, topology's name
  |
  v
setting    the run laid out over a mesh, as `vcjax.train` lays it out; nothing is allocated
  |
  +-- memory      bytes per device, counted from shapes
  +-- compiled    bytes per device by the compiler's account, where the compiler is installed
  +-- time        a roofline of operations, memory and links
  +-- advice      flags that make it fit, and the fastest setting that trains the same
  v
plan  -->  table  the plan as text

synthesis         the same for a run of synthesis, from the tokens that a small one has spent
"""
