"""Contrast between pixels as an auxiliary loss: one class is drawn together, others are pushed apart.

After Wang et al. 2021, "Exploring Cross-Image Pixel Contrast for Semantic Segmentation" (ICCV), with the
pixels of a batch, of whatever image, as positives and negatives; there is no memory bank.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from geoseg.config.training import LossTerm
from geoseg.core.errors import ConfigError
from geoseg.core.legend import IGNORE
from geoseg.models.networks.architectures import empty_tile, without_content


class PixelContrast(nn.Module):
    """The loss, and the projection of features that only a training has.

    Parameters
    ----------
    term
        Weight, temperature, dimensions of the projection, and anchors of a step.
    channels
        Channels of the features.
    """

    def __init__(self, term: LossTerm, channels: int) -> None:
        super().__init__()
        self.term = term
        self.project = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, term.dim, 1)
        )

    def forward(self, features: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted loss of a batch.

        Parameters
        ----------
        features
            What the decoder hands to the head, shape (N, F, h, w).
        logits
            Shape (N, C, H, W).
        target
            Channels, 255 where ignored, shape (N, H, W).
        """
        size = features.shape[-2:]
        truth, said = (_shrunk(t, size) for t in (target, logits.detach().max(1).indices))
        chosen = hard_anchors(truth.flatten(), said.flatten(), self.term.samples)
        # Connected to the network, also when too few are left.
        projected: Tensor = self.project(features).float()
        vectors = F.normalize(projected.movedim(1, -1).flatten(0, 2)[chosen], dim=1)
        loss = info_nce(vectors, truth.flatten()[chosen], self.term.temperature)
        return self.term.weight * loss + 0.0 * projected.sum()


def hard_anchors(truth: Tensor, said: Tensor, samples: int) -> Tensor:
    """Return the pixels to compare: of each class as many, half of them wrongly classified.

    Where a class lacks wrong or right pixels, more of the other kind are taken.

    Parameters
    ----------
    truth, said
        Labelled and predicted channels, shape (P,), 255 where ignored.
    samples
        Most pixels of all classes.

    Returns
    -------
    Tensor
        Positions, shape (S,).
    """
    classes = torch.unique(truth[truth != IGNORE])
    share = samples // max(1, len(classes))
    parts = [truth.new_empty(0, dtype=torch.long)]
    for number in classes:
        hard, easy = (_shuffled((truth == number) & wrong) for wrong in (said != truth, said == truth))
        many = min(len(hard), max(share - share // 2, share - len(easy)))
        parts += [hard[:many], easy[: share - many]]
    return torch.cat(parts)


def info_nce(vectors: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """Return the mean over anchors of the pixel-to-pixel contrast (equation 3 of the paper).

    Every vector is an anchor; those of its class are its positives, all others its negatives. An anchor that
    is the only one of its class has no positive and is left out.

    Parameters
    ----------
    vectors
        Of length 1, shape (S, D).
    classes
        Their channels, shape (S,).
    temperature
        Divisor of the products.
    """
    products = vectors @ vectors.T / temperature
    same = classes[:, None] == classes
    positive = same & ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    rivals = products.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    each = torch.logaddexp(products, rivals) - products
    each = torch.where(positive, each, 0.0)
    count = positive.sum(1)
    means = each.sum(1) / count.clamp(min=1)
    return means.sum() / (count > 0).sum().clamp(min=1)


@contextmanager
def watched_features(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the network hands to its head in the block."""
    seen: list[Tensor] = []
    watch = _head(network).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        watch.remove()


def feature_channels(network: nn.Module) -> int:
    """Return the channels of what the network hands to its head.

    Raises
    ------
    ConfigError
        When the network has no `segmentation_head`.
    """
    empty = without_content(network)
    with watched_features(empty) as seen, torch.no_grad():
        empty(empty_tile(empty, 1))
    return int(seen[0].shape[1])


def _head(network: nn.Module) -> nn.Module:
    head = getattr(network, "segmentation_head", None)
    if not isinstance(head, nn.Module):
        raise ConfigError(
            f"loss: contrastive needs the features before the network's segmentation_head, and "
            f"{type(network).__name__} has none; leave that term out"
        )
    return head


def _shrunk(channels: Tensor, size: torch.Size) -> Tensor:
    """Return the channels at the features' pixels, the nearest of each."""
    return F.interpolate(channels[:, None].float(), size, mode="nearest-exact")[:, 0].long()


def _shuffled(mask: Tensor) -> Tensor:
    found = mask.nonzero()[:, 0]
    return found[torch.randperm(len(found), device=found.device)]
