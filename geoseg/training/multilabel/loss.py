"""Losses of labels, and the figures of an epoch."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.classification import MultilabelStatScores

from geoseg.config.training import LossTerm
from geoseg.core.legend import IGNORE


class LabelLoss(nn.Module):
    """The weighted sum of several losses of logits of each label on its own.

    Parameters
    ----------
    terms
        The losses and their weights.
    counts
        Pixels of train that have each label, shape (C,).
    labelled
        Labelled pixels of train.
    """

    def __init__(self, terms: Sequence[LossTerm], counts: NDArray[np.int64], labelled: int) -> None:
        super().__init__()
        self.factors = [t.weight for t in terms]
        self.terms = nn.ModuleList(
            _Bce(positive_weights(counts, labelled, t.class_weights)) if t.kind == "bce" else _region(t)
            for t in terms
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch: logits and target (N, C, H, W), 0 or 1, 255 where nothing is known."""
        if not (target != IGNORE).any():
            # Connected to the network, with the gradient zero.
            return logits.sum() * 0.0
        found = logits.float()
        total = found.new_zeros(())
        for factor, term in zip(self.factors, self.terms, strict=True):
            total = total + factor * term(found, target)
        return total


class _Bce(nn.Module):
    """Binary cross-entropy of the known pixels."""

    weights: Tensor

    def __init__(self, weights: NDArray[np.float32]) -> None:
        super().__init__()
        # A buffer moves to the device with the module; this one is not part of a checkpoint.
        self.register_buffer("weights", torch.from_numpy(weights)[:, None, None], persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        known = target != IGNORE
        losses = F.binary_cross_entropy_with_logits(
            logits, target.where(known, 0).to(logits.dtype), pos_weight=self.weights, reduction="none"
        )
        return losses[known].mean()


def _region(term: LossTerm) -> nn.Module:
    """Return a loss of segmentation_models_pytorch in its mode for several labels."""
    if term.kind == "focal":
        return _Focal(term.gamma)
    alpha, beta = {"dice": (0.5, 0.5), "jaccard": (1.0, 1.0)}.get(term.kind, (term.alpha, term.beta))
    return smp.losses.TverskyLoss("multilabel", alpha=alpha, beta=beta, ignore_index=IGNORE)  # type: ignore[no-any-return]


class _Focal(nn.Module):
    """Focal loss (Lin et al. 2017), the mean over the known pixels."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        # Of known pixels of all labels alike: the mode for several labels fails where some are ignored.
        self.loss = smp.losses.FocalLoss("binary", gamma=gamma)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        known = target != IGNORE
        loss: Tensor = self.loss(logits[known], target[known].to(logits.dtype))
        return loss


def positive_weights(
    counts: NDArray[np.int64], labelled: int, kind: Literal["none", "inverse", "sqrt", "effective"]
) -> NDArray[np.float32]:
    """Return the weight of pixels that have a label against those that have it not, shape (C,).

    Parameters
    ----------
    counts
        Pixels that have each label, shape (C,); a label without pixels gets the weight 1.
    labelled
        Labelled pixels.
    kind
        `inverse`: pixels without over pixels with the label; `sqrt`: the square root of it; `effective`: the
        ratio of effective numbers of samples (Cui et al. 2019) with beta = 1 - 1 / pixels.
    """
    there = np.maximum(counts, 1).astype(np.float64)
    lacking = np.maximum(labelled - counts, 1).astype(np.float64)
    if kind == "none":
        weights = np.ones_like(there)
    elif kind == "effective":
        log_beta = np.log1p(-1 / max(labelled, 2))
        weights = np.expm1(lacking * log_beta) / np.expm1(there * log_beta)
    else:
        weights = lacking / there if kind == "inverse" else np.sqrt(lacking / there)
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


class LabelMeter(nn.Module):
    """IoU and F1 of an epoch, with the threshold 0.5."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.counts = MultilabelStatScores(classes, average=None, ignore_index=IGNORE, validate_args=False)

    def see(self, output: Tensor, label: Tensor) -> None:
        """See `geoseg.training.task.Meter`."""
        self.counts.update(output.float().sigmoid(), label)

    def figures(self) -> dict[str, Any]:
        """See `geoseg.training.task.Meter`."""
        table: Any = self.counts.compute()
        both, wrong, _, missed, _ = table.reshape(self.classes, 5).double().unbind(1)
        iou, f1 = both / (both + wrong + missed), 2 * both / (2 * both + wrong + missed)
        micro = 2 * both.sum() / (2 * both + wrong + missed).sum()
        figures = {"macro_f1": float(f1.nanmean()), "micro_f1": float(micro)}
        return {"miou": float(iou.nanmean()), "iou": iou.tolist(), "figures": figures}

    def nothing(self) -> dict[str, Any]:
        """See `geoseg.training.task.Meter`."""
        return {"miou": math.nan, "iou": [], "figures": {"macro_f1": math.nan, "micro_f1": math.nan}}

    def reset(self) -> None:
        """Forget all batches."""
        self.counts.reset()
