"""How the bands of training pixels vary, measured again for a bundle that lacks it."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoseg.core.errors import ConfigError, GeosegWarning
from geoseg.core.files import write_atomic
from geoseg.models.bundle import CARD, Bundle, open_bundle
from geoseg.models.card import FORMAT
from geoseg.storage.store import is_uri
from geoseg.training.census import rounded, statistics, strangeness
from geoseg.training.prepare import PreparedTraining, prepare

_NEAR, _FAR = 0.1, 1.0
"""Standard deviations by which the mean of a band may differ from that of the card: told, and refused."""


def measure_bands(
    place: Path | str,
    training: Path | str,
    changes: Sequence[str] = (),
    catalog: Path | str | None = None,
    *,
    trust: bool = False,
) -> Bundle:
    """Measure the training pixels of a bundle, and write into its card how they vary.

    The card gets the covariance of the bands, and by it the distance and the texture that 99 of 100 pixels
    and chips keep under. Weights, means and all else stay as they are.

    Parameters
    ----------
    place
        The bundle: its folder, or a name.
    training
        The training document that it was made with, or another one with the same pixels in train.
    changes
        Values of the document to replace, `key=value`.
    catalog
        The catalog file; None looks in all folders where names are looked up.
    trust
        Whether the network may be code that is not geoseg's; it is not run.

    Returns
    -------
    Bundle
        The bundle with its new card.

    Raises
    ------
    ConfigError
        When the data have other bands than the bundle, or other values, or it knows photographs.
    """
    if is_uri(place):
        raise ConfigError(f"{place}: lies in an object store; measure a copy in a folder, and upload that")
    bundle = open_bundle(place, trust=trust)
    if bundle.card.gsd_m is None:
        raise ConfigError(
            f"{bundle.card.name}: knows photographs, in which light may be anything; no pixel is held to "
            "those that it was trained on, so there is nothing to measure"
        )
    card, prepared = bundle.card, prepare(training, changes, None, catalog, trust=trust)
    _check(bundle, prepared)
    cells = prepared.parts["train"]
    measured = statistics(cells)
    assert measured.covariance is not None  # noqa: S101 (measured just now)
    mean = np.array([b.mean for b in card.bands])
    away = np.abs(measured.mean - mean) / [b.std for b in card.bands]
    for band, distance, found in zip(card.bands, away, measured.mean, strict=True):
        text = (
            f"{training}: the mean of {band.name} in train is {found:.4g}, and the card of {card.name} says "
            f"{band.mean:.4g}"
        )
        if not distance <= _FAR:
            raise ConfigError(f"{text}; name the training that the bundle was made with, and its data")
        if distance > _NEAR:
            warnings.warn(f"{text}; these may be other pixels", GeosegWarning, stacklevel=2)
    # About the mean that the card says, from which distances are taken.
    update = {
        "format": FORMAT,
        "covariance": tuple(map(tuple, rounded(measured.covariance).tolist())),
        "strangeness": strangeness(cells, mean, measured.covariance),
    }
    # The README stays: people add to it.
    data = card.model_copy(update=update).model_dump_json(indent=2) + "\n"
    write_atomic(bundle.folder / CARD, data.encode())
    return open_bundle(bundle.folder, trust=trust)


def _check(bundle: Bundle, prepared: PreparedTraining) -> None:
    """Hold the data to the bands of a bundle, and to the kind of numbers that it takes."""
    ours, theirs = prepared.band_names, [b.common_name for b in bundle.card.bands]
    if ours != theirs:
        raise ConfigError(
            f"{bundle.card.name}: its bands are {', '.join(theirs)}, those of the training are "
            f"{', '.join(ours)}; they must agree"
        )
    scaled = any((b.scale, b.offset) != (1, 0) for p in prepared.labelled for b in p.scene.bands)
    if bundle.card.numbers == "raw" and scaled:
        raise ConfigError(
            f"{bundle.card.name}: takes numbers as they are stored, and the data of the training have a "
            "scale; give them scale: 1, offset: 0"
        )
