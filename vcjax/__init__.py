"""vcjax: align a language model to a written charter, and prove that it worked."""

import os
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vcjax.api import load

# Else transformers notes in every process that PyTorch is absent, when it is imported.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
# In a notebook without ipywidgets tqdm notes, when transformers imports it, that bars are plain.
warnings.filterwarnings("ignore", "IProgress not found")

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Loads `vcjax.load` on first use, so that a floor's import doesn't pull in all the others."""
    if name == "load":
        from vcjax.api import load

        return load
    raise AttributeError(f"module 'vcjax' has no attribute {name!r}")
