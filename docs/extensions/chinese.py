"""Chinese text has no spaces: where a line of a page ends between two of its characters, the next
one goes on without one, which a browser would show for the line's end."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_WIDE = "[\u2014\u201c\u201d\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
_END = re.compile(f"(?<={_WIDE})\n(?={_WIDE})")


class JoinedLines(SphinxTransform):
    """Joins the lines of Chinese paragraphs."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        for text in list(self.document.findall(nodes.Text)):
            joined = _END.sub("", text)
            if joined != text and not isinstance(text.parent, nodes.literal_block):
                text.parent.replace(text, nodes.Text(joined))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(JoinedLines)
    return {"parallel_read_safe": True, "version": "1"}
