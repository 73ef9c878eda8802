"""Compile a network with torch's inductor (`torch.compile`): fused kernels, for batches of one shape."""

import logging
import os
import threading
from typing import Any

import torch
from torch import nn

from geoseg.core.cache import cache_folder
from geoseg.core.errors import PlanError, one_line

SHAPE_LIMIT = 64
"""Shapes of batches that a process may compile a network for. The limit of torch is 8; beyond it torch stops
compiling and writes that to a log."""


class CompiledNetwork:
    """A network that the first batch of each shape compiles, which takes long.

    The kernels are kept in the user's cache folder, for later runs on the same machine.
    """

    def __init__(self, network: nn.Module) -> None:
        from torch._dynamo import config  # noqa: PLC0415 (slow to import)

        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))
        # It warns where there is no GPU, although none is asked for.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        # Beyond the limit, bits would depend on the shapes that were compiled before: raise an error instead.
        config.recompile_limit, config.fail_on_recompile_limit_hit = SHAPE_LIMIT, True
        self.network = torch.compile(network, backend="inductor", dynamic=False)
        self._known: set[tuple[tuple[int, ...], ...]] = set()
        self._compiling = threading.Lock()

    def __call__(self, x: torch.Tensor) -> Any:
        """Return the output of the network for a batch.

        Raises
        ------
        PlanError
            When the network cannot be compiled.
        """
        layout = tuple(x.shape), x.stride()
        if layout in self._known:
            return self.network(x)
        # One thread at a time: a second one, while torch compiles, would run without compiled kernels.
        with self._compiling:
            try:
                output = self.network(x)
            except Exception as error:
                if (refusal := _refusal(error)) is None:
                    raise
                raise refusal from error
            self._known.add(layout)
            return output


def _refusal(error: Exception) -> PlanError | None:
    """Return the error for a network that cannot be compiled; None if the error is of the network itself."""
    from torch._dynamo import exc  # noqa: PLC0415 (see above)

    inner = getattr(error, "inner_exception", None)
    if isinstance(inner, torch.OutOfMemoryError):
        return None
    if not isinstance(error, exc.TorchDynamoException | exc.FailOnRecompileLimitHit):
        return None
    return PlanError(
        f"inference.backend: inductor cannot compile this network here ({one_line(error)[:160]} ...); "
        "use --set inference.backend=torch"
    )
