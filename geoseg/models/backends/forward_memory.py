"""Count the working memory of a forward pass."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.models.networks.mask_rcnn import MaskRCNN


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that exist at the same time, while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage())
        return out

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def forward_bytes_per_pixel(network: nn.Module, bands: int, tile: int) -> float:
    """Return the peak of live tensors in a forward pass, in bytes for each input pixel.

    A network that finds objects is measured with as many as it may report.

    Parameters
    ----------
    network
        A network on the CPU, in evaluation mode.
    bands
        Its number of input bands.
    tile
        Side of the tile to try, in pixels.
    """
    x = torch.zeros(1, bands, tile, tile)
    counter = _LiveBytes()
    with torch.inference_mode(), _crowded(network), counter:
        network(x)
    return counter.peak / (tile * tile)


@contextmanager
def _crowded(network: nn.Module) -> Iterator[None]:
    """Let a network that finds objects report all that it may, whatever their scores and overlaps."""
    if not isinstance(network, MaskRCNN):
        yield
        return
    heads = network.roi_heads
    before = heads.score_thresh, heads.nms_thresh
    heads.score_thresh, heads.nms_thresh = -1.0, 1.0
    try:
        yield
    finally:
        heads.score_thresh, heads.nms_thresh = before
