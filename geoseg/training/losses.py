"""Losses for imbalanced classes.

Labelled pixels are selected first, and each loss is computed on these alone: ignored pixels have no influence
on any loss or gradient, exactly.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.config.training import LossTerm
from geoseg.core.legend import IGNORE

Term = Callable[[Tensor, Tensor], Tensor]


class Loss(nn.Module):
    """The weighted sum of several losses.

    Parameters
    ----------
    terms
        The losses and their weights.
    counts
        Labelled pixels of each class in train, shape (C,), for the class weights.
    """

    def __init__(self, terms: Sequence[LossTerm], counts: NDArray[np.int64]) -> None:
        super().__init__()
        self.factors = [t.weight for t in terms]
        self.terms = nn.ModuleList(_Term(t, class_weights(counts, t.class_weights)) for t in terms)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch: logits (N, C, H, W), target (N, H, W) with 255 where ignored."""
        chosen = target != IGNORE
        picked = logits.float().movedim(1, -1)[chosen]
        if len(picked) == 0:
            # Connected to the network, with the gradient zero.
            return logits.sum() * 0.0
        truth = target[chosen].long()
        return sum(
            (f * term(picked, truth) for f, term in zip(self.factors, self.terms, strict=True)),
            logits.new_zeros((), dtype=torch.float32),
        )


class _Term(nn.Module):
    """One loss on logits (P, C) and classes (P,) of labelled pixels."""

    weights: Tensor

    def __init__(self, term: LossTerm, weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.term = term
        # A buffer moves to the device with the module; this one is not part of a checkpoint.
        self.register_buffer("weights", torch.from_numpy(weights), persistent=False)
        self.lovasz_loss = smp.losses.LovaszLoss("multiclass")

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        kind, t = self.term.kind, self.term
        if kind in ("cross-entropy", "focal"):
            if kind == "focal":
                mean = focal(logits, truth, t.gamma, self.weights)
            else:
                mean = F.cross_entropy(logits, truth, self.weights, label_smoothing=t.label_smoothing)
            # Pixels of classes that train lacks have no weight: a batch of val may hold no others.
            return torch.where((self.weights[truth] > 0).any(), mean, mean.new_zeros(()))
        if kind == "lovasz":
            # The pixels as an image of one row; smp applies the softmax.
            return self.lovasz_loss(logits.T[None, :, None], truth[None, None])  # type: ignore[no-any-return]
        alpha, beta = {"dice": (0.5, 0.5), "jaccard": (1.0, 1.0), "tversky": (t.alpha, t.beta)}[kind]
        return tversky(logits, truth, alpha, beta)


def tversky(logits: Tensor, truth: Tensor, alpha: float, beta: float) -> Tensor:
    """Return the Tversky loss, the mean over the classes that occur (Salehi et al. 2017).

    alpha = beta = 0.5 is the Dice loss (Milletari et al. 2016), alpha = beta = 1 the Jaccard loss.

    Parameters
    ----------
    logits
        Shape (P, C).
    truth
        Classes, shape (P,).
    alpha, beta
        Weights of false positives and of false negatives.
    """
    p = logits.softmax(1)
    one_hot = F.one_hot(truth, logits.shape[1])
    both, predicted, true = (p * one_hot).sum(0), p.sum(0), one_hot.sum(0)
    index = both / (both + alpha * (predicted - both) + beta * (true - both)).clamp(min=1e-7)
    return 1 - index[true > 0].mean()


def focal(logits: Tensor, truth: Tensor, gamma: float, weights: Tensor) -> Tensor:
    """Return the multi-class focal loss (Lin et al. 2017): cross-entropy times (1 - p)^gamma."""
    log_p = F.log_softmax(logits, 1).gather(1, truth[:, None])[:, 0]
    weight = weights[truth]
    return (-weight * (1 - log_p.exp()) ** gamma * log_p).sum() / weight.sum()


def class_weights(
    counts: NDArray[np.int64], kind: Literal["none", "inverse", "sqrt", "effective"]
) -> NDArray[np.float32]:
    """Return the weight of each class, such that the mean weight of the labelled pixels is 1.

    Parameters
    ----------
    counts
        Labelled pixels of each class, shape (C,); a class without pixels gets the weight 0.
    kind
        `inverse`: 1 / frequency; `sqrt`: its square root; `effective`: the inverse effective number of
        samples (Cui et al. 2019) with beta = 1 - 1 / pixels.
    """
    n = np.maximum(counts, 1).astype(np.float64)
    total = counts.sum()
    if kind == "none":
        weights = np.ones_like(n)
    elif kind == "inverse":
        weights = 1 / n
    elif kind == "sqrt":
        weights = 1 / np.sqrt(n)
    else:
        beta = 1 - 1 / max(total, 2)
        weights = (1 - beta) / -np.expm1(n * np.log(beta))
    weights = np.where(counts > 0, weights, 0.0)
    return np.asarray(weights * total / (weights * counts).sum(), dtype=np.float32)
