"""Traditional Chinese to simplified Chinese, by OpenCC.

The package is `opencc`, the project's own binding (Apache-2.0): it converts phrases, not only
characters, at 90 MB/s, where `opencc-python-reimplemented`, which is Python, was last released in
2023. It is optional: only this step needs it.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar

from vcjax.core.errors import UserError, suggest
from vcjax.data.corpus.document import Document

CONVERSIONS = ("t2s", "tw2s", "tw2sp", "hk2s", "hk2sp")


@dataclass(frozen=True)
class SimplifySettings:
    """How traditional characters are converted.

    Attributes:
      conversion: of OpenCC. `t2s` changes characters; `tw2sp` also changes Taiwan's words for
        those of the mainland, which is a change of the content.
    """

    conversion: str = "t2s"


class Simplify:
    """The step, for documents in Chinese; it comes after the one that finds their language."""

    name: ClassVar[str] = "simplify"
    changes: ClassVar[bool] = True
    Settings: ClassVar[type] = SimplifySettings

    def __init__(self, settings: SimplifySettings) -> None:
        """Raises:
        UserError: OpenCC isn't installed, or hasn't that conversion.
        """
        self._conversion = settings.conversion
        if settings.conversion not in CONVERSIONS:
            raise UserError(
                f"config.settings.simplify.conversion: {settings.conversion!r} is none of "
                f"{', '.join(CONVERSIONS)}{suggest(settings.conversion, CONVERSIONS)}"
            )
        if find_spec("opencc") is None:
            raise UserError(
                "config.steps: 'simplify' needs OpenCC; install vcjax with the extra 'corpus'"
            )

    def apply(self, document: Document, counts: Counter[str]) -> Document:
        if document.lang != "zh":
            return document
        text = simplified(document.text, self._conversion)
        if text == document.text:
            return document
        counts["changed"] += 1
        return replace(document, text=text, meta={**document.meta, "script": "Hans"})


def simplified(text: str, conversion: str = "t2s") -> str:
    """A Chinese text in simplified characters; Japanese would be changed, too."""
    return _converter(conversion).convert(text)


@cache
def _converter(conversion: str) -> Any:
    from opencc import OpenCC  # optional

    return OpenCC(conversion)
