"""Floor 5: what a model can do on public benchmarks: tasks of EleutherAI's evaluation harness.

`run.measure_capability` does all of it; `model.VcjaxLM` is any model as the harness wants it.
"""
