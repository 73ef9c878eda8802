"""Compile a network with torch's inductor (`torch.compile`): fused kernels, for batches of one shape."""

import logging
import os
import threading
from typing import Any

import torch
from torch import nn

from geoseg.core.cache import cache_folder
from geoseg.core.errors import PlanError, one_line

SHAPES = 64
"""Shapes of batches that a process may compile for; torch's own limit is 8, after which it would no longer
compile, and say so in a log."""


class Compiled:
    """A network whose first batch of each shape compiles it, which takes long.

    The kernels are kept in the user's cache: later runs on the same machine find them.
    """

    def __init__(self, network: nn.Module) -> None:
        from torch._dynamo import config  # noqa: PLC0415 (slow to import)

        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))
        # Without a GPU it says so, whether one is asked for or not.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        # Rather an error than bits that depend on what was compiled before.
        config.recompile_limit, config.fail_on_recompile_limit_hit = SHAPES, True
        self.network = torch.compile(network, backend="inductor", dynamic=False)
        self._known: set[tuple[tuple[int, ...], ...]] = set()
        self._compiling = threading.Lock()

    def __call__(self, x: torch.Tensor) -> Any:
        """Return what the network makes of a batch.

        Raises
        ------
        PlanError
            When it cannot be compiled.
        """
        layout = tuple(x.shape), x.stride()
        if layout in self._known:
            return self.network(x)
        # One at a time: threads that meet while torch compiles would go on without what it compiles.
        with self._compiling:
            try:
                made = self.network(x)
            except Exception as error:
                if (said := _refusal(error)) is None:
                    raise
                raise said from error
            self._known.add(layout)
            return made


def _refusal(error: Exception) -> PlanError | None:
    """Return what to say when a network could not be compiled; None for errors of the network itself."""
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
