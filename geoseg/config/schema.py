"""JSON schemas of the YAML documents, for editors that complete and check them."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from geoseg.config.cluster import ClusterFile
from geoseg.config.dataset import CatalogDocument
from geoseg.config.legend import LegendDocument
from geoseg.config.pipeline import Pipeline
from geoseg.config.training import Training

DOCUMENTS: dict[str, type[BaseModel]] = {
    "pipeline": Pipeline,
    "training": Training,
    "legend": LegendDocument,
    "cluster": ClusterFile,
    "catalog": CatalogDocument,
}
"""The model of each kind of document."""


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a kind of document, with what each key means.

    Parameters
    ----------
    kind
        One of `DOCUMENTS`.

    Examples
    --------
    >>> schema("pipeline")["properties"]["gsd"]["description"]
    'Ground sample distance of the map in metres; auto: that of the scene.'
    """
    model = DOCUMENTS[kind]
    found = model.model_json_schema()
    models = {m.__name__: m for m in _subclasses(BaseModel) if m.__module__.startswith("geoseg.config")}
    for name, part in [(model.__name__, found), *found.get("$defs", {}).items()]:
        for key, text in (_docstrings(models[name]) if name in models else {}).items():
            if key in part.get("properties", {}):
                part["properties"][key]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": f"geoseg {kind}"}


def _subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _subclasses(child)


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings under the fields of a model; pydantic could, at every import of the model."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(doc.value.value.split())
        for field, doc in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant)
        if isinstance(doc.value.value, str)
    }
