"""The segmenter that this process has loaded, and its threads for forward passes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from geoseg.core import buffers
from geoseg.core.errors import BundleError
from geoseg.models.backends.resizing import ResizingSegmenter
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.models.bundle import Bundle, open_bundle

_loaded: dict[SegmenterSpec, Any] = {}
_pools: dict[tuple[str, int], ThreadPoolExecutor] = {}
_loading = threading.Lock()


def device_pool(spec: SegmenterSpec) -> ThreadPoolExecutor:
    """Return this process's threads for forward passes; all blocks under way share them.

    On a CPU each pass runs on a single thread and several tiles run at once, because oneDNN splits the sums
    of some convolutions over its threads: with more than one, the last bits depend on the machine's cores.
    """
    with _loading:
        key = spec.backend, spec.passes
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(spec.passes, "forward", _prepare_thread, (spec.backend,))
        return _pools[key]


def _prepare_thread(backend: str) -> None:
    if backend != "openvino":
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)


def load_segmenter(spec: SegmenterSpec) -> Segmenter:
    """Return this process's segmenter, loading it once.

    Raises
    ------
    BundleError
        When the bundle is damaged or is not the one that the run was planned with.
    """
    segmenter: Segmenter = load_once(spec, make_segmenter)
    return segmenter


def load_once(spec: SegmenterSpec, make: Callable[[Bundle, SegmenterSpec], Any]) -> Any:
    """Return what this process has made of a bundle, making it once; see `load_segmenter` for the errors."""
    with _loading:
        if spec not in _loaded:
            bundle = open_bundle(spec.folder, trust=spec.trust)
            if bundle.sha256 != spec.sha256:
                raise BundleError(f"{spec.folder}: changed since the run was planned; start the run again")
            # The network of an earlier run in this process is not needed any more.
            for other in list(_loaded)[: max(0, len(_loaded) - spec.others)]:
                del _loaded[other]
            _loaded[spec] = make(bundle, spec)
        _loaded[spec] = _loaded.pop(spec)  # the last one of those in use
        return _loaded[spec]


def is_loaded(spec: SegmenterSpec) -> bool:
    """Return whether this process has loaded that segmenter."""
    return spec in _loaded


def unload_segmenter() -> None:
    """Free the memory of the network and of spare buffers; the next block loads the network again."""
    with _loading:
        _loaded.clear()
    buffers.clear()
    buffers.release_free_memory()


def make_segmenter(bundle: Bundle, spec: SegmenterSpec) -> Segmenter:
    """Return a segmenter of its own, which this process does not keep."""
    if bundle.card.task == "instances":
        raise BundleError(f"{bundle.folder}: finds objects, and no class of each pixel; see geoseg run")
    segmenter, shape = network_segmenter(bundle, spec), bundle.card.resize
    return segmenter if shape is None else ResizingSegmenter(segmenter, shape)


def network_segmenter(bundle: Bundle, spec: SegmenterSpec) -> Segmenter:
    """Return a segmenter of its own for tiles as the network takes them: none is resized."""
    # Each library takes seconds to import, and a run needs only one of them.
    if spec.backend == "openvino":
        from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter  # noqa: PLC0415

        return OpenVinoSegmenter(bundle, spec)
    from geoseg.models.backends.torch_segmenter import TorchSegmenter  # noqa: PLC0415

    return TorchSegmenter(bundle, spec)
