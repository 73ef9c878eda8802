"""Which detections of overlapping tiles are one object.

Everything counts pixels and compares keys that are a total order, so the result depends on the set of
detections alone, not on the order in which they come:

1. Two detections of different tiles *match* when their masks, both restricted to what both tiles saw, have an
   IoU of at least `Rule.match`. A part of a large object has a small IoU with the whole of it, and a small
   object on a large one lies wholly inside it; where both tiles look, only masks of one object agree.
2. Complete detections are kept in the order of their keys (score, then place) unless a kept one matches: the
   lexicographically first maximal independent set, which is unique. One that is cut by its tile goes when a
   kept complete one matches it, or holds half of its pixels.
3. Of the cut ones that remain, two are joined when they match and each is the best match of the other in its
   tile. What is connected so is one object; its mask is the union, its score the mean by area, its class that
   of the largest and surest parts.

Classes decide nothing before: a network that wavers between two classes still means one object. Within a tile
nothing is merged: there the network has told its objects apart, also one that lies on another.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.vector.objects.reported import Reported, unpacked

Place = tuple[int, int]
"""Row and column of a tile."""

Box = tuple[int, int, int, int]
"""First row, first column, row and column behind the last."""

Key = tuple[int, int, int, int]
"""Minus the score, row and column of the tile, number in the tile: the best comes first."""

_WHOLE = 10_000


@dataclass(frozen=True)
class Rule:
    """What is decided of the rule by settings."""

    match: int = 4_000
    """Least IoU of two detections that are one object, in 1/10000."""


@dataclass(eq=False, slots=True)
class Detection:
    """A detection of a tile, and what is known of it and others."""

    key: Key
    box: Box
    class_id: int
    cut: bool
    """Whether its tile cuts it."""
    bits: NDArray[np.uint8]
    """Its packed mask."""
    matches: dict[Key, Fraction] = field(default_factory=dict)
    """IoU of each detection that matches it."""
    holders: set[Key] = field(default_factory=set)
    """Of a cut one: the complete ones of other tiles that hold half of its pixels."""
    held: set[Key] = field(default_factory=set)
    """Of a complete one: the cut ones of which it is a holder."""

    @property
    def place(self) -> Place:
        """The tile."""
        return self.key[1:3]

    @property
    def score(self) -> int:
        """In 1/10000."""
        return -self.key[0]

    @property
    def related(self) -> Iterator[Key]:
        """The detections on which its fate may depend, or theirs on it."""
        yield from self.matches
        yield from self.holders
        yield from self.held

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask within the box."""
        top, left, bottom, right = self.box
        return unpacked(self.bits, (bottom - top, right - left))


@dataclass(frozen=True)
class MergedObject:
    """An object of the map."""

    key: Key
    """Key of its best detection."""
    box: Box
    mask: NDArray[np.bool_]
    """Mask within the box."""
    class_id: int
    score: int
    """In 1/10000."""
    joined: int
    """Number of detections it was joined from; 1 when a tile saw all of it."""
    beyond: int = 0
    """Pixels that the mask had outside of the area of interest."""


def detections(reported: Reported) -> dict[Place, list[Detection]]:
    """Return the detections of each tile."""
    found = dict[Place, list[Detection]]()
    offsets = reported.offsets.tolist()
    rows = zip(
        reported.places.tolist(), reported.ranks.tolist(), reported.boxes.tolist(), reported.classes.tolist(),
        reported.scores.tolist(), reported.cut.tolist(), strict=True,
    )  # fmt: skip
    for number, ((row, col), rank, box, class_id, score, cut) in enumerate(rows):
        bits = reported.bits[offsets[number] : offsets[number + 1]]
        one = Detection((-score, row, col, rank), tuple(box), class_id, cut, bits)
        found.setdefault((row, col), []).append(one)
    return found


def relate(some: Sequence[Detection], others: Sequence[Detection], shared: Window, rule: Rule) -> None:
    """Note which detections of one tile match those of another, or hold them.

    Parameters
    ----------
    some, others
        The detections of the two tiles.
    shared
        The pixels that both tiles see.
    rule
        The settings.
    """
    some, others = _within(some, shared), _within(others, shared)
    if not some or not others:
        return
    met = _boxes_meet(some, others)
    seen = [_Seen.of(d, shared) if row.any() else None for d, row in zip(others, met.T, strict=True)]
    for one, row in zip(some, met, strict=True):
        if not row.any():
            continue
        mine = _Seen.of(one, shared)
        for number in np.flatnonzero(row).tolist():
            other, its = others[number], seen[number]
            common = 0 if its is None else mine.common(its)
            if its is not None and common:
                _note(one, mine, other, its, common, rule)


def _note(one: Detection, mine: "_Seen", other: Detection, its: "_Seen", common: int, rule: Rule) -> None:
    either = mine.pixels + its.pixels - common
    if _WHOLE * common >= rule.match * either:
        one.matches[other.key] = other.matches[one.key] = Fraction(common, either)
    if one.cut != other.cut:
        part, whole, area = (one, other, mine.all_pixels) if one.cut else (other, one, its.all_pixels)
        if 2 * common >= area:
            part.holders.add(whole.key)
            whole.held.add(part.key)


@dataclass(frozen=True)
class _Seen:
    """The part of a detection that another tile saw, too."""

    window: Window
    mask: NDArray[np.bool_]
    pixels: int
    all_pixels: int

    @classmethod
    def of(cls, one: Detection, shared: Window) -> "_Seen":
        top, left, bottom, right = one.box
        around, whole = Window(Span(top, bottom), Span(left, right)), one.mask()
        window = around.intersect(shared)
        mask = whole[window.relative_to(around)]
        return cls(window, mask, int(np.count_nonzero(mask)), int(np.count_nonzero(whole)))

    def common(self, other: "_Seen") -> int:
        """Return the number of pixels of both masks."""
        both = self.window.intersect(other.window)
        mine, its = self.mask[both.relative_to(self.window)], other.mask[both.relative_to(other.window)]
        return int(np.count_nonzero(mine & its))


def _within(some: Sequence[Detection], shared: Window) -> list[Detection]:
    """Return the detections whose boxes reach into a window."""
    rows, cols = shared.rows, shared.cols
    return [
        d
        for d in some
        if d.box[0] < rows.stop and rows.start < d.box[2] and d.box[1] < cols.stop and cols.start < d.box[3]
    ]


def _boxes_meet(some: Sequence[Detection], others: Sequence[Detection]) -> NDArray[np.bool_]:
    """Return whether boxes have a pixel in common, shape (some, others)."""
    a, b = (np.array([d.box for d in side]) for side in (some, others))
    start, stop = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    met: NDArray[np.bool_] = (start < stop).all(axis=2)
    return met


def resolve(members: Iterable[Detection]) -> list[MergedObject]:
    """Return the objects of detections that are not related to any others."""
    of = {d.key: d for d in members}
    kept = set[Key]()
    for key in sorted(k for k, d in of.items() if not d.cut):
        if kept.isdisjoint(of[key].matches):
            kept.add(key)
    rest = {k for k, d in of.items() if d.cut and kept.isdisjoint(d.matches) and kept.isdisjoint(d.holders)}
    whole = [_joined([of[k]]) for k in sorted(kept)]
    return whole + [_joined([of[k] for k in sorted(group)]) for group in _groups(of, rest)]


def _groups(of: dict[Key, Detection], rest: set[Key]) -> list[list[Key]]:
    """Return the detections that are parts of one object, for each object of the remaining cut ones."""
    root = {k: k for k in rest}

    def find(key: Key) -> Key:
        while root[key] != key:
            key = root[key]
        return key

    best = {k: _best(of, k, rest) for k in rest}
    for key in rest:
        for other in best[key].values():
            if best[other].get(key[1:3]) == key:
                first, second = sorted((find(key), find(other)))
                root[second] = first
    groups = dict[Key, list[Key]]()
    for key in sorted(rest):
        groups.setdefault(find(key), []).append(key)
    return list(groups.values())


def _best(of: dict[Key, Detection], key: Key, rest: set[Key]) -> dict[Place, Key]:
    """Return the best match of a detection in each tile, among the remaining ones."""
    best = dict[Place, tuple[Fraction, Key]]()
    for other, iou in of[key].matches.items():
        if other in rest:
            mine, place = (-iou, other), of[other].place
            if place not in best or mine < best[place]:
                best[place] = mine
    return {place: other for place, (_, other) in best.items()}


def _joined(parts: list[Detection]) -> MergedObject:
    """Return the union of the parts of one object, the best first."""
    boxes = np.array([p.box for p in parts])
    box = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    if len(parts) == 1:
        return MergedObject(parts[0].key, box, parts[0].mask(), parts[0].class_id, parts[0].score, 1)
    union = np.zeros((box[2] - box[0], box[3] - box[1]), np.bool_)
    areas = []
    for part in parts:
        (top, left, bottom, right), mask = part.box, part.mask()
        areas.append(int(np.count_nonzero(mask)))
        union[top - box[0] : bottom - box[0], left - box[1] : right - box[1]] |= mask
    weights = dict[int, int]()
    for area, part in zip(areas, parts, strict=True):
        weights[part.class_id] = weights.get(part.class_id, 0) + area * part.score
    # Of equal ones that of the best part, which comes first.
    class_id = max(weights, key=lambda kind: weights[kind])
    return MergedObject(parts[0].key, box, union, class_id, sum(weights.values()) // sum(areas), len(parts))
