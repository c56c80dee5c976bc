"""How Sphinx makes the site from these pages: ``python -m sphinx -W --keep-going docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import xrdpipe

project = "xrdpipe"
author = "the developers of xrdpipe"
version = release = xrdpipe.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design", "sphinx_copybutton", "generated"]
exclude_patterns = ["_build", "_generated", "README.md", "**.ipynb_checkpoints"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the notebooks are executed by their test
suppress_warnings = ["misc.highlighting_failure"]  # lines with ! in notebooks are not Python
highlight_language = "text"
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
smartquotes = False  # commands and messages stay as they are typed
napoleon_google_docstring = False
napoleon_use_ivar = True

copybutton_selector = "div.highlight-sh pre, div.highlight-python pre, div.highlight-yaml pre"

html_theme = "pydata_sphinx_theme"
html_title = "xrdpipe"
html_favicon = "_static/rings.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_search_summary = False  # fetching pages for it is forbidden where the site is read from disk
html_show_sourcelink = False
html_theme_options = {
    "logo": {"image_light": "_static/rings.svg", "image_dark": "_static/rings.svg", "text": "xrdpipe"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "gallery": [], "migration": [], "changelog": []}
html_context = {"default_mode": "light"}
copyright = "the developers of xrdpipe; BSD-3-Clause"
