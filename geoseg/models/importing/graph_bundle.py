"""Write bundles whose network is a graph."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from geoseg.core.files import sha256
from geoseg.models.bundle import CONFIG, write_card
from geoseg.models.card import Card
from geoseg.models.graphs import graph_config, weights_name
from geoseg.models.importing.sizes import bytes_per_pixel


def write_graph(kind: str, model: Any, card: Card, folder: Path, bands: int, channels: int) -> None:
    """Write configuration and card beside the file of a graph.

    Parameters
    ----------
    kind
        ONNX or OpenVINO.
    model
        The graph as an `openvino.Model`, from which the working memory is counted.
    card
        Its card; checksum, working memory and version are filled in.
    folder
        The bundle, in which the graph lies already.
    bands, channels
        What it takes and gives.
    """
    config = graph_config(kind, bands, channels)
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    update = {
        "weights_sha256": sha256(folder / weights_name(config)),
        "memory_bytes_per_pixel": round(bytes_per_pixel(model, bands, card.tile.min), 1),
        "versions": {**card.versions, "openvino": version("openvino")},
    }
    write_card(card.model_copy(update=update), folder)
