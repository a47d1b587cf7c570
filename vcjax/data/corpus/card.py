"""The card of a corpus: for a person who finds the folder, what is in it and what isn't."""

from collections.abc import Mapping
from typing import Any

from vcjax.core.markdown import markdown_templates
from vcjax.data.corpus.funnel import funnel_rows

_LONGEST = 120  # characters of a removed text in a table


def corpus_card(name: str, summary: Mapping[str, Any]) -> str:
    """The card in Markdown.

    Args:
      summary: of a run; the card has nothing from elsewhere.
    """
    environment = markdown_templates("vcjax.data")
    environment.filters["cell"] = _cell
    template = environment.get_template("corpus.md.jinja")
    values = {"validation": None, **summary}
    return template.render(name=name, funnel=funnel_rows(summary), train=summary, **values)


def _cell(text: str) -> str:
    """A text that may stand in a cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
