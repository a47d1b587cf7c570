"""How `make docs` builds the site: Markdown by Sphinx and MyST into HTML without a network."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it would note that PyTorch is absent

project = "vcjax"
html_title = "vcjax"
author = "the vcjax authors"
copyright = "the vcjax authors, Apache-2.0"

extensions = ["myst_parser", "extensions.config_fields", "extensions.script_flags"]
exclude_patterns = ["extensions"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
highlight_language = "text"
nitpicky = True
smartquotes = False  # a field's '' is two quotes

html_theme = "furo"
html_static_path = []
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
# Chinese pages are searched by characters; the English stemmer leaves those alone.
html_search_language = "en"
