"""An ONNX graph as a network of torch: tensors in, tensors out, without a copy to the host."""

import numpy as np
import torch

from geoseg.core.errors import BundleError
from geoseg.models.backends.onnx_session import OnnxError, failures, open_session
from geoseg.models.bundle import Bundle
from geoseg.models.onnx_file import check_alone

_TYPES = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(double)": (torch.float64, np.float64),
}


class OnnxNetwork:
    """The graph of a bundle in onnxruntime; its first output is the answer.

    onnxruntime reads the memory of torch's tensors and writes into it, on the device where they are.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        """Open the graph on a device.

        Raises
        ------
        BundleError
            When onnxruntime cannot read it, or it does not take and give one real number a pixel and band.
        PlanError
            When onnxruntime does not start on the device.
        """
        path = bundle.weights_path
        check_alone(path)
        try:
            # One thread: no sum is split, so the bits do not depend on the number of cores.
            self.session = open_session(path, str(device), threads=1)
        except OnnxError as error:
            raise BundleError(f"{path}: onnxruntime cannot read it: {str(error)[:160]}") from error
        entries = self.session.get_inputs()
        if len(entries) != 1:
            raise BundleError(f"{path}: it has {len(entries)} inputs; geoseg feeds one")
        self.entry, self.answer = entries[0], self.session.get_outputs()[0]
        if unknown := {self.entry.type, self.answer.type} - _TYPES.keys():
            raise BundleError(f"{path}: takes or gives {', '.join(sorted(unknown))}; real numbers are needed")
        self.channels = int(bundle.config["classes"])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answer (N, channels, rows, cols) for a batch (N, B, rows, cols).

        Raises
        ------
        RuntimeError
            When the graph does not take it, or answers in another shape.
        """
        taken, given = _TYPES[self.entry.type], _TYPES[self.answer.type]
        x = x.to(taken[0]).contiguous()
        answer = torch.empty((x.shape[0], self.channels, *x.shape[2:]), dtype=given[0], device=x.device)
        device = x.device.type, x.device.index or 0
        binding = self.session.io_binding()
        try:
            binding.bind_input(self.entry.name, *device, taken[1], tuple(x.shape), x.data_ptr())
            binding.bind_output(self.answer.name, *device, given[1], tuple(answer.shape), answer.data_ptr())
            if x.device.type == "cuda":
                # onnxruntime has a stream of its own.
                torch.cuda.current_stream(x.device).synchronize()
            self.session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except failures() as error:
            raise RuntimeError(str(error)) from error
        return answer
