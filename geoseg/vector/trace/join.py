"""From the chains of blocks to the arcs of the map."""

import numpy as np

from geoseg.vector.trace import _chain_kernels
from geoseg.vector.trace.chains import JOINT, Chains


def join(chains: Chains) -> Chains:
    """Join chains where two of them meet in a joint.

    The direction of a complete arc does not depend on the blocks. It runs from the smaller of its two corners
    in scan order to the larger one; a loop begins at its first corner in scan order and leaves it eastwards;
    an arc that returns to its own node goes first to the smaller of the two corners next to the node.

    Parameters
    ----------
    chains
        Their `sides` are regions of the map: the same number for the same region.
    """
    starts, ends = chains.vertices[chains.offsets[:-1]], chains.vertices[chains.offsets[1:] - 1]
    corners = np.stack([starts, ends], axis=1).reshape(-1, 2).astype(np.int64)
    key = (corners[:, 0] << 32) | corners[:, 1]
    where = np.flatnonzero(chains.ends.reshape(-1) == JOINT)
    order = where[np.argsort(key[where], kind="stable")]
    mate = np.full(2 * len(chains), -1, np.int64)
    same = key[order[1:]] == key[order[:-1]]
    first, second = order[:-1][same], order[1:][same]
    mate[first], mate[second] = second, first
    return Chains(
        *_chain_kernels.join_chains(
            chains.vertices, chains.offsets, chains.sides, chains.ends.reshape(-1), mate
        )
    )
