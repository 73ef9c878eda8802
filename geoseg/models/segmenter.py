"""Run a network on batches of tiles."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.errors import BundleError, ConfigError, PlanError, one_line
from geoseg.models.bundle import Bundle, open_bundle


class Segmenter(Protocol):
    """What a backend offers: probabilities of a batch of tiles."""

    def predict(
        self,
        values: NDArray[Any],
        valid: NDArray[np.bool_],
        gain: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return class probabilities.

        Parameters
        ----------
        values
            Raw numbers of the scene, shape (N, B, rows, cols), bands in network order.
        valid
            Shape (N, rows, cols); invalid pixels enter the network as the band mean.
        gain, bias
            Physical value = number * gain + bias, shape (B,).

        Returns
        -------
        probabilities
            Shape (N, C, rows, cols), 0 to 1.
        """
        ...


@dataclass(frozen=True)
class SegmenterSpec:
    """All that a process needs to load a segmenter."""

    folder: Path | str
    """The bundle: a folder that every worker sees, or a URI."""
    sha256: str
    """Hash of the bundle; a bundle that changed during a run is refused."""
    device: str
    precision: str
    augment: str
    passes: int
    """Forward passes that a process runs at once: one on a GPU, one for each core on a CPU."""


class TorchSegmenter:
    """A bundle's network in torch."""

    def __init__(self, bundle: Bundle, spec: SegmenterSpec) -> None:
        self.device = torch.device(spec.device)
        if self.device.type == "cuda":
            # fp32 means fp32, and the same kernel every time.
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[spec.precision]
        self.symmetries = SYMMETRIES[spec.augment]
        card = bundle.card
        self.mean = np.array([b.mean for b in card.bands], dtype=np.float32)
        self.std = np.array([b.std for b in card.bands], dtype=np.float32)
        self.temperature = card.temperature
        self.classes = len(card.classes)
        # Convolutions of oneDNN and cuDNN are faster with channels last.
        self.network = bundle.network().to(self.device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(
        self,
        values: NDArray[Any],
        valid: NDArray[np.bool_],
        gain: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return class probabilities, see `Segmenter`."""
        factor = torch.from_numpy(gain / self.std).to(self.device)[:, None, None]
        shift = torch.from_numpy((bias - self.mean) / self.std).to(self.device)[:, None, None]
        x = torch.from_numpy(values).to(self.device, torch.float32, copy=True).mul_(factor).add_(shift)
        x.masked_fill_(torch.from_numpy(~valid).to(self.device)[:, None], 0.0)
        total: torch.Tensor | None = None
        for quarter_turns, flip in self.symmetries:
            p = turn_back(self._forward(turn(x, quarter_turns, flip)), quarter_turns, flip)
            total = p if total is None else total.add_(p)
        assert total is not None  # noqa: S101 (there is always the identity)
        mean = total if len(self.symmetries) == 1 else total.div_(len(self.symmetries))
        if not torch.isfinite(mean.sum()):
            raise BundleError("the network gives NaN or infinite probabilities; its weights are unusable")
        return mean.cpu().numpy()

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = tuple(x.shape)
        try:
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                logits = self.network(x.contiguous(memory_format=torch.channels_last))
        except (RuntimeError, AssertionError, ValueError) as error:
            # torch.OutOfMemoryError is a RuntimeError, and so is what the CPU allocator raises.
            if "memory" in str(error):
                raise PlanError(
                    f"out of memory in a forward pass of {shape}; a smaller tile or batch needs less: "
                    "--set tiling.tile=256 --set inference.batch=1"
                ) from error
            raise BundleError(
                f"the network cannot take an input of {shape}: {one_line(error)[:200]}; check tile and "
                "divisor in its card"
            ) from error
        if logits.shape != (x.shape[0], self.classes, *x.shape[2:]):
            raise BundleError(
                f"the network turns {tuple(x.shape)} into {tuple(logits.shape)}; {self.classes} channels of "
                "the same size are needed"
            )
        return torch.softmax(logits.float().contiguous().div_(self.temperature), dim=1)


SYMMETRIES = {
    "none": [(0, False)],
    "flips": [(0, False), (0, True), (2, False), (2, True)],
    "d4": [(k, f) for k in range(4) for f in (False, True)],
}
"""(quarter turns, flip along columns) of each kind; the four flips keep the shape of any tile."""


def turn(x: torch.Tensor, quarter_turns: int, flip: bool) -> torch.Tensor:  # noqa: FBT001
    """Turn a batch of tiles, then mirror its columns."""
    turned = torch.rot90(x, quarter_turns, (2, 3)) if quarter_turns else x
    return turned.flip(3) if flip else turned


def turn_back(x: torch.Tensor, quarter_turns: int, flip: bool) -> torch.Tensor:  # noqa: FBT001
    """Undo `turn`."""
    straight = x.flip(3) if flip else x
    return torch.rot90(straight, -quarter_turns, (2, 3)) if quarter_turns else straight


_loaded: dict[SegmenterSpec, Segmenter] = {}
_pools: dict[int, ThreadPoolExecutor] = {}
_loading = threading.Lock()


def device_pool(spec: SegmenterSpec) -> ThreadPoolExecutor:
    """Return this process's threads for forward passes; all blocks in hand share them.

    On a CPU each pass runs on a single thread and several tiles run at once, because oneDNN splits the sums
    of some convolutions over its threads: with more than one, the last bits depend on the machine's cores.
    """
    with _loading:
        if spec.passes not in _pools:
            _pools[spec.passes] = ThreadPoolExecutor(
                spec.passes, thread_name_prefix="forward", initializer=torch.set_num_threads, initargs=(1,)
            )
        return _pools[spec.passes]


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
            _loaded[spec] = TorchSegmenter(bundle, spec)
        return _loaded[spec]


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here.

    Raises
    ------
    ConfigError
        When the device asked for is not there.
    """
    count = torch.cuda.device_count()
    if device == "auto":
        return "cuda" if count else "cpu"
    if device != "cpu" and int(device.partition(":")[2] or 0) >= count:
        raise ConfigError(f"inference.device: {device} is not available here ({count} GPUs); use device: cpu")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision that `auto` means: fp32, the only one that keeps all classes as trained.

    Raises
    ------
    ConfigError
        For fp16 on a CPU, which has no fast half-precision convolutions.
    """
    if precision == "fp16" and device == "cpu":
        raise ConfigError("inference.precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    return "fp32" if precision == "auto" else precision


def forward_passes(device: str, workers: int) -> int:
    """Return how many forward passes each of several workers on this machine runs at once."""
    return max(1, len(os.sched_getaffinity(0)) // workers) if device == "cpu" else 1
