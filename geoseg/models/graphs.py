"""Bundles whose network is a graph of operations: what their `config.json` says."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoseg.config.wording import first_of
from geoseg.core.errors import BundleError

ONNX, OPENVINO = "ONNX", "OpenVINO"
WEIGHTS, ONNX_FILE = "model.safetensors", "model.onnx"


class GraphArguments(BaseModel):
    """The configuration of a graph: what it takes and gives; no file but these two is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: Literal["model.onnx", "model.safetensors"]
    in_channels: Annotated[int, Field(ge=1, le=1024)]
    classes: Annotated[int, Field(ge=1, le=65_536)]
    """Channels of the answer."""


def is_graph(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration is of a graph, and not of a network of the registry."""
    return config.get("_model_class") in (ONNX, OPENVINO)


def weights_name(config: Mapping[str, Any]) -> str:
    """Return the name of the file that holds the weights."""
    return ONNX_FILE if config.get("_model_class") == ONNX else WEIGHTS


def graph_config(kind: str, bands: int, channels: int) -> dict[str, Any]:
    """Return the configuration of a graph.

    Examples
    --------
    >>> graph_config(ONNX, 4, 3)
    {'_model_class': 'ONNX', 'file': 'model.onnx', 'in_channels': 4, 'classes': 3}
    """
    name = weights_name({"_model_class": kind})
    return {"_model_class": kind, "file": name, "in_channels": bands, "classes": channels}


def check_graph_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a graph.

    Raises
    ------
    BundleError
        When a key is unknown or missing, or a value is out of its bounds.
    """
    arguments = {k: v for k, v in config.items() if k != "_model_class"}
    try:
        GraphArguments.model_validate(arguments)
    except ValidationError as error:
        key, text = first_of(error, arguments, GraphArguments)
        raise BundleError(f"{ascii(key[:80])[1:-1]}: {text}") from None
    if arguments["file"] != weights_name(config):
        raise BundleError(f"file: must be {weights_name(config)} for {config['_model_class']}")
    return arguments
