"""The fenced blocks of the README and of the site's pages, and the commands in them.

A fence says after its language what a test has to know of it:

    bash                      commands, which are run
    bash hardware=a TPU pod   commands that need hardware; they are checked as far as they can be
    bash outside=WHY          commands that need another program, or more than a test may take
    yaml file=NAME            a file that a reader saves under this name, and the commands read
    json file=NAME kind=KIND columns=A:B    likewise, records of a kind

The text of `hardware` and `outside` goes on to the end of the line.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT

FENCE = re.compile(r"^( *)```+ *(\w*) *(.*)$")
MARK = re.compile(r"(hardware|outside)=(.*)|(\w+)=(\S+)")
COMMENT = re.compile(r"(^|\s)#\s.*$")
SPAN = re.compile(r"`((?:python -m |make )[^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the number of its first line, its language, marks and text."""

    page: str
    line: int
    language: str
    marks: dict[str, str]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and all Markdown pages of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if (fence := FENCE.match(line)) is None:
            continue
        if start is None:
            start, language, marks = number, fence[2], _marks(fence[3])
            continue
        text = "\n".join(lines[start + 1 : number])
        yield Block(str(page.relative_to(ROOT)), start + 2, language, marks, text)
        start = None
    assert start is None, f"{page}:{start}: a fence isn't closed"


def _marks(text: str) -> dict[str, str]:
    found = {}
    for mark in MARK.finditer(text):
        found[mark[1] or mark[3]] = mark[2] if mark[1] else mark[4]
    return found


def commands(block: Block) -> list[list[str]]:
    """The commands of a block as words: one a line, continued by a backslash, parted by `&&`."""
    text = block.text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        line = line.strip().removeprefix("$ ").removeprefix("!")
        if block.language == "console" and not line.startswith(("$ ", "python", "make")):
            continue  # what the command printed
        # shlex takes a `#` within a word, as in URL#NAME, for a comment too; a shell doesn't.
        found += _parted(shlex.split(COMMENT.sub("", line)))
    return found


def _parted(words: list[str]) -> list[list[str]]:
    """One command a list; those inside of a quoted argument come after the one it is given to."""
    found: list[list[str]] = [[]]
    inner = []
    for word in words:
        if word == "&&":
            found.append([])
            continue
        found[-1].append(word)
        if "python -m launch." in word:
            start = word.partition("=")[2] if word.startswith("--") else word
            inner += _parted(shlex.split(start))
    return [command for command in found if command] + inner


def spans(page: Path) -> list[str]:
    """Commands in the running text of a page: spans of code that start with a program."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in SPAN.findall(text)]
