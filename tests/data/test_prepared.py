"""Rows as they are in a file."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from vcjax.data.packing import DTYPES
from vcjax.data.prepared import RowShard


def rows_of(shape, count):
    rng = np.random.default_rng(0)
    values = {"loss_mask": 2}  # others have any bytes
    return [
        {
            name: rng.integers(0, values.get(name, 2**31), shape).astype(dtype)
            for name, dtype in DTYPES.items()
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("shape", [(2,), (131,), (2, 40_000)])  # lengths of one to three bytes
def test_rows_are_serialised_as_tfds_does(tmp_path, shape):
    from array_record.python.array_record_module import ArrayRecordReader

    features = tfds.features.FeaturesDict(
        {
            name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
            for name, dtype in DTYPES.items()
        }
    )
    serialiser = ExampleSerializer(features.get_serialized_info())
    rows = rows_of(shape, 3)
    with RowShard(tmp_path / "rows", shape) as shard:
        shard.write(rows)
    expected = [
        serialiser.get_tf_example(features.encode_example(row)).SerializeToString(
            deterministic=True
        )
        for row in rows
    ]
    assert ArrayRecordReader(str(tmp_path / "rows")).read_all() == expected
    assert (shard.rows, shard.size) == (3, sum(map(len, expected)))


def test_a_row_of_another_shape_is_refused(tmp_path):
    (row,) = rows_of((4,), 1)
    with RowShard(tmp_path / "rows", (4,)) as shard:
        with pytest.raises(ValueError, match=r"positions: int32\(3,\) in rows of \(4,\)"):
            shard.write([{**row, "positions": row["positions"][:3]}])
        with pytest.raises(ValueError, match=r"tokens: int64\(4,\) in rows of \(4,\)"):
            shard.write([{**row, "tokens": row["tokens"].astype(np.int64)}])
