"""Markdown files, such as dataset cards, from the Jinja templates of a package."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def markdown_templates(package: str) -> Environment:
    """The templates in the `templates` folder of a package; a missing value is an error."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
