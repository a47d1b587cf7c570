"""Which encoding a file has, and its lines as UTF-8."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.core.errors import UserError
from vcjax.data import encodings, readers
from vcjax.data.encodings import detect_encoding, utf8_lines
from vcjax.data.files import find_files

CHINESE = "法律面前人人平等，并有权享受法律的平等保护，不受任何歧视。"
ENGLISH = "All are equal before the law."


def detect(data):
    return detect_encoding(io.BufferedReader(io.BytesIO(data)))


def read(path):
    (file,) = find_files(path)
    return [(item.number, item.value and item.value["text"]) for item in readers.read_items(file)]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", "utf-8"),
        (ENGLISH.encode(), "utf-8"),
        (CHINESE.encode(), "utf-8"),
        (codecs.BOM_UTF8 + ENGLISH.encode(), "utf-8"),
        ("Les droits de l'homme, l'\u00e9galit\u00e9.".encode("latin-1"), "utf-8"),
        (CHINESE.encode("gb18030"), "gb18030"),
        ((ENGLISH + "\n").encode() * 9 + CHINESE.encode("gb18030"), "gb18030"),
        (f"{CHINESE}\n{ENGLISH}".encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"), "utf-16"),
        (ENGLISH.encode("utf-16-le"), "utf-16-le"),
        (f"{CHINESE}\n\n1. {CHINESE}\n".encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_an_encoding_is_known_by_its_bytes(data, encoding):
    assert detect(data) == encoding


def test_broken_lines_among_others_do_not_decide(tmp_path):
    lines = [CHINESE.encode()] * 6 + [b"\xff\xfe\xfd", CHINESE.encode("gb18030")]
    assert detect(b"\n".join(lines)) == "utf-8"
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n".join(lines))
    assert [text for _, text in read(path)] == [CHINESE] * 6 + [None] * 2


def test_what_decides_may_be_far_behind_the_start(monkeypatch):
    monkeypatch.setattr(encodings, "_BLOCK", 64)
    data = (ENGLISH + "\n").encode() * 20 + (CHINESE + "\n").encode("gb18030") * 3
    assert detect(data) == "gb18030"
    assert detect(data + (CHINESE + "\n").encode() * 9) == "utf-8"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=8),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]),
)
def test_lines_are_the_same_in_every_encoding(texts, encoding):
    data = "\n".join(texts).encode(encoding)
    stream = io.BufferedReader(io.BytesIO(data))
    expected = "\n".join(texts).encode().removeprefix(codecs.BOM_UTF8)
    found = b"".join(line for line in utf8_lines(stream, encoding, 1000) if isinstance(line, bytes))
    assert found.removeprefix(codecs.BOM_UTF8) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_a_line_that_is_too_long_is_a_bad_item_and_the_next_is_read(
    tmp_path, monkeypatch, encoding
):
    monkeypatch.setattr(readers, "LINE", 100)
    path = tmp_path / "a.txt"
    path.write_bytes("\n".join([CHINESE[:9], CHINESE * 30, ENGLISH]).encode(encoding))
    (file,) = find_files(path)
    items = list(readers.read_items(file))
    assert [item.number for item in items] == [1, 2, 3]
    assert "a line of " in items[1].error
    assert "at most 100 are read" in items[1].error
    assert (items[0].value, items[2].value) == ({"text": CHINESE[:9]}, {"text": ENGLISH})


def test_all_text_formats_are_read_in_all_encodings(tmp_path):
    for encoding in ("utf-16", "utf-16-le", "gb18030", "utf-8-sig"):
        for name, text in (
            ("a.jsonl", f'{{"text": "{CHINESE}"}}\n'),
            ("a.json", f'[{{"text": "{CHINESE}"}}]'),
            ("a.csv", f"text,标题\n{CHINESE},一\n"),
            ("a.txt", f"{CHINESE}\n"),
        ):
            (tmp_path / name).write_bytes(text.encode(encoding))
            assert [text for _, text in read(tmp_path / name)] == [CHINESE], (encoding, name)


def test_a_table_that_is_no_known_encoding_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,b\n\xff\xfe,1\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read(tmp_path / "a.csv")
