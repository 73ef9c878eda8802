"""A soup: the mean of the weights of networks that started from the same ones.

Wortsman et al. 2022, Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time, ICML. Networks that start from the same weights and see their chips in other orders
often end in one basin of the loss, where the mean of their weights is a network as good as they are; of
networks with other starts it is not. So a soup is only kept where val says that it is not worse.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from geoseg.training.chips import TrainingChips


def mean_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of weights, name by name; numbers that are counts are those of the first.

    Examples
    --------
    >>> mean_weights([{"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}])
    {'w': tensor([2.])}
    """
    return {
        name: torch.stack([s[name].double() for s in states]).mean(0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }


def stir(
    network: nn.Module, states: Sequence[Mapping[str, Tensor]], chips: TrainingChips, batch: int
) -> None:
    """Give a network the mean weights, and its batch norms their statistics on the training chips.

    Statistics of the inputs of a layer are no mean of those that other weights had, so they are measured
    again over an epoch of chips, as `torch.optim.swa_utils.update_bn` does.

    Parameters
    ----------
    network
        The network, on the device that computes.
    states
        Weights by name.
    chips
        The chips of train.
    batch
        Chips in a forward pass.
    """
    network.load_state_dict(mean_weights(states))
    update_bn(_images(chips, batch), network, device=next(network.parameters()).device)
    network.eval()


def _images(chips: TrainingChips, batch: int) -> Iterator[Tensor]:
    """Yield an epoch of chips as batches (N, B, H, W), without a smaller last one, as in a fit."""
    for samples in DataLoader(chips, batch_size=batch, drop_last=len(chips) > batch):
        yield samples["image"]
