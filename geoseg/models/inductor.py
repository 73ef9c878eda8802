"""Compile a network with torch's inductor (`torch.compile`): fused kernels, for batches of one shape."""

import logging
import os
from typing import Any

import torch
from torch import nn

from geoseg.core.cache import cache_folder
from geoseg.core.errors import PlanError, one_line

# The compiler, which takes a second to import and comes with the first library that uses it, reads this then.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))


def compiled(network: nn.Module) -> Any:
    """Return the network so that the first batch of each shape compiles it, which takes up to minutes.

    The kernels are kept in the user's cache: later runs on the same machine take seconds.
    """
    # Without a GPU it says so, whether one is asked for or not.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    return torch.compile(network, backend="inductor", dynamic=False)


def refusal(error: BaseException) -> PlanError | None:
    """Return what to say when a network could not be compiled; None for errors of another kind."""
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415 (see above)

    if not isinstance(error, TorchDynamoException):
        return None
    return PlanError(
        f"inference.backend: inductor cannot compile this network here ({one_line(error)[:160]} ...); "
        "use --set inference.backend=torch"
    )
