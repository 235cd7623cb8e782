"""Sphinx's settings for `make book`: everything in the pages, nothing from outside."""

from collections.abc import Callable
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import pano_med

project = "pano-med"
version = release = pano_med.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
html_theme = "furo"
html_title = "pano-med"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_dmath_double_inline = True
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks come with their outputs, see notebooks/execute.py
nb_ipywidgets_js = {}  # widgets show their picture; the scripts would come from a CDN
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

default_role = "literal"  # docstrings write `name` as Markdown does
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False


def mathml(latex: str, inline: bool) -> str:
    """A formula as MathML, which browsers draw by themselves.

    Raises:
        ValueError: the formula has a command that cannot be translated; it would be shown as letters.
    """
    markup = convert(latex, display="inline" if inline else "block")
    if "\\" in markup:
        raise ValueError(f"a formula has a command that MathML does not know: {latex}")
    return markup if inline else f'<div class="math">{markup}</div>'


def _visitor(inline: bool) -> Callable[[Any, nodes.Element], None]:
    def visit(translator: Any, node: nodes.Element) -> None:
        translator.body.append(mathml(node.astext(), inline))
        raise nodes.SkipNode

    return visit


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_visitor(True), None), (_visitor(False), None))
