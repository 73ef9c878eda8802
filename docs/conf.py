"""How the documentation site is built, by `make docs`."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import desc_annotation
from sphinx.application import Sphinx

import geoseg
from geoseg.core import errors

HERE = Path(__file__).parent
PACKAGE = Path(geoseg.__file__).parent

project = "geoseg"
project_copyright = "the geoseg developers"
version = release = geoseg.__version__
# A field called `bytes` is found for the type of that name, and there are several.
suppress_warnings = ["ref.python"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "pydata_sphinx_theme"
html_title = "geoseg"
html_static_path = ["_static"]
html_css_files = ["geoseg.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}

myst_heading_anchors = 4

default_role = "py:obj"  # `name` in a docstring becomes a link where there is such a name
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

_ARRAY = re.compile(
    r"~?(?:numpy\.)?ndarray\[~?tuple\[~?(?:typing\.)?Any, \.\.\.\], ~?(?:numpy\.)?dtype\[(.*?)\]\]"
)
"""How Sphinx writes `NDArray`."""

PUBLIC = (
    "open_scene", "open_bundle", "plan", "run", "open_run", "segment", "vectorize", "train", "evaluate",
    "validate", "errors",
)  # fmt: skip
"""The public names. One that this version of the package lacks is left out of the reference."""


def rooms() -> Iterator[Path]:
    """Yield the folders of the package, from the top layer of the import contract to the lowest."""
    document = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    layers = document["tool"]["importlinter"]["contracts"][0]["layers"]
    for name in (room.strip() for layer in layers for room in layer.split("|")):
        top = PACKAGE / name.removeprefix("geoseg.")
        yield from sorted(init.parent for init in top.rglob("__init__.py"))


def dotted(path: Path) -> str:
    """Return the name under which a folder or file of the package is imported."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def room_page(room: Path) -> str:
    """Return the page of a room: its docstring, then its modules with what is public in each."""
    name = dotted(room)
    text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n"
    for path in sorted(room.glob("*.py")):
        if path.stem.startswith("_"):
            continue
        title = path.stem
        text += f"\n{title}\n{'-' * len(title)}\n\n.. automodule:: {dotted(path)}\n   :members:\n"
        if room.name == "config":
            text += "   :undoc-members:\n"  # many keys of a document need no words, but all shall be there
    return text


def public_page() -> str:
    """Return the page of the public names."""
    text = "The public names\n================\n\n.. automodule:: geoseg\n   :no-members:\n   :no-index:\n"
    for name in PUBLIC:
        if name == "errors":
            classes = ", ".join(key for key, value in vars(errors).items() if isinstance(value, type))
            text += f"\n.. automodule:: geoseg.core.errors\n   :members: {classes}\n   :no-index:\n"
        elif hasattr(geoseg, name):
            text += f"\n.. autofunction:: geoseg.{name}\n"
    return text


def write_reference(_: Sphinx) -> None:
    """Write the pages of the reference; they are made from the tree of the package, and not kept in git."""
    folder = HERE / "reference" / "generated"
    pages = {dotted(room): room_page(room) for room in rooms()} | {"public": public_page()}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in pages.items():
        (folder / f"{name}.rst").write_text(text)
    names = "\n".join(f"   {name}" for name in pages if name != "public")
    (folder / "rooms.rst").write_text(f"The rooms\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{names}\n")


def in_site(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Lead links to the README, which is no page of the site, to the page that shows it."""
    source[0] = source[0].replace("](../README.md", "](start.md")


def as_plain_text(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking what precedes a colon in the docstring of a field for its type."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # an empty comment


def readable(
    _app: Sphinx,
    what: str,
    _name: str,
    obj: object,
    _options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Shorten the signatures of arrays; leave out those of documents, whose fields follow anyway."""
    if what == "class" and isinstance(obj, type) and issubclass(obj, BaseModel):
        for one in obj.__mro__:
            if issubclass(one, BaseModel):
                one.__annotations__ = {name: bare(hint) for name, hint in one.__annotations__.items()}
        return "", None
    found = (text and _ARRAY.sub(r"NDArray[\1]", text) for text in (signature, returns))
    return next(found), next(found)


def bare(hint: Any) -> Any:
    """Return a type without what only pydantic reads."""
    if get_origin(hint) is Annotated:
        return bare(get_args(hint)[0])
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return reduce(or_, map(bare, get_args(hint)))
    if get_origin(hint) in {dict, list, tuple}:
        return get_origin(hint)[tuple(map(bare, get_args(hint)))]
    return hint


def readable_fields(_app: Sphinx, doctree: nodes.document, _docname: str) -> None:
    """Shorten the types of fields that are arrays."""
    for node in doctree.findall(desc_annotation):
        text = node.astext()
        if _ARRAY.search(text):
            node.children = [nodes.Text(_ARRAY.sub(r"NDArray[\1]", text))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions above to Sphinx."""
    app.connect("builder-inited", write_reference)
    app.connect("source-read", in_site)
    app.connect("autodoc-process-docstring", as_plain_text, priority=400)
    app.connect("autodoc-process-signature", readable)
    app.connect("doctree-resolved", readable_fields)
    return {"parallel_read_safe": True}
