"""What every other package builds on. Nothing here imports JAX.

script      what surrounds a launch script: flags, config file, exit code
  defaults  fields that several config files share     settings   dicts -> typed dataclasses
  config_help what the fields of a config mean       progress  how far a long step is
  flag_errors what flags and configs raise, in one line
run         one config in one folder: check, lock, stages, resume, finish
  lineage   lineage.json: parents by content hash      hashes     cached SHA-256 of large files
files       atomic writes, JSON and JSONL, locks       yaml_files strict YAML
stores      buckets and other remote folders           spool      what grows, uploaded whole
errors      UserError, GateNotMet, Preempted           seeds      derived random seeds
validation  pydantic's errors in one line              hardware   memory and rates of accelerators
markdown    cards from Jinja templates
"""
