r"""Prints, as JSON, how far splash attention on meshes of 8 devices is from the reference on one.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python -m tests.model.attention.splash_on_meshes

It needs a separate process, because the number of devices is fixed when JAX starts.
"""

import json
from functools import partial

import numpy as np

from tests.model.attention.test_packed import HEADS, reference, results
from vcjax.model.attention.splash import splash_attention
from vcjax.parallel import make_mesh, partition_spec

MESHES = (
    {"data": 2, "tensor": 2, "sequence": 2},
    {"fsdp": 2, "tensor": 4},  # the two key heads go into no axis of four
)


def main() -> None:
    wanted = results(reference, 512, None)
    report = []
    for sizes in MESHES:
        mesh = make_mesh(sizes)
        found = results(partial(splash_attention, mesh=mesh, interpret=True), 512, None)
        largest = max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
        heads = partition_spec(mesh, ("batch", "length", "heads", "head_dim"), (2, 512, HEADS, 1))
        report.append({"mesh": sizes, "difference": largest, "axes": list(heads)})
    print(json.dumps(report))


if __name__ == "__main__":
    main()
