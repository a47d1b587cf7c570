"""Lines that are no part of a text are taken out: requests of a web page, policies, menus.

The rules are C4's (Raffel et al., JMLR 2020, section 2.2, and its published code), with what is on
Chinese pages in the place of it, which is ours.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

from vcjax.data.corpus.document import Document, Removal

_ENGLISH = (
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
    "all rights reserved",
)
_CHINESE = re.compile(
    "版权所有|隐私政策|使用条款|用户协议|免责声明|备案号|点击(?:查看|阅读|下载|进入)|阅读全文|阅读原文|展开全文"
    "|扫码关注|扫描二维码|长按识别|关注(?:我们的)?公众号|上一[篇页]|下一[篇页]|返回(?:首页|顶部)|收藏本[站页]"
    "|责任编辑|版權所有|隱私政策|使用條款|免責聲明|閱讀全文|返回首頁|責任編輯"
)
_CITATION = re.compile(r"\[(?:\d{1,3}|edit|citation needed|编辑|來源請求|来源请求)\]")


@dataclass(frozen=True)
class LinesSettings:
    """Which lines go.

    Attributes:
      page_phrases: whether a line goes that has a phrase of a page's frame (C4). They are in
        this module; the Chinese ones are ours.
      longest_page_line: characters of the longest line that goes for a phrase; 200 is ours, as C4
        has no bound and takes out paragraphs about JavaScript.
      citations: whether marks such as `[12]` and `[edit]` are taken out of lines (C4).
      longest_word: characters of a word of ASCII with which a line goes: data, not prose (C4).
    """

    page_phrases: bool = True
    longest_page_line: int = 200
    citations: bool = True
    longest_word: int = 1000


class Lines:
    """The step; counts documents that it changed and lines that it took out."""

    name: ClassVar[str] = "lines"
    changes: ClassVar[bool] = True
    Settings: ClassVar[type] = LinesSettings

    def __init__(self, settings: LinesSettings) -> None:
        self._settings = settings
        self._long_word = re.compile(rf"(?<![!-~])[!-~]{{{settings.longest_word + 1}}}")

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        text = self._without(document.text, counts)
        if text == document.text:
            return document
        if not text.strip():
            return Removal(self.name, "no line is left", document)
        counts["changed"] += 1
        return replace(document, text=text)

    def _without(self, text: str, counts: Counter[str]) -> str:
        settings = self._settings
        if settings.citations and "[" in text:
            text = _CITATION.sub("", text)
        # Most documents have nothing of it, and needn't be cut into lines.
        framed = settings.page_phrases and _is_framed(text)
        if not framed and not self._long_word.search(text):
            return text
        lines = text.split("\n")
        rest = [line for line in lines if not self._goes(line)]
        counts["lines taken out"] += len(lines) - len(rest)
        return "\n".join(rest).strip("\n")

    def _goes(self, line: str) -> bool:
        settings = self._settings
        if settings.page_phrases and len(line) <= settings.longest_page_line and _is_framed(line):
            return True
        return self._long_word.search(line) is not None


def _is_framed(text: str) -> bool:
    """Whether a text has a phrase of a page's frame."""
    folded = text.lower()  # fixed strings are found several times as fast as alternatives
    if any(phrase in folded for phrase in _ENGLISH):
        return True
    return not text.isascii() and _CHINESE.search(text) is not None
