"""Chinese text has no spaces: where a line of a page ends between two of its characters, the next
one goes on without one, which a browser would show for the line's end."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_WIDE = re.compile("[\u2014\u201c\u201d\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


class JoinedLines(SphinxTransform):
    """Joins the lines of Chinese paragraphs; MyST has each line's end as a text of its own."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        for parent in self.document.findall(nodes.TextElement):
            # By their positions: all ends of lines are equal, so that `index` would find the first.
            for at in reversed(range(1, len(parent) - 1)):
                ends = parent[at - 1].astext()[-1:], parent[at + 1].astext()[:1]
                if parent[at] == "\n" and all(map(_WIDE.match, ends)):
                    del parent[at]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(JoinedLines)
    return {"parallel_read_safe": True, "version": "1"}
