"""Two processes of two devices each read a prepared dataset: each of them its own rows alone."""

import json

import numpy as np

from tests.compilation import with_devices
from tests.processes import run_two
from tests.tiny import tiny_tokenizer
from vcjax.core.files import read_json
from vcjax.data.loader import Batches
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.data.records import Document

ROWS, BATCH, SEED = 24, 8, 5
APART = [{"fsdp": -1}, {"data": 2, "tensor": 2}]
"""Meshes on which no row is on devices of both processes."""
TOGETHER = {"tensor": 4}


def test_two_hosts_read_each_row_of_an_epoch_once_and_have_the_batches_of_one(tmp_path):
    texts = (f"{n:029d}" for n in range(ROWS))
    records = [Document.from_dict({"text": text, "source": "test"}) for text in texts]
    folder = tmp_path / "corpus"
    prepare(folder, records, "documents", tiny_tokenizer(), 32)
    part = open_prepared(folder)
    assert len(part) == ROWS

    meshes = [*APART, TOGETHER]
    arguments = [str(folder), str(BATCH), str(SEED), json.dumps(meshes), str(tmp_path / "found")]
    run_two("tests.distributed.rows_read", arguments, with_devices(2))

    hosts = [read_json(tmp_path / f"found.{process}.json") for process in range(2)]
    alone = Batches([(part, 1.0)], BATCH, SEED)
    whole = [alone.batch(step)["tokens"] for step in range(2 * ROWS // BATCH)]
    for number, sizes in enumerate(meshes):
        by_step = list(zip(*(host[number] for host in hosts), strict=True))
        assert len(by_step) == len(whole)
        for wanted, found in zip(whole, by_step, strict=True):
            seen = np.full_like(wanted, -1)
            for host in found:
                for rows, tokens in host["shards"]:
                    np.testing.assert_array_equal(tokens, wanted[rows])
                    seen[rows] = tokens
            np.testing.assert_array_equal(seen, wanted)
            each = [len(host["read"]) for host in found]
            assert each == ([BATCH, BATCH] if sizes == TOGETHER else [BATCH // 2, BATCH // 2])
        if sizes == TOGETHER:
            continue
        for epoch in (by_step[: ROWS // BATCH], by_step[ROWS // BATCH :]):
            read = [index for found in epoch for host in found for index in host["read"]]
            assert sorted(read) == list(range(ROWS))
