"""The protocol of networks that find objects, and the detector that this process has loaded."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import Detections
from geoseg.models.backends import load
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.bundle import Bundle
from geoseg.tiling.arrays import Arrays


class Detector(Protocol):
    """A network that finds the objects of batches of tiles."""

    @property
    def arrays(self) -> Arrays:
        """The arrays in which it takes pixels: the host's or the device's."""
        ...

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        """Prepare for batches (N, B, rows, cols) of raw numbers; other threads may detect meanwhile."""
        ...

    def detect(
        self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[Detections, ...]:
        """Return the objects of each tile.

        Those of a tile do not depend on the other tiles of the batch.

        Parameters
        ----------
        values
            Raw numbers of the scene, shape (N, B, rows, cols), bands in network order, in `arrays`.
        valid
            Shape (N, rows, cols), in `arrays`; invalid pixels enter the network as the band mean.
        gain, bias
            Physical value = number * gain + bias, shape (B,).

        Returns
        -------
        detections
            For each tile the objects that reach the score threshold of the card, at most `per_tile` of them;
            boxes and masks in pixels of the tile.
        """
        ...


def load_detector(spec: SegmenterSpec) -> Detector:
    """Return this process's detector, loading it once.

    It takes the place of the segmenter of an earlier run, see `geoseg.models.backends.load`.

    Raises
    ------
    BundleError
        When the bundle is damaged, is not the one that the run was planned with, or finds no objects.
    """
    detector: Detector = load.load_once(spec, make_detector)
    return detector


def make_detector(bundle: Bundle, spec: SegmenterSpec) -> Detector:
    """Return a detector of its own, which this process does not keep."""
    from geoseg.models.backends.torch_detector import TorchDetector  # noqa: PLC0415

    return TorchDetector(bundle, spec)
