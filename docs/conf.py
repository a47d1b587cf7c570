"""How `make docs` builds the site: Markdown by Sphinx and MyST into HTML without a network."""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(_ROOT)]
sys.path.append(str(_ROOT / "vcjax/evaluation/facts/tasks"))  # where harnesses import from

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it would note that PyTorch is absent

project = "vcjax"
html_title = "vcjax"
author = "the vcjax authors"
copyright = "the vcjax authors, Apache-2.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "extensions.chinese",
    "extensions.config_fields",
    "extensions.docstrings",
    "extensions.script_flags",
]
exclude_patterns = ["extensions"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
highlight_language = "text"
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # a type of another library has no page here
smartquotes = False  # a field's '' is two quotes

# The reference of the package, from its docstrings (docs/reference/python/).
default_role = "code"  # in docstrings `x` is code
add_module_names = False
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "model_config",
}
autoclass_content = "both"  # after the class what its `__init__` says of the arguments
autodoc_mock_imports = ["inspect_ai"]  # its task file is read without it
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
# Chinese pages are searched by characters; the English stemmer leaves those alone.
html_search_language = "en"
