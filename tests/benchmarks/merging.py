"""How detections of overlapping tiles become objects: this rule, its settings, and those of other tools.

`python -m tests.benchmarks merging [--scenes 5]`

A synthetic network looks at each tile of synthetic scenes (crowns that touch, houses, panels on halls, halls
larger than the overlap and than a tile). It misses some objects and more parts of objects, its masks are
jittered, its scores vary, and it finds objects that are none. The rules of other tools are written anew from
their descriptions: greedy suppression by boxes (ArcGIS, geoai), greedy merging by intersection over the
smaller box (SAHI), clusters of what no tile cuts (detectree2).

Found: of an object with an IoU of 0.5 or more, one to one. Duplicates lie on an object that another one
found. Swallowed: objects that were not found and lie in one of the results. Large: share of the halls longer
than a tile with an IoU of 0.75.

The last lines are time and peak memory of merging and painting a scene of 8192 px with about 10 000 objects;
the detections are made by the synthetic network, so they say nothing of the network itself.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from scipy import ndimage

from geoseg.core.detections import Detections
from geoseg.core.geometry import Span, Window
from geoseg.vector.objects import merge as merging
from geoseg.vector.objects import rule as rules_of_objects
from geoseg.vector.objects.collected import collected
from geoseg.vector.objects.merge import Merger
from geoseg.vector.objects.paint import Canvas, number, numbers_of, painted_windows
from geoseg.vector.objects.reported import Reported, cropped, report
from geoseg.vector.objects.rule import Detection, MergedObject, Rule, detections
from tests.vector.objects.scenes import IDS, Thing, grid_of, seen

SIDE, TILE, OVERLAP = 1200, 256, 64
HALL, CROWN = 1, 2


@dataclass(frozen=True)
class Map:
    """A scene, what its tiles report, and what they detect in all."""

    things: list[Thing]
    grid: object
    reported: dict[tuple[int, int], Reported]
    detected: dict[tuple[int, int], Reported]


def things_of(rng, side):  # noqa: C901 (a drawing in three steps)
    """Draw a scene: halls and houses apart, crowns that touch, panels on halls."""
    taken, things = np.zeros((side, side), bool), []
    scale = (side / SIDE) ** 2

    def put(mask, kind, gap):
        height, width = mask.shape
        for _ in range(60):
            top, left = (
                rng.integers(-height // 4, side - height // 2),
                rng.integers(-width // 4, side - width // 2),
            )
            thing = Thing(Window.of(int(top), int(left), height, width), mask, kind).within((side, side))
            rest = cropped(thing.mask, thing.window.rows.start, thing.window.cols.start)
            if rest is None:
                continue
            mine, (r0, c0, r1, c1) = rest
            around = taken[max(r0 - gap, 0) : r1 + gap, max(c0 - gap, 0) : c1 + gap]
            if around.any() if gap else (taken[r0:r1, c0:c1] & mine).any():
                continue
            taken[r0:r1, c0:c1] |= mine
            things.append(Thing(Window(Span(r0, r1), Span(c0, c1)), mine, kind))
            return

    def rectangle(lowest, highest):
        sides = [int(rng.integers(a, b)) for a, b in zip(lowest, highest, strict=True)]
        return np.ones(sides[:: rng.choice([1, -1])], bool)

    for _ in range(round(8 * scale)):
        put(rectangle((150, 40), (420, 110)), HALL, 3)
    halls = list(things)
    for _ in range(round(60 * scale)):
        put(rectangle((14, 10), (60, 34)), HALL, 3)
    for _ in range(round(420 * scale)):
        a, b = rng.uniform(5, 26, 2)
        n = int(max(a, b)) + 1
        y, x = np.mgrid[-n : n + 1, -n : n + 1]
        put((x / a) ** 2 + (y / b) ** 2 <= 1, CROWN, 0)
    for hall in halls:
        rows, cols = hall.window.rows, hall.window.cols
        for _ in range(3):
            height, width = (int(rng.integers(6, 13)) for _ in range(2))
            if min(len(rows) - height, len(cols) - width) > 4:
                top = rows.start + int(rng.integers(2, len(rows) - height - 1))
                left = cols.start + int(rng.integers(2, len(cols) - width - 1))
                things.append(
                    Thing(Window.of(top, left, height, width), np.ones((height, width), bool), HALL)
                )
    return things


def network(rng, things: Iterable[Thing], tile: Window, confusion: float) -> Detections:
    """Return what the synthetic network finds in a tile."""
    found = []
    for thing in things:
        part = seen(thing, tile)
        if part is None or part[2].sum() < 20:
            continue
        visible = part[2].sum() / thing.mask.sum()
        if rng.random() > (0.97 if visible > 0.999 else 0.35 + 0.6 * min(1, 2 * visible)):
            continue
        mask = np.pad(part[2], 4)
        step = int(rng.integers(-1, 2))
        mask = ndimage.binary_dilation(mask) if step > 0 else mask
        mask = ndimage.binary_erosion(mask) if step < 0 and part[2].sum() > 80 else mask
        inward = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        mask = inward + 6 * ndimage.gaussian_filter(rng.standard_normal(mask.shape), 2) > 0
        top, left = max(part[0] - 4, 0), max(part[1] - 4, 0)
        mask = mask[top - part[0] + 4 :, left - part[1] + 4 :][: TILE - top, : TILE - left]
        kind = thing.kind if rng.random() >= confusion else 3 - thing.kind
        score = 0.55 + 0.4 * visible**0.5 * rng.beta(6, 2)
        found.append((top, left, mask, kind, round(score * 10_000)))
    for _ in range(rng.poisson(0.15)):
        height, width = rng.integers(8, 20, 2)
        top, left = rng.integers(0, TILE - height), rng.integers(0, TILE - width)
        score = int(rng.integers(5_000, 7_000))
        found.append((int(top), int(left), np.ones((height, width), bool), CROWN, score))
    return Detections.of(found)


def make_map(seed, side=SIDE, confusion=0.0) -> Map:
    rng = np.random.default_rng(seed)
    things, grid = things_of(rng, side), grid_of((side, side), TILE, OVERLAP)
    near = {}
    for thing in things:
        for i in range(grid.rows.count):
            if thing.window.rows.intersect(grid.rows.span(i)):
                for j in range(grid.cols.count):
                    if thing.window.cols.intersect(grid.cols.span(j)):
                        near.setdefault((i, j), []).append(thing)
    valid = np.ones(grid.tile_shape, bool)
    reported, detected = {}, {}
    for i in range(grid.rows.count):
        for j in range(grid.cols.count):
            tile = grid.window(i, j)
            found = network(np.random.default_rng([seed, i, j]), near.get((i, j), ()), tile, confusion)
            reported[i, j] = report(found, tile, grid, valid, IDS)
            detected[i, j] = report(found, tile, grid, valid, IDS, "tile")
    return Map(things, grid, reported, detected)


def merge(grid, tiles, rule=Rule()) -> list[MergedObject]:  # noqa: B008 (frozen)
    found = detections(Reported.concatenate(list(tiles.values())))
    return list(Merger(grid, rule).add(list(tiles), found))


def by_class(grid, tiles):
    """Merge each class by itself."""
    whole = Reported.concatenate(list(tiles.values()))
    objects = []
    for kind in np.unique(whole.classes):
        found = {p: [d for d in ds if d.class_id == kind] for p, ds in detections(whole).items()}
        objects += Merger(grid, Rule()).add(list(tiles), found)
    return objects


def joined_by_class(grid, tiles):
    """Join parts of one class only: cut ones of two classes do not match."""
    before = rules_of_objects.relate

    def relate(some, others, shared, how):
        before(some, others, shared, how)
        of = {d.key: d for d in others}
        for one in some:
            for key in [k for k in one.matches if k in of]:
                if one.cut and of[key].cut and one.class_id != of[key].class_id:
                    del one.matches[key], of[key].matches[one.key]

    with mock.patch.object(merging, "relate", relate):
        return merge(grid, tiles)


def alone(one: Detection) -> MergedObject:
    return MergedObject(one.key, one.box, one.mask(), one.class_id, one.score, 1)


def box_overlap(a: Detection, b: Detection) -> tuple[float, float, float]:
    """Return the common area of two boxes, and the area of each."""
    rows = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    cols = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    areas = [(d.box[2] - d.box[0]) * (d.box[3] - d.box[1]) for d in (a, b)]
    return max(0, rows) * max(0, cols), *areas


def mask_overlap(a, b) -> tuple[int, int, int]:
    """Return the common pixels of two masks, and the pixels of each."""
    top, left = max(a.box[0], b.box[0]), max(a.box[1], b.box[1])
    bottom, right = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    masks = [d.mask if isinstance(d, MergedObject) else d.mask() for d in (a, b)]
    common = 0
    if top < bottom and left < right:
        parts = [
            m[top - d.box[0] : bottom - d.box[0], left - d.box[1] : right - d.box[1]]
            for m, d in zip(masks, (a, b), strict=True)
        ]
        common = int((parts[0] & parts[1]).sum())
    return common, int(masks[0].sum()), int(masks[1].sum())


def neighbours(found: Sequence[Detection]) -> list[list[int]]:
    """Return for each detection the later ones whose boxes meet its own."""
    boxes = np.array([d.box for d in found])
    return [
        (
            np.flatnonzero((boxes[i + 1 :, :2] < b[2:]).all(1) & (boxes[i + 1 :, 2:] > b[:2]).all(1)) + i + 1
        ).tolist()
        for i, b in enumerate(boxes)
    ]


def all_of(tiles) -> list[Detection]:
    found = detections(Reported.concatenate(list(tiles.values())))
    return sorted((d for ds in found.values() for d in ds), key=lambda d: d.key)


def greedy(tiles, overlap, threshold, *, smaller=False, join=False) -> list[MergedObject]:
    """Keep the best, drop or join what overlaps it and is of its class, and so on."""
    found, gone, objects = all_of(tiles), set(), []
    for i, later in enumerate(neighbours(found)):
        if i in gone:
            continue
        members = [found[i]]
        for j in later:
            if j not in gone and found[j].class_id == found[i].class_id:
                common, a, b = overlap(found[i], found[j])
                if common >= threshold * (min(a, b) if smaller else a + b - common) > 0:
                    gone.add(j)
                    members.append(found[j])
        objects.append(union(members) if join else alone(found[i]))
    return objects


def union(members: Sequence[Detection]) -> MergedObject:
    boxes = np.array([m.box for m in members])
    top, left, bottom, right = *boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()
    mask = np.zeros((bottom - top, right - left), bool)
    for m in members:
        mask[m.box[0] - top : m.box[2] - top, m.box[1] - left : m.box[3] - left] |= m.mask()
    return MergedObject(
        members[0].key, (top, left, bottom, right), mask, members[0].class_id, members[0].score, 1
    )


def clusters(tiles) -> list[MergedObject]:
    """Drop what its tile cuts, cluster by IoU 0.7 or containment 0.85, keep the best of each cluster."""
    found = [d for d in all_of(tiles) if not d.cut]
    root = list(range(len(found)))

    def find(i):
        while root[i] != i:
            i = root[i]
        return i

    for i, later in enumerate(neighbours(found)):
        for j in later:
            common, a, b = mask_overlap(found[i], found[j])
            if common > 0.7 * (a + b - common) or common > 0.85 * min(a, b):
                first, second = sorted((find(i), find(j)))
                root[second] = first
    return [alone(found[i]) for i in sorted({find(i) for i in range(len(found))})]


def judge(things: Sequence[Thing], objects: Sequence[MergedObject]) -> dict[str, float]:
    boxes = np.array(
        [(t.window.rows.start, t.window.cols.start, t.window.rows.stop, t.window.cols.stop) for t in things]
    )
    pairs = []
    for r, one in enumerate(objects):
        near = (boxes[:, 0] < one.box[2]) & (boxes[:, 2] > one.box[0])
        near &= (boxes[:, 1] < one.box[3]) & (boxes[:, 3] > one.box[1])
        for t in np.flatnonzero(near).tolist():
            true = MergedObject((0, 0, 0, 0), tuple(boxes[t].tolist()), things[t].mask, things[t].kind, 0, 1)
            common, mine, its = mask_overlap(one, true)
            if common:
                pairs.append((common / (mine + its - common), r, t, common / mine, common / its))
    taken, found = {}, {}
    for iou, r, t, *_ in sorted(pairs, reverse=True):
        if iou >= 0.5 and r not in taken and t not in found:
            taken[r], found[t] = t, iou
    twice = {r for _, r, t, mine, _ in pairs if r not in taken and mine > 0.5 and t in found}
    swallowed = {t for _, _, t, _, its in pairs if t not in found and its > 0.5}
    large = [t for t, thing in enumerate(things) if max(thing.mask.shape) > TILE]
    return {
        "objects": len(things),
        "results": len(objects),
        "found": len(found),
        "IoU 0.75": sum(iou >= 0.75 for iou in found.values()),
        "right class": sum(objects[r].class_id == things[t].kind for r, t in taken.items()),
        "duplicates": len(twice),
        "swallowed": len(swallowed),
        "large": sum(found.get(t, 0) >= 0.75 for t in large) / max(1, len(large)),
    }


RULES: dict[str, Callable[[Map], list[MergedObject]]] = {
    "this rule, match 0.4": lambda m: merge(m.grid, m.reported),
    "match 0.3": lambda m: merge(m.grid, m.reported, Rule(3_000)),
    "match 0.5": lambda m: merge(m.grid, m.reported, Rule(5_000)),
    "reach: tile": lambda m: merge(m.grid, m.detected),
    "each class by itself": lambda m: by_class(m.grid, m.reported),
    "parts joined within a class": lambda m: joined_by_class(m.grid, m.reported),
}
OTHERS: dict[str, Callable[[Map], list[MergedObject]]] = {
    "greedy NMS, box IoU 0.5": lambda m: greedy(m.detected, box_overlap, 0.5),
    "greedy NMS, box IoU 0.3": lambda m: greedy(m.detected, box_overlap, 0.3),
    "greedy NMS, mask IoU 0.5": lambda m: greedy(m.detected, mask_overlap, 0.5),
    "greedy merging, box IoS 0.5": lambda m: greedy(m.detected, box_overlap, 0.5, smaller=True, join=True),
    "clusters of what is whole": lambda m: clusters(m.detected),
}


def compare(scenes: int, confusion: float, rules) -> None:
    maps = [make_map(seed, confusion=confusion) for seed in range(scenes)]
    print(f"\n{scenes} scenes of {SIDE} px, tiles {TILE}, overlap {OVERLAP}, {confusion:.0%} wrong classes\n")
    head = None
    for name, rule in rules.items():
        rows, start = [], time.process_time()
        results = [rule(m) for m in maps]
        seconds = (time.process_time() - start) / scenes
        rows = [judge(m.things, r) for m, r in zip(maps, results, strict=True)]
        if head is None:
            head = [*rows[0], "CPU s"]
            print("| rule | " + " | ".join(head) + " |")
            print("|" + " --- |" * (len(head) + 1))
        means = [float(np.mean([r[k] for r in rows])) for k in rows[0]]
        cells = [f"{v:.2f}" if k == "large" else f"{v:.1f}" for k, v in zip(rows[0], means, strict=True)]
        print(f"| {name} | " + " | ".join([*cells, f"{seconds:.2f}"]) + " |", flush=True)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def large_scene(side: int = 8192) -> None:
    """Merge and paint a large scene; print time, open detections and memory."""
    scene, shape = make_map(0, side), (side, side)
    before, start, most = peak(), time.process_time(), 0
    total = sum(map(len, scene.reported.values()))
    with tempfile.TemporaryDirectory() as folder:
        merger = Merger(scene.grid, Rule())

        def objects():
            nonlocal most
            for place, reported in scene.reported.items():
                yield from merger.add([place], detections(reported))
                most = max(most, merger.open)

        with collected(objects(), Path(folder) / "bits") as found:
            merged, canvas = time.process_time() - start, Canvas(found)
            numbered = number(found, canvas, shape, lambda w: np.ones(w.shape, bool))
            for _ in painted_windows(canvas, numbers_of(numbered, len(found)), shape):
                pass
    painted = time.process_time() - start - merged
    more = peak() - before
    print(f"\n{side} x {side} px: {len(scene.things)} objects, {total} detections, {len(numbered)} merged")
    print(f"at most {most} detections open; merged in {merged:.1f} CPU s, painted in {painted:.1f}")
    print(f"{more:.0f} MB more than {before:.0f} MB before")


def main() -> None:
    parser = argparse.ArgumentParser(prog="merging")
    parser.add_argument("--scenes", type=int, default=5)
    scenes = parser.parse_args().scenes
    compare(scenes, 0.0, {**RULES, **OTHERS})
    compare(scenes, 0.1, RULES)
    large_scene()


if __name__ == "__main__":
    main()
