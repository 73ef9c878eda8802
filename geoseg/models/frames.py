"""Weights of vision transformers that look at several dates, such as Prithvi, for networks that look at one.

Prithvi is a masked autoencoder whose encoder has the layers of timm's vision transformers, and their names;
two tensors also have an axis of time (https://huggingface.co/ibm-nasa-geospatial). What they say of the first
date is what the same network holds when it is built for a single one.
"""

from collections.abc import Mapping

from torch import Tensor

_PLACES = "pos_embed"


def first_frame(taken: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without their axis of time; all others unchanged.

    Parameters
    ----------
    taken
        Tensors by the names in the network. Kernels (out, in, 1, rows, cols) of a 3-D convolution become 2-D;
        of embeddings of places (1, 1 + frames x places, width), frame by frame after a class token, those of
        the first frame remain.
    target
        The tensors of the network, without time.
    """
    return {k: _of_first(k, v, target[k]) if k in target else v for k, v in taken.items()}


def _of_first(name: str, value: Tensor, target: Tensor) -> Tensor:
    if value.ndim == 5 and target.ndim == 4 and value.shape[2] == 1:
        return value[:, :, 0]
    if name.endswith(_PLACES) and value.ndim == 3 and value.shape[::2] == target.shape[::2]:
        frames, rest = divmod(value.shape[1] - 1, target.shape[1] - 1)
        if frames > 1 and not rest:
            return value[:, : target.shape[1]]
    return value
