"""Training: one loop for every stage, from a config to checkpoints and a lineage.

config, settings  what a run is, as data: every mistake is named by its field
  |
  v
inputs            model, data and charter are opened, checked and read through
  |
  +-- data, validation_data      files -> packed rows to train on, groups of rows to measure on
  +-- layout                     shapes, dtypes and shardings of parameters, state and batches
  +-- reference                  DPO's log-probabilities, computed once before the first step
  v
loop              one step after another, until the last
  |
  +-- step                       losses (cross_entropy) -> gradients -> optim -> parameters
  |                              (matrices: what Muon and Adafactor take; offload: a part at a time)
  +-- evaluation                 validation losses and sampled answers, every few steps
  +-- stopping                   early stopping, skipped updates, signals
  +-- logging (sinks)            metrics.jsonl, TensorBoard, wandb, trackio
  +-- throughput                 speeds, and a profile of a few steps
  v
checkpoints       parameters and the optimiser's state, from which a killed run continues
"""
