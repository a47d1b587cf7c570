"""How `make docs` builds the site: Markdown by Sphinx and MyST into HTML without a network."""

project = "vcjax"
html_title = "vcjax"
author = "the vcjax authors"
copyright = "the vcjax authors, Apache-2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
highlight_language = "text"
nitpicky = True

html_theme = "furo"
html_static_path = []
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
# Chinese pages are searched by characters; the English stemmer leaves those alone.
html_search_language = "en"
