"""Sphinx configuration; `make docs` builds with warnings as errors."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import spectra

project = "spectra + probes"
author = "the spectra-probes developers"
project_copyright = "2026, the spectra-probes developers; Apache-2.0"
release = version = spectra.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["validation_table.md", "_build", "gallery", "**/sg_execution_times.rst", "sg_execution_times.rst"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "spectra + probes"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_sourcelink_suffix = ""

autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_validation_checks = set()

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": "/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "matplotlib_animations": False,
}
suppress_warnings = ["config.cache"]
