"""What a model can do on public benchmarks: tasks of EleutherAI's evaluation harness.

    names, YAML files   --> tasks: the harness's tasks, checked
    model reference     --> model: VcjaxLM on the engine, or open_endpoint, with its replicas
                                |
                                v
                            caching.CachedLM: each request once  -> answers.jsonl
                                |  the harness's own evaluation loop
                                v
                            run: scores with standard errors     -> capability.json

`run.measure_capability` does all of it. Needs the extra `eval`.
"""
