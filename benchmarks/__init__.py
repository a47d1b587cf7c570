"""How fast vcjax is, beside its peers and the machine's limits, within one run: `launch.bench`.

    train, accelerator, generate, data, ledger     one bench each: cases, bounds -> a section
         |
    harness  <-- one JSON object a line -->  serve, in a process of its own
         |                                     `- contenders/: ours, matmul limits, other libraries
         v
    results: bench.json, the table, and which bounds are met

Part of a checkout; the installed package doesn't contain it.
"""
