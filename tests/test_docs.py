"""What the documentation names is there: links, paths, commands, Python names, the layers."""

import ast
import re
import tomllib
from functools import cache

import pytest
import yaml

import geoseg
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples/README.md"])
MADE_BY_READERS = {
    "pipelines/mine.yaml",
    "pipelines/product.yaml",
    "pipelines/forest.yaml",
    "configs/clusters/mine.yaml",
}
"""Files that the pages tell their readers to write."""

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])


@cache
def prose(page):
    """Return a page without the blocks of code, in which a link is none."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page):
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        linked = (page.parent / place) if place else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@each_page
def test_files_and_folders_exist(page):
    named = re.findall(
        r"(?<![\w/.~-])(?:geoseg|tests|docs|configs|pipelines)/[\w/.-]*[\w/]", page.read_text()
    )
    missing = [n for n in named if n not in MADE_BY_READERS and not (ROOT / n).exists()]
    assert missing == []


@cache
def modules():
    """Return the names of all Python files of the project."""
    return {path.name for top in ("geoseg", "tests", "docs") for path in (ROOT / top).rglob("*.py")}


@each_page
def test_modules_exist(page):
    for name in re.findall(r"(?<![\w/.-])(?:\w+/)*\w+\.py\b", page.read_text()):
        known = name in modules() if "/" not in name else (ROOT / name).exists()
        assert known or (ROOT / "geoseg" / name).exists(), name


@each_page
def test_benchmarks_exist(page):
    known = (ROOT / "tests/benchmarks/__main__.py").read_text()
    for name in re.findall(r"python -m tests\.benchmarks ([a-z_]+)", page.read_text()):
        assert f'"{name}"' in known, name


@each_page
def test_commands_of_make_exist(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for name in re.findall(r"(?:`|^\$ |^)make ([a-z]+)", page.read_text(), flags=re.MULTILINE):
        assert name in targets


@cache
def names_of(path):
    """Return what a module or the body of a class binds, with the bodies of its classes."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        found |= bound(node)
    return found


def bound(node):
    """Return the names that a statement binds; a class has the names of its body."""
    if isinstance(node, ast.ClassDef):
        return {node.name: {k: v for part in node.body for k, v in bound(part).items()}}
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return {node.name: {}}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name): {} for alias in node.names}
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return {t.id: {} for t in targets if isinstance(t, ast.Name)}


def is_there(dotted):
    """Return whether `geoseg.a.b.c` is a folder, a module, or a name within one; nothing is imported."""
    path, parts = ROOT / "geoseg", dotted.split(".")[1:]
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    if parts and (path / f"{parts[0]}.py").exists():
        path /= f"{parts.pop(0)}.py"
    else:
        path /= "__init__.py"
    names = names_of(path)
    if path == ROOT / "geoseg/__init__.py" and parts[:1] and parts[0] in dir(geoseg):
        return True  # loaded on first use
    while parts and parts[0] in names:
        names = names[parts.pop(0)]
    return not parts


@each_page
def test_python_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"(?<![\w/.-])geoseg(?:\.[A-Za-z_]\w*)+", text)) - {"geoseg.json"}
    for module, names in re.findall(r"^from (geoseg[\w.]*) import (.+)$", text, flags=re.MULTILINE):
        named |= {f"{module}.{name.strip()}" for name in names.split(",")}
    assert [name for name in sorted(named) if not is_there(name)] == []


def test_a_name_that_is_not_there_is_found():
    assert is_there("geoseg.tiling.grid.TileAxis.shrink")
    assert is_there("geoseg.vector.trace")
    assert not is_there("geoseg.tiling.grid.TileAxis.grow")
    assert not is_there("geoseg.tilings")


def test_the_architecture_shows_the_layers_of_the_contract():
    text = (ROOT / "docs/architecture.md").read_text()
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "\n".join(document["tool"]["importlinter"]["contracts"][0]["layers"]) in text


def test_the_architecture_shows_every_room():
    tree = (ROOT / "docs/architecture.md").read_text().split("```text")[1]
    shown = set(re.findall(r"^ +(\w+)/", tree, flags=re.MULTILINE))
    assert shown == {init.parent.name for init in (ROOT / "geoseg").rglob("__init__.py")} - {"geoseg"}


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == geoseg.__version__
    assert citation["cff-version"] == "1.2.0"


@pytest.mark.parametrize("form", ["bug", "feature", "question"])
def test_issue_forms_are_as_github_reads_them(form):
    content = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{form}.yml").read_text())
    assert {"name", "description", "body"} <= content.keys()
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert {field["type"] for field in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
