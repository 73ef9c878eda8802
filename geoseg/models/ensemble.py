"""Ensembles: bundles that classify the same pixels into the same classes, and whose answers are averaged."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.core.errors import BundleError, ConfigError, PlanError, listed
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.models.card import Card, CardBand, CardTile, GsdRange

if TYPE_CHECKING:
    import torch
    from torch import nn

MOST_MEMBERS = 16
"""Most networks of an ensemble: each keeps the sums of its own classes."""


@dataclass(frozen=True)
class Member:
    """A network of an ensemble, in terms of the ensemble."""

    bundle: Bundle
    bands: tuple[int, ...]
    """Place of each of its bands among those of the ensemble, from 0."""
    channels: tuple[int, ...]
    """Its channel of each class, in the order of the ensemble's classes."""


@dataclass(frozen=True, repr=False)
class Ensemble(Bundle):
    """Several bundles as one: the card says what they have in common."""

    members: tuple[Member, ...] = ()

    @property
    def architecture(self) -> str:
        """The networks, for messages."""
        return " + ".join(m.bundle.architecture for m in self.members)

    @property
    def weights_bytes(self) -> int:
        """Size of the weights of all networks on disk."""
        distinct = {m.bundle.sha256: m.bundle for m in self.members}
        return sum(b.weights_bytes for b in distinct.values())

    def check_trust(self) -> None:
        """Check that each network may be built here; see `Bundle.check_trust`."""
        for member in self.members:
            member.bundle.check_trust()

    def network(self) -> "nn.Module":
        """Raise a BundleError: there is no one network."""
        raise BundleError(f"{self.card.name}: is an ensemble of several networks; name one of them")

    def weights(self) -> "dict[str, torch.Tensor]":
        """Raise a BundleError: there is no one network."""
        raise BundleError(f"{self.card.name}: is an ensemble of several networks; name one of them")


def members_of(bundle: Bundle) -> tuple[Member, ...]:
    """Return the networks of an ensemble, or the one of a bundle."""
    if isinstance(bundle, Ensemble):
        return bundle.members
    return (Member(bundle, tuple(range(len(bundle.card.bands))), tuple(range(bundle.card.outputs))),)


def open_models(
    places: "str | Path | Bundle | Sequence[str | Path | Bundle]", *, trust: bool = False
) -> Bundle:
    """Open a bundle, or several as an ensemble.

    Parameters
    ----------
    places
        The bundle, or a list of bundles: folders, names, URIs or open ones, see `open_bundle`. A list of one
        is that one.
    trust
        Whether the networks may be Python code that is not geoseg's.

    Raises
    ------
    BundleError
        When a bundle cannot be opened.
    ConfigError
        When they do not classify pixels into the same classes.
    PlanError
        When no size of tiles fits all of them.
    """
    several = [places] if isinstance(places, str | Path | Bundle) else list(places)
    if not 1 <= len(several) <= MOST_MEMBERS:
        raise ConfigError(f"model: {len(several)} bundles are listed; give 1 to {MOST_MEMBERS}")
    bundles = [p if isinstance(p, Bundle) else open_bundle(p, trust=trust) for p in several]
    return bundles[0] if len(bundles) == 1 else ensemble_of(bundles)


def ensemble_of(bundles: Sequence[Bundle]) -> Ensemble:
    """Return bundles as an ensemble, with the classes of the first one; errors as `open_models`."""
    first = bundles[0]
    for bundle in bundles:
        _check_alike(first.card, bundle.card)
    bands: dict[str, CardBand] = {}
    for bundle in bundles:
        for band in bundle.card.bands:
            bands.setdefault(band.common_name, band)
    places = {name: i for i, name in enumerate(bands)}
    members = []
    for bundle in bundles:
        slugs = [c.slug for c in bundle.card.classes]
        channels = tuple(slugs.index(c.slug) for c in first.card.classes)
        members.append(Member(bundle, tuple(places[b.common_name] for b in bundle.card.bands), channels))
    shas = "".join(b.sha256 for b in bundles)
    return Ensemble(
        folder=first.folder,
        card=_card([b.card for b in bundles], tuple(bands.values())),
        config={"_model_class": "Ensemble"},
        sha256=hashlib.sha256(shas.encode()).hexdigest(),
        uri=first.uri,
        trusted=any(b.trusted for b in bundles),
        members=tuple(members),
    )


def _check_alike(first: Card, card: Card) -> None:
    """Raise a ConfigError when two networks do not classify pixels into the same classes."""
    for one in (first, card):
        if one.task != "classes":
            raise ConfigError(
                f"model: an ensemble is of networks that classify pixels, and {one.name} is of task "
                f"{one.task}; run it by itself"
            )
    if (first.resize is None) != (card.resize is None):
        whole, tiled = (first, card) if first.resize is not None else (card, first)
        raise ConfigError(
            f"model: {whole.name} takes whole pictures, which are resized, and {tiled.name} tiles; an "
            "ensemble is of one kind"
        )
    ours, theirs = ({c.slug for c in one.classes} for one in (first, card))
    if ours != theirs:
        lacking = [f"{card.name} has no {listed(sorted(ours - theirs), 3)}"] if ours - theirs else []
        lacking += [f"{first.name} no {listed(sorted(theirs - ours), 3)}"] if theirs - ours else []
        raise ConfigError(
            f"model: the networks of an ensemble need the same classes, by slug: {'; '.join(lacking)}"
        )


def _card(cards: Sequence[Card], bands: tuple[CardBand, ...]) -> Card:
    """Return what networks have in common; what only one network knows is asked of its own card."""
    first = cards[0]
    versions = list(dict.fromkeys(c.version for c in cards))
    measured = [c.memory_bytes_per_pixel for c in cards]
    return first.model_copy(
        update={
            "name": " + ".join(c.name for c in cards),
            "version": versions[0] if len(versions) == 1 else " + ".join(c.version for c in cards),
            "title": " + ".join(dict.fromkeys(c.title for c in cards)),
            "bands": bands,
            "covariance": None,
            "strangeness": None,
            # Each network scales its own logits.
            "temperature": 1.0,
            "calibration": None,
            "gsd_m": _gsd(cards),
            "tile": _tile(cards),
            # Those of one network were found on its own probabilities.
            "thresholds": first.thresholds if all(c.thresholds == first.thresholds for c in cards) else {},
            "memory_bytes_per_pixel": None if None in measured else max(m for m in measured if m is not None),
            "origin": None,
            "code": None,
        }
    )


def _gsd(cards: Sequence[Card]) -> GsdRange | None:
    """Return the range of all networks; where they do not meet, the check of each network says so."""
    ranges = [c.gsd_m for c in cards if c.gsd_m is not None]
    if len(ranges) < len(cards):
        return None
    low, high = max(r.min for r in ranges), min(r.max for r in ranges)
    return GsdRange(min=low, max=high) if low <= high else ranges[0]


def _tile(cards: Sequence[Card]) -> CardTile:
    """Return sizes of tiles that all networks take, the size of the smallest tiles and the widest overlap."""
    tiles = [c.tile for c in cards]
    step = math.lcm(*(t.divisor for t in tiles))
    low = -(-max(t.min for t in tiles) // step) * step
    high = min(t.max for t in tiles) // step * step
    if low > high:
        takes = [f"{c.name} {t.min} to {t.max}" for c, t in zip(cards, tiles, strict=True)]
        raise PlanError(
            f"model: the networks of an ensemble share their tiles, and no size fits all: {listed(takes, 4)} "
            f"px, in multiples of {step}; leave one out"
        )
    size = min(max(min(t.size for t in tiles) // step * step, low), high)
    overlap = min(max(t.overlap for t in tiles), size // 4 * 2)
    return CardTile(size=size, min=low, max=high, overlap=overlap, divisor=step)
