"""Reading a GGUF header: values, types, and malformed files."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from vcjax.core.errors import UserError
from vcjax.weights.gguf.metadata import open_gguf


def write(path, change=None):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_float32("small", 1e-5)
    writer.add_float32("third", 1 / 3)
    writer.add_float64("double", 1 / 3)
    writer.add_uint32("count", 7)
    writer.add_bool("flag", True)
    writer.add_token_list([f"token{n}" for n in range(200)])
    if change:
        change(writer)
    writer.add_tensor("a.weight", np.arange(2048, dtype=np.float32).reshape(32, 64))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_float32_is_the_shortest_decimal_with_its_value(tmp_path):
    metadata, _ = open_gguf(write(tmp_path / "m.gguf"))
    assert metadata.required("small", float) == 1e-5
    assert metadata.required("third", float) == 0.33333334
    assert metadata.required("double", float) == 1 / 3


def test_values_are_typed(tmp_path):
    metadata, tensors = open_gguf(write(tmp_path / "m.gguf"))
    assert metadata.required("count", int) == 7
    assert metadata.required("count", float) == 7.0
    assert metadata.required("flag", bool) is True
    assert metadata.optional("absent", int) is None
    assert [tensor.name for tensor in tensors] == ["a.weight"]
    with pytest.raises(UserError, match=r"m\.gguf: metadata 'flag' is of type bool, not int"):
        metadata.optional("flag", int)
    with pytest.raises(UserError, match=r"m\.gguf: metadata 'absent' is missing"):
        metadata.required("absent", int)


@pytest.mark.parametrize("part", [0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, part):
    path = write(tmp_path / "m.gguf")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UserError, match=r"m\.gguf: unreadable as GGUF .* truncated") as caught:
        open_gguf(path)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "m.gguf"
    for content in (b"", b"GG", b"\x80\x04safetensors"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"m\.gguf: not a GGUF file"):
            open_gguf(path)
    with pytest.raises(UserError, match="no such file"):
        open_gguf(tmp_path / "absent.gguf")
    with pytest.raises(UserError, match="can't be read"):
        open_gguf(tmp_path)


def test_a_type_that_cannot_be_dequantised_is_refused(tmp_path):
    size = gguf.GGML_QUANT_SIZES[Type.Q8_1][1]

    def change(writer):
        writer.add_tensor("x.weight", np.ones((2, size), np.uint8), raw_dtype=Type.Q8_1)

    with pytest.raises(UserError, match=r"m\.gguf: tensor 'x\.weight' is stored as Q8_1"):
        open_gguf(write(tmp_path / "m.gguf", change))


def test_one_part_of_a_split_model_is_refused(tmp_path):
    path = write(tmp_path / "m.gguf", lambda writer: writer.add_uint16("split.count", 2))
    with pytest.raises(UserError, match="llama-gguf-split --merge"):
        open_gguf(path)


def test_a_big_endian_file_is_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match="byte order"):
        open_gguf(tmp_path / "m.gguf")
