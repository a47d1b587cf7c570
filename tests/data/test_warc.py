"""Web archives: which of their records are pages, and what a page says."""

import gzip

import pytest

from vcjax.core.errors import UserError
from vcjax.data import readers
from vcjax.data.files import find_files
from vcjax.data.importers import read_records
from vcjax.data.warc import html_text

CHINESE = "法律面前人人平等，并有权享受法律的平等保护。"
PAGE = f"""<!doctype html><html><head><title>A &amp; B</title><style>p {{ x }}</style>
<script>var a = "<p>no</p>";</script></head><body><h1>Rights</h1>
<p>All are <b>equal</b>
before   the law.</p><ul><li>one<li>two</ul><pre>a
  b</pre><noscript>off</noscript><p>{CHINESE}</p></body></html>"""
TEXT = f"A & B\nRights\nAll are equal before the law.\none\ntwo\na\nb\n{CHINESE}"


def record(kind, block, uri="https://example.org/a"):
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\n"
    return f"{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def response(body, headers="Content-Type: text/html", status="200 OK"):
    return record("response", f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + body)


def items(path):
    (file,) = find_files(path)
    return list(readers.read_items(file))


def test_a_page_is_the_text_that_is_shown_of_it():
    assert html_text(PAGE) == TEXT
    assert html_text("<script>never closed <p>x") == ""
    assert html_text("<p>a<select><option>1</p><p>b") == "a"
    assert html_text("no tags at all") == "no tags at all"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (PAGE.encode(), "Content-Type: text/html; charset=utf-8"),
        (PAGE.encode("gb18030"), "Content-Type: text/html; charset=GB2312"),
        (PAGE.encode("gb18030"), "Content-Type: text/html"),
        (
            PAGE.replace("<title>", "<meta charset='gbk'><title>").encode("gbk"),
            "Content-Type: text/html; charset=no-such",
        ),
        (gzip.compress(PAGE.encode()), "content-type: text/html\r\nContent-Encoding: gzip"),
        (PAGE.encode(), "Content-Type: text/html\r\nContent-Encoding: gzip"),
        (
            b"5;x=y\r\n" + PAGE.encode()[:5] + b"\r\nffff\r\n" + PAGE.encode()[5:],
            "Content-Type: application/xhtml+xml\r\nTransfer-Encoding: chunked",
        ),
    ],
)
def test_a_response_is_decoded_as_its_headers_and_its_bytes_say(tmp_path, body, headers):
    (tmp_path / "a.warc").write_bytes(response(body, headers))
    (item,) = items(tmp_path / "a.warc")
    assert item.value == {"text": TEXT, "id": "https://example.org/a"}


def test_only_pages_are_read_and_archives_are_compressed_record_by_record(tmp_path):
    records = [
        record("warcinfo", b"software: test"),
        record("request", b"GET / HTTP/1.1\r\n\r\n"),
        response(b"gone", status="404 Not Found"),
        response(b"\x89PNG", "Content-Type: image/png"),
        response(b"Plain.", "Content-Type: text/plain"),
        record("conversion", CHINESE.encode()),
        record("conversion", b"\xff"),
    ]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    found = [(item.number, item.value["text"]) for item in items(tmp_path / "a.warc.gz")]
    assert found[:2] == [(5, "Plain."), (6, CHINESE)]
    assert "can't decode" in str(items(tmp_path / "a.warc.gz")[2].error)
    wet = tmp_path / "b.warc.wet.gz"
    wet.write_bytes(gzip.compress(records[5]))
    (document,) = read_records(wet, "documents").records
    assert (document.text, document.source, document.lang) == (CHINESE, "b", "zh")
    assert document.id == "https://example.org/a"


def test_a_broken_archive_is_read_up_to_there(tmp_path, monkeypatch):
    whole = response(b"Plain.", "Content-Type: text/plain")
    path = tmp_path / "a.warc"
    for data, message in (
        (whole + whole[:-9], "it ends within record 2"),
        (whole + b"no record", "no WARC record where one should begin"),
        (whole + b"WARC/1.0\r\nWARC-Type: response\r\n\r\n", "record 2 has no length"),
    ):
        path.write_bytes(data)
        (file,) = find_files(path)
        reading = readers.read_items(file)
        assert next(reading).value["text"] == "Plain."
        with pytest.raises(UserError, match=rf"a\.warc: not a whole WARC file .*{message}"):
            next(reading)
    monkeypatch.setattr(readers, "LINE", 70)
    path.write_bytes(response(b"x" * 99, "Content-Type: text/plain") + whole)
    long, short = items(path)
    assert "at most 70 are read" in str(long.error)
    assert short.value["text"] == "Plain."
