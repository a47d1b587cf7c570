"""Libraries that come with an extra of the package, for those who need them."""

from collections.abc import Mapping
from importlib.util import find_spec

from vcjax.core.errors import UserError


def require(libraries: Mapping[str, str], asked: str) -> None:
    """Checks that what somebody asked for can be had.

    Args:
      libraries: the extra that each comes with.
      asked: how they asked for it, e.g. `--executor=ray`.

    Raises:
      UserError: a library is missing.
    """
    for library, extra in libraries.items():
        if find_spec(library) is None:
            raise UserError(f"{asked} needs {library}: pip install 'vcjax[{extra}]'")
