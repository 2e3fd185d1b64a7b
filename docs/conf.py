"""How Sphinx builds the documentation site: `make docs`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

import miliary

ROOT = Path(__file__).resolve().parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
version = release = _PROJECT["version"]
project_copyright = "the miliary authors"

extensions = ["myst_nb", "numpydoc", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
html_theme = "furo"
html_title = f"miliary {version}"
html_copy_source = False
# The search runs in the reader's browser and no page fetches anything from another host.
html_static_path: list[str] = []

# --- the reference: one page per folder of the package, made from the docstrings -----------------------
# (With one page per module most of a build went into drawing the list of all pages beside each.)
apidoc_modules = [
    {
        "path": "../src/miliary",
        "destination": "reference/modules",
        "separate_modules": False,
        "module_first": True,
        "max_depth": 2,
        "automodule_options": {"members", "ignore-module-all"},
    }
]
# A name is documented where it is defined, not again where a package offers it.
autodoc_default_options = {"members": True, "member-order": "bysource", "ignore-module-all": True}
# Signatures are read as they are written; a type is not resolved into its full path.
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# `name` in a docstring is code.
default_role = "code"
add_module_names = False

# --- tutorials: run at each build, an error in a cell ends it ---------------------------------------------
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_cache_path = str(ROOT / "site" / ".jupyter_cache")
nb_execution_timeout = 300
nb_merge_streams = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
exclude_patterns = ["reference/modules/modules.rst"]
# A type in a signature is written as in the code, and a few private twins share a name: the first is linked.
suppress_warnings = ["ref.python"]

# Pages outside this folder that pages here link to by their place in the repository.
_OUTSIDE = {
    "../README.md": "index.md",
    "../ARCHITECTURE.md": "architecture.md",
    "../CHANGELOG.md": "changes.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../validation/RESULTS.md": "results.md",
}


def _complete_page(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Turn links that hold in the repository into links that hold on the site; list the public names."""
    names = [f"   ~{home}.{name}" for name, home in sorted(miliary._HOMES.items())]  # noqa: SLF001  where each public name is defined
    source[0] = source[0].replace("PUBLIC_NAMES", "\n".join(names))
    for outside, inside in _OUTSIDE.items():
        source[0] = source[0].replace(f"]({outside}", f"]({inside}")


def _skip_imported(
    _app: Sphinx,
    _kind: str,
    _name: str,
    member: object,
    skip: bool | None,  # noqa: FBT001  as Sphinx calls it
    _options: object,
) -> bool | None:
    """Leave out what a module only imports; Sphinx takes compiled classes for its own."""
    home = getattr(member, "__module__", None)
    return True if isinstance(home, str) and not home.startswith("miliary") else skip


def setup(app: Sphinx) -> None:
    """Register what this project adds to Sphinx."""
    app.connect("source-read", _complete_page)
    app.connect("autodoc-skip-member", _skip_imported)
