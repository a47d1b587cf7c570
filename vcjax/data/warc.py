"""WARC files (ISO 28500), as web archives and Common Crawl have them: the text of their pages.

Of a `response` the HTML's or plain text's body is taken, of a `conversion` (a WET file) its text.
Requests, metadata, redirects, errors and images are passed over. HTML becomes text line by line,
without what a browser doesn't show; which of these lines are a page's own is left to the steps.
"""

import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import BinaryIO

from vcjax.data.encodings import detect_encoding

_BLOCK = 1 << 20
_HEADER = 1 << 16  # bytes of a line of a header
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_HIDDEN = re.compile(r"script|style|noscript|template|svg|math|select|textarea|iframe")
_INLINE = re.compile(
    r"a|abbr|b|bdi|bdo|cite|code|data|dfn|em|font|i|kbd|mark|q|rp|rt|ruby|s|samp|small|span|"
    r"strong|sub|sup|time|tt|u|var|wbr"
)
_SPACE = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[\s]*")


class BrokenWarc(ValueError):
    """The file isn't WARC, or ends within a record."""


@dataclass(frozen=True)
class Page:
    """One page of an archive.

    Attributes:
      number: of its record in the file, from 1.
      uri: its address; '' where the record has none.
      text: '' where the page has none.
      error: why it could not be read, if it could not.
    """

    number: int
    uri: str
    text: str = ""
    error: str | None = None


def read_pages(stream: BinaryIO, most: int) -> Iterator[Page]:
    """Streams the pages of a WARC file, decompressed.

    Args:
      most: bytes of a record; of a longer one nothing is kept in memory.

    Raises:
      BrokenWarc: see there; what came before has been yielded.
    """
    number = 0
    while (headers := _headers(stream)) is not None:
        number += 1
        try:
            length = int(headers["content-length"])
        except (KeyError, ValueError):
            raise BrokenWarc(f"record {number} has no length") from None
        kind, uri = headers.get("warc-type"), headers.get("warc-target-uri", "").strip("<>")
        wanted = kind in ("response", "conversion")
        if not wanted or length > most:
            _skip(stream, length)
            if wanted:
                error = f"a record of {length:,} bytes; at most {most:,} are read"
                yield Page(number, uri, error=error)
            continue
        block = stream.read(length)
        if len(block) < length:
            raise BrokenWarc(f"it ends within record {number}")
        try:
            text = block.decode("utf-8") if kind == "conversion" else _page_text(block, most)
        except (ValueError, zlib.error) as error:
            yield Page(number, uri, error=" ".join(str(error).split()))
        else:
            if text is not None:
                yield Page(number, uri, text)


def _headers(stream: BinaryIO) -> dict[str, str] | None:
    """The headers of the next record; None at the end of the file."""
    line = stream.readline(_HEADER)
    while line in (b"\r\n", b"\n"):  # after the record before
        line = stream.readline(_HEADER)
    if not line:
        return None
    if not line.startswith(b"WARC/"):
        raise BrokenWarc("there is no WARC record where one should begin")
    return _fields(stream)


def _fields(stream: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    while (line := stream.readline(_HEADER)).strip():
        name, _, value = line.decode("utf-8", errors="replace").partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _skip(stream: BinaryIO, length: int) -> None:
    while length and (block := stream.read(min(length, _BLOCK))):
        length -= len(block)


def _page_text(block: bytes, most: int) -> str | None:
    """The text of an HTTP response; None where it is none that has a page's text."""
    stream = io.BytesIO(block)
    status = stream.readline(_HEADER).split()
    headers = _fields(stream)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    html = kind in ("text/html", "application/xhtml+xml")
    if len(status) < 2 or status[1] != b"200" or not (html or kind == "text/plain"):
        return None
    body = _decoded(stream.read(), headers, most)
    text = body.decode(_charset(body, headers, html), errors="replace")
    return html_text(text) if html else text


def _decoded(body: bytes, headers: Mapping[str, str], most: int) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _dechunked(body)
    coding = headers.get("content-encoding", "").lower()
    # Archives often have the headers as they were sent, and the body decoded.
    if coding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
        unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        # Bounded, as a few kilobytes may decompress to gigabytes.
        body = unzip.decompress(body, most)
        if unzip.unconsumed_tail:
            raise ValueError(f"a page of more than {most:,} bytes")
    elif coding not in ("", "identity", "gzip", "x-gzip"):
        raise ValueError(f"unknown content encoding {coding!r}")
    return body


def _dechunked(body: bytes) -> bytes:
    parts, at = [], 0
    while True:
        end = body.find(b"\r\n", at)
        try:
            size = int(body[at:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0:  # the body is stored without its chunks, or is cut off
            return b"".join(parts) if parts else body
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def _charset(body: bytes, headers: Mapping[str, str], html: bool) -> str:
    stated = _CHARSET.search(headers.get("content-type", "").encode())
    if stated is None and html:
        stated = _CHARSET.search(body[:2048])
    if stated is not None:
        name = stated[1].decode().lower()
        # Pages that state the older sets use characters of the newer one.
        name = "gb18030" if name in ("gb2312", "gbk", "x-gbk") else name
        try:
            "".encode(name)
        except LookupError:
            pass
        else:
            return name
    return detect_encoding(io.BufferedReader(io.BytesIO(body)))


def html_text(html: str) -> str:
    """The text that a browser shows of a page, a line for each block."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return _LINES.sub("\n", _SPACE.sub(" ", "".join(parser.parts))).strip()


class _Text(HTMLParser):
    """Collects text outside of what isn't shown."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if _HIDDEN.fullmatch(tag):
            self._hidden.append(tag)
        self._preformatted += tag == "pre"
        if not _INLINE.fullmatch(tag):
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:  # one that is never closed hides no more than its parent
            del self._hidden[self._hidden.index(tag) :]
        self._preformatted -= tag == "pre" and self._preformatted > 0
        if not _INLINE.fullmatch(tag):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data if self._preformatted else data.replace("\n", " "))
