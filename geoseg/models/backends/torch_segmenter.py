"""Run a network on tensors of torch, on a GPU or a CPU: with torch, or an ONNX graph with onnxruntime."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.models.backends.failures import (
    not_finite_error,
    out_of_memory_error,
    unsupported_input_error,
    wrong_output_error,
)
from geoseg.models.backends.feed import Feed
from geoseg.models.backends.folding import fold_batch_norms
from geoseg.models.backends.inductor import CompiledNetwork
from geoseg.models.backends.onnx_network import OnnxNetwork
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.backends.torch_arrays import TorchArrays
from geoseg.models.bundle import Bundle
from geoseg.models.feeding import fits, probabilities
from geoseg.models.symmetries import SYMMETRIES, turn, turn_back
from geoseg.tiling.arrays import HOST, Arrays


def arrays_for(device: torch.device) -> Arrays:
    """Return the arrays in which predictions are summed: on the device; on a CPU, with compiled loops."""
    return HOST if device.type == "cpu" else TorchArrays(device)


def set_deterministic(device: torch.device) -> None:
    """Let a GPU compute without the rounding of TF32, and with the same kernels in every run."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


class TorchSegmenter:
    """The network of a bundle, fed and answered in torch."""

    def __init__(self, bundle: Bundle, spec: SegmenterSpec) -> None:
        self.device = torch.device(spec.device)
        set_deterministic(self.device)
        self.arrays = arrays_for(self.device)
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[spec.precision]
        self.symmetries = SYMMETRIES[spec.augment]
        card = bundle.card
        self.card, self.feed = card, Feed(card)
        self.network = self._network(bundle, spec.backend)

    def _network(self, bundle: Bundle, backend: str) -> Callable[[torch.Tensor], torch.Tensor]:
        if backend == "onnxruntime":
            return OnnxNetwork(bundle, self.device)
        network = fold_batch_norms(
            bundle.network(), len(self.card.bands), self.card.tile.min, partial(probabilities, self.card)
        )
        # Convolutions of oneDNN and cuDNN are faster with channels last.
        network = network.to(self.device).to(memory_format=torch.channels_last)
        return CompiledNetwork(network) if backend == "inductor" else network

    @torch.inference_mode()
    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:  # noqa: ARG002
        """See `Segmenter`; only a compiled network depends on the shape."""
        if isinstance(self.network, CompiledNetwork):
            self._forward(torch.zeros(shape, device=self.device))

    @torch.inference_mode()
    def predict(self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        """Return class probabilities, see `Segmenter`."""
        try:
            if self.arrays is not HOST:
                return self._predict(values, valid, gain, bias)
            return self._predict(torch.from_numpy(values), torch.from_numpy(valid), gain, bias).numpy()
        except torch.OutOfMemoryError as error:
            raise out_of_memory_error(tuple(values.shape)) from error

    def _predict(
        self,
        values: torch.Tensor,
        valid: torch.Tensor,
        gain: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> torch.Tensor:
        x = self.feed.tensors(values, valid, gain, bias)
        total: torch.Tensor | None = None
        for quarter_turns, flip in self.symmetries:
            p = turn_back(self._forward(turn(x, quarter_turns, flip)), quarter_turns, flip)
            total = p if total is None else total.add_(p)
        assert total is not None  # noqa: S101 (there is always the identity)
        mean = total if len(self.symmetries) == 1 else total.div_(len(self.symmetries))
        if not torch.isfinite(mean.sum()):
            raise not_finite_error()
        return mean

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = tuple(x.shape)
        try:
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                logits = self.network(x.contiguous(memory_format=torch.channels_last))
        except (RuntimeError, AssertionError, ValueError) as error:
            # torch.OutOfMemoryError is a RuntimeError, and so is what the CPU allocator raises.
            if "memory" in str(error):
                raise out_of_memory_error(shape) from error
            raise unsupported_input_error(shape, error) from error
        given = tuple(logits.shape)
        if (given[0], *given[2:]) != (shape[0], *shape[2:]) or not fits(self.card, given[1]):
            raise wrong_output_error(shape, given, self.card.answered)
        answer = logits.float().contiguous()
        if self.card.is_plain:
            return torch.softmax(self.card.scaling.apply(answer, in_place=True), dim=1)
        result: torch.Tensor = probabilities(self.card, answer)
        return result
