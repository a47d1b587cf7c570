"""The built site (`make docs`): internal links lead somewhere, nothing is from the network."""

import os
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(os.environ.get("SITE", "build/site")).resolve()
PAGES = sorted(SITE.rglob("*.html"))
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself when it shows a page."""


class _Page(HTMLParser):
    """Collects the anchors of a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {values[name] or "" for name in ("id", "name") if name in values}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag in LOADED and values.get(LOADED[tag]):
            self.loads.append(values[LOADED[tag]] or "")


@cache
def read(path: Path) -> _Page:
    return _Page(path)


def target(page: Path, address: str) -> Path:
    """The file that an address within the site means."""
    path = unquote(urlsplit(address).path)
    return (page.parent / path).resolve() if path else page


def test_the_site_is_built():
    assert (SITE / "index.html") in PAGES, "run `make docs`"
    assert len(PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_links_lead_to_a_page_and_to_an_anchor_on_it(page):
    links = {address: urlsplit(address) for address in read(page).links}
    inside = {address: parts for address, parts in links.items() if not parts.scheme + parts.netloc}
    assert not [address for address in inside if not target(page, address).is_file()]
    assert not [
        address
        for address, parts in inside.items()
        if parts.fragment and unquote(parts.fragment) not in read(target(page, address)).anchors
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_a_page_loads_nothing_from_the_network(page):
    loads = read(page).loads
    assert not [address for address in loads if urlsplit(address).netloc]
    assert not [address for address in loads if not target(page, address).is_file()]


@pytest.mark.parametrize("sheet", sorted(SITE.rglob("*.css")), ids=lambda sheet: sheet.name)
def test_a_style_sheet_loads_nothing_from_the_network(sheet):
    text = sheet.read_text(encoding="utf-8").replace(" ", "")
    for start in ("url(http", "url('http", 'url("http', "url(//", "@import"):
        assert start not in text
