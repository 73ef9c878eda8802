"""What runs a network on batches of tiles: the protocol, and the one that a process has loaded."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core import buffers
from geoseg.core.allocator import release_free_memory
from geoseg.core.errors import BundleError, DeviceMemoryError, one_line
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.tiling.arrays import Arrays


class Segmenter(Protocol):
    """What a backend offers: probabilities of a batch of tiles."""

    @property
    def arrays(self) -> Arrays:
        """Where it takes pixels from and leaves probabilities."""
        ...

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        """Do what batches of raw numbers (N, B, rows, cols) need once; others may predict meanwhile."""
        ...

    def predict(self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        """Return class probabilities.

        Parameters
        ----------
        values
            Raw numbers of the scene, shape (N, B, rows, cols), bands in network order, in its `arrays`.
        valid
            Shape (N, rows, cols); invalid pixels enter the network as the band mean. In its `arrays`, too.
        gain, bias
            Physical value = number * gain + bias, shape (B,).

        Returns
        -------
        probabilities
            Shape (N, C, rows, cols), 0 to 1, float32, in its `arrays`. The next call of the same thread may
            write over them.
        """
        ...


LIBRARIES = {"torch": "torch", "inductor": "torch", "openvino": "openvino"}
"""The package of each backend."""


@dataclass(frozen=True)
class SegmenterSpec:
    """All that a process needs to load a segmenter."""

    folder: Path | str
    """The bundle: a folder that every worker sees, or a URI."""
    sha256: str
    """Hash of the bundle; a bundle that changed during a run is refused."""
    device: str
    backend: str
    """One of `LIBRARIES`."""
    precision: str
    augment: str
    passes: int
    """Forward passes that a process runs at once: one on a GPU, one for each core on a CPU."""


def out_of_memory(shape: tuple[int, ...], doing: str = "in a forward pass of") -> DeviceMemoryError:
    """Return what to say of a batch (N, B, rows, cols) that the device has no memory for."""
    return DeviceMemoryError(
        f"out of memory {doing} {shape}; a smaller tile or batch needs less: "
        "--set tiling.tile=256 --set inference.batch=1"
    )


def cannot_take(shape: tuple[int, ...], error: BaseException) -> BundleError:
    """Return what to say of a batch that the network fails on."""
    return BundleError(
        f"the network cannot take an input of {shape}: {one_line(error)[:200]}; check tile and "
        "divisor in its card"
    )


def wrong_output(shape: tuple[int, ...], made: Any, classes: int) -> BundleError:
    """Return what to say of a network whose output has another shape than its input and classes ask for."""
    return BundleError(
        f"the network turns {shape} into {made}; {classes} channels of the same size are needed"
    )


def not_finite() -> BundleError:
    """Return what to say of a network whose probabilities are no numbers."""
    return BundleError("the network gives NaN or infinite probabilities; its weights are unusable")


_loaded: dict[SegmenterSpec, Segmenter] = {}
_pools: dict[tuple[str, int], ThreadPoolExecutor] = {}
_loading = threading.Lock()


def device_pool(spec: SegmenterSpec) -> ThreadPoolExecutor:
    """Return this process's threads for forward passes; all blocks in hand share them.

    On a CPU each pass runs on a single thread and several tiles run at once, because oneDNN splits the sums
    of some convolutions over its threads: with more than one, the last bits depend on the machine's cores.
    """
    with _loading:
        key = spec.backend, spec.passes
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(spec.passes, "forward", _prepare_thread, (spec.backend,))
        return _pools[key]


def _prepare_thread(backend: str) -> None:
    if LIBRARIES[backend] == "torch":
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)


def load_segmenter(spec: SegmenterSpec) -> Segmenter:
    """Return this process's segmenter, loading it once.

    Raises
    ------
    BundleError
        When the bundle is damaged or is not the one that the run was planned with.
    """
    with _loading:
        if spec not in _loaded:
            bundle = open_bundle(spec.folder)
            if bundle.sha256 != spec.sha256:
                raise BundleError(f"{spec.folder}: changed since the run was planned; start the run again")
            _loaded.clear()  # another run's network in the same process is not needed any more
            _loaded[spec] = _make(bundle, spec)
        return _loaded[spec]


def is_loaded(spec: SegmenterSpec) -> bool:
    """Return whether this process has that segmenter."""
    return spec in _loaded


def unload() -> None:
    """Give back what this process keeps for forward passes, if it has made any; it would be loaded again."""
    with _loading:
        _loaded.clear()
    buffers.clear()
    release_free_memory()


def _make(bundle: Bundle, spec: SegmenterSpec) -> Segmenter:
    # Either library takes seconds to import, and a run needs one of them only.
    if spec.backend == "openvino":
        from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter  # noqa: PLC0415

        return OpenVinoSegmenter(bundle, spec)
    from geoseg.models.backends.torch_segmenter import TorchSegmenter  # noqa: PLC0415

    return TorchSegmenter(bundle, spec)
