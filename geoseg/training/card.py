"""The card of a network that was trained here."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from torch import nn

import geoseg
from geoseg.config.training import Training
from geoseg.core.bands import WAVELENGTH_UM, common_name
from geoseg.core.errors import ConfigError
from geoseg.core.legend import IGNORE
from geoseg.core.secrets import redacted
from geoseg.models.card import Card
from geoseg.models.networks.architectures import divisor, is_global
from geoseg.scenes.labelled import Labelled
from geoseg.training.aim import Measured
from geoseg.training.census import rounded
from geoseg.training.fit import Fitted
from geoseg.training.prepare import PreparedTraining

_VERSIONED = ("torch", "torchvision", "segmentation_models_pytorch", "timm", "lightning")


def make_card(prepared: PreparedTraining, network: nn.Module, facts: Mapping[str, Any]) -> Card:
    """Return the card; the hash of the weights is filled in when the bundle is saved.

    Parameters
    ----------
    prepared
        The training: its document, the labelled scenes, the legend, and mean and standard deviation of train.
    network
        The trained network, for its tile sizes.
    facts
        `training`, `metrics` and `temperature`, as `card_facts` returns them, and what the aim says once it
        is measured.
    """
    document, labelled, statistics = prepared.document, prepared.labelled, prepared.statistics
    aim, gsd = prepared.aim, gsd_range(document, labelled)
    first = labelled[0].scene
    bands = [
        {
            "name": name,
            "common_name": common_name(name),
            "wavelength_um": band.wavelength_um or WAVELENGTH_UM.get(common_name(name)),
            "scale": band.scale,
            "offset": band.offset,
            "nodata": band.nodata,
            "mean": round(float(mean), 6),
            "std": round(float(std), 6),
        }
        for name, band, mean, std in zip(
            document.bands or [b.common_name for b in first.bands],
            first.bands, statistics.mean, statistics.std, strict=True,
        )
    ]  # fmt: skip
    return Card.model_validate(
        {
            "name": document.name,
            "version": document.version,
            "title": document.title or document.name,
            "description": document.description,
            "bands": bands,
            "covariance": None if statistics.covariance is None else rounded(statistics.covariance).tolist(),
            # Of photographs, whose light is anything, it would say nothing.
            "strangeness": None if gsd is None else statistics.strangeness,
            "level": _level(labelled),
            "gsd_m": gsd,
            "tile": tile_sizes(document, network, prepared.chip),
            "resize": document.chips.resize,
            "ignore_index": IGNORE,
            "limitations": document.limitations,
            "license": document.license,
            "weights_sha256": "0" * 64,
            "versions": {p: version(p).split("+")[0] for p in _VERSIONED},
            **aim.card(None),
            **facts,
        }
    )


def _level(labelled: Sequence[Labelled]) -> str | None:
    """Return the level of reflectance of all labelled scenes, None when they state none or differ."""
    levels = {p.scene.level for p in labelled}
    return levels.pop() if len(levels) == 1 else None


def card_facts(
    document: Training,
    fitted: Fitted,
    start: str,
    data: dict[str, Any],
    measured: Measured,
    datasets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the card says of the training.

    Parameters
    ----------
    document
        The training file.
    fitted
        The fit.
    start
        Where the weights started, in words.
    data
        Scenes, chips and labelled pixels by part.
    measured
        Temperature and scores of the network.
    datasets
        What each of several data sets has.

    Returns
    -------
    dict
        `training`, `metrics` and `temperature`, plain values for JSON.
    """
    excerpt = document.model_dump(
        mode="json",
        include={
            "task",
            "dataset",
            "seed",
            "split",
            "chips",
            "augmentation",
            "loss",
            "optimizer",
            "fit",
            "detection",
        },
        exclude_defaults=True,
    )
    if datasets is not None:
        excerpt["datasets"] = datasets
    elif document.dataset is not None and not isinstance(document.dataset, str):
        excerpt["dataset"] = document.dataset.title or document.dataset.kind
    training = {
        "network": document.network_in_words,
        "start": start,
        **excerpt,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "geoseg": geoseg.__version__,
        "data": data,
    }
    if told := getattr(measured, "told", ""):
        training["calibration"] = told
    metrics = measured.scores().model_dump(mode="json")
    return {
        "training": redacted(training),
        "metrics": metrics,
        "temperature": measured.temperature,
    }


def gsd_range(document: Training, labelled: Sequence[Labelled]) -> dict[str, float] | None:
    """Return the range of ground sample distances of the bundle in metres, None for photographs.

    Raises
    ------
    ConfigError
        When neither the document nor the data have any, and the data are no photographs.
    """
    if document.gsd == "none":
        return None
    if document.gsd is not None:
        return {"min": document.gsd.min, "max": document.gsd.max}
    known = [g for p in labelled if (g := p.scene.gsd_m) is not None]
    if not known and all(p.scene.is_photograph for p in labelled):
        return None
    if not known:
        raise ConfigError(
            "gsd: the labelled data have no CRS, so say which ground sample distances the bundle is for, "
            "in metres: gsd: {min: 10, max: 30}; of photographs gsd: none"
        )
    return {"min": round(min(known), 3), "max": round(max(known), 3)}


def tile_sizes(document: Training, network: nn.Module, shape: tuple[int, int]) -> dict[str, int]:
    """Return the tile sizes for the card in pixels, for a network that was trained on chips of a shape.

    The predictions of a network that pools over the whole tile (PSPNet, DeepLab) depend on the size of the
    tile, so its tiles have the size of its training chips.
    """
    step = divisor(network)
    if document.tile is not None:
        return {**document.tile.model_dump(), "divisor": step}
    short, long = (-(-n // step) * step for n in sorted(shape))
    if document.chips.resize is not None:
        return {"size": long, "min": short, "max": long, "overlap": 0, "divisor": step}
    if is_global(network):
        return {"size": long, "min": short, "max": long, "overlap": long // 4 // 2 * 2, "divisor": step}
    whole = long if document.chips.whole else 0
    large, smallest = -(-max(1024, whole) // step) * step, -(-min(128, short) // step) * step
    return {"size": large, "min": smallest, "max": 2 * large, "overlap": 128, "divisor": step}
