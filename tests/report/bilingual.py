"""A report in both languages: nothing of the Chinese one is English, its numbers are the same."""

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path


class Words(HTMLParser):
    """The text of a page as its reader sees it, without what models wrote, and its language."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.language, self._hidden = "", None, 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "html":
            self.language = found["lang"]
        elif self._hidden or tag == "style" or "lang" in found:
            self._hidden += tag not in ("br", "meta")
        for name in ("aria-label", "data-head"):
            self.text += f" {found.get(name) or ''} "

    def handle_endtag(self, tag):
        self._hidden -= self._hidden > 0
        self.text += " "

    def handle_data(self, data):
        if not self._hidden:
            self.text += data


NAMES = re.compile(
    r"recorded:\w+\.jsonl|scores:FILE|summary\.json|lineage\.json|launch\.verify"
    r"|[0-9a-f]{12}|smollm2-135m-instruct|\d-(?:en|zh)"
    r"|(?<![A-Za-z])(?:judge|sound|kind|ann|model|human|small|universal|smollm2|vcjax|VC-LLM|arXiv|NaN"
    r"|[Kk]appa|ICC|CPT|SFT|Spearman|Krippendorff|Fleiss|Cohen|Holm|Hedges)(?![A-Za-z])"
)
"""What isn't translated: names of the tests' models, of files and scripts, and of coefficients."""


def both(tmp_path: Path, write: Callable[..., None], **arguments) -> tuple[Words, Words]:
    """The report in English and in Chinese."""
    pages = []
    for language in ("en", "zh"):
        path = tmp_path / f"{language}.html"
        write(path, **arguments, language=language)
        pages.append(Words(path))
        assert pages[-1].language == language
    return pages[0], pages[1]


def assert_translated(english: Words, chinese: Words, names: str = "(?!)") -> None:
    """Args: names: a pattern of the other names, of models, files and folders, that stay."""
    left = re.findall(r"[A-Za-z]{2,}", NAMES.sub("", re.sub(names, "", chinese.text)))
    assert not left, left
    numbers = [
        Counter(re.findall(r"[−+<>]?\d[\d.,]*\d|\d", page.text)) for page in (english, chinese)
    ]
    assert numbers[0] == numbers[1], (numbers[0] - numbers[1], numbers[1] - numbers[0])
