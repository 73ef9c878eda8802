"""Objects from COCO JSON: polygons or run lengths in pixels of an image."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.errors import SceneError, did_you_mean, one_line
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE, Remap
from geoseg.scenes.instance_sources import Outlines
from geoseg.scenes.instances import LabelObject, WindowObjects, cropped, present
from geoseg.scenes.versions import FileVersion, version_of


def is_coco(path: Path) -> bool:
    """Return whether a file is COCO JSON, and no GeoJSON."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    content = _content(version_of(str(path)))
    return "annotations" in content and "images" in content


@dataclass(frozen=True)
class CocoObjects:
    """The annotations of one image."""

    version: FileVersion
    image: int
    """Its id in the file."""
    geobox: GeoBox
    channel_of: tuple[tuple[int, int], ...]
    """Category id and channel of each."""

    @cached_property
    def _annotations(self) -> list[dict[str, Any]]:
        every = _by_image(self.version).get(self.image, [])
        for one in every:
            if not one.get("segmentation"):
                raise SceneError(
                    f"{self.version.path}: annotation {one.get('id')} has a box and no segmentation; masks "
                    "are needed"
                )
        return every

    def _channel(self, annotation: Mapping[str, Any]) -> int:
        # A crowd is a region of many objects that were not drawn one by one.
        crowd = bool(annotation.get("iscrowd"))
        return IGNORE if crowd else dict(self.channel_of).get(int(annotation["category_id"]), IGNORE)

    @cached_property
    def _outlines(self) -> Outlines:
        drawn = [a for a in self._annotations if isinstance(a["segmentation"], list)]
        shapes = [_outline(a["segmentation"]) for a in drawn]
        return Outlines(
            np.array(shapes, dtype=object),
            np.array([self._channel(a) for a in drawn], dtype=np.uint8),
            np.array([int(a["id"]) for a in drawn], dtype=np.int64),
        )

    @cached_property
    def _masks(self) -> tuple[LabelObject, ...]:
        """The objects that are given as run lengths, whole."""
        shape = self.geobox.shape.y, self.geobox.shape.x
        found = []
        for one in self._annotations:
            if isinstance(one["segmentation"], Mapping):
                whole = Window.of(0, 0, *shape)
                mask = mask_of_runs(one["segmentation"], shape, self.version.path, whole)
                found.append(cropped(int(one["id"]), self._channel(one), whole, mask, int(mask.sum())))
        return present(found)

    def read(self, window: Window) -> WindowObjects:
        """Return the objects of a window that lies inside the grid."""
        parts: list[LabelObject | None] = list(self._outlines.read(window))
        for one in self._masks:
            box = one.window.intersect(window)
            if box:
                mask = one.mask[box.relative_to(one.window)]
                parts.append(cropped(one.number, one.channel, box, mask, one.pixels))
        return WindowObjects(present(parts))

    def identity(self) -> dict[str, Any]:
        """Return the version of the file, the image and the classes."""
        version = self.version
        return {
            "files": [[version.path, version.size, version.stamp]],
            "image": self.image,
            "channels": [list(pair) for pair in self.channel_of],
        }


def open_coco(path: str, image: str, geobox: GeoBox, names: Mapping[str, int], remap: Remap) -> CocoObjects:
    """Open the annotations of one image.

    Parameters
    ----------
    path
        The COCO JSON.
    image
        File name of the image; folders before it are compared only where several images share the name.
    geobox
        Grid of the image, in whose pixels the annotations are.
    names
        Code of each class name, regardless of case.
    remap
        Codes of the classes; a category without such a name is taken by its id.

    Raises
    ------
    SceneError
        When the file is damaged, or lacks the image, or a category is no class.
    """
    version = version_of(path)
    content = _content(version)
    entry = _image(content["images"], image, path)
    if (entry["height"], entry["width"]) != (geobox.shape.y, geobox.shape.x):
        raise SceneError(
            f"{path}: {entry['file_name']} has {entry['height']} x {entry['width']} px there, and "
            f"{geobox.shape.y} x {geobox.shape.x} px here"
        )
    used = {int(a["category_id"]) for a in _by_image(version).get(int(entry["id"]), [])}
    categories = {int(c["id"]): str(c.get("name", "")) for c in content.get("categories", [])}
    codes = {name.strip().casefold(): code for name, code in names.items()}
    channels = {}
    for number in sorted(used):
        name = categories.get(number, "").strip().casefold()
        code = codes.get(name, number)
        if remap.unknown(np.array([code])):
            hint = did_you_mean(name, codes)
            raise SceneError(
                f"{path}: category {categories.get(number, number)!r} is no class{hint}; give "
                f"its id {number} to a class with codes:, or list it under ignore: in the legend"
            )
        channels[number] = int(remap.channels(np.array([code]))[0])
    return CocoObjects(version, int(entry["id"]), geobox, tuple(channels.items()))


@lru_cache(maxsize=4)
def _content(version: FileVersion) -> dict[str, Any]:
    try:
        content = json.loads(Path(version.path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SceneError(f"{version.path}: cannot be read as JSON: {one_line(error)[:120]}") from error
    return content if isinstance(content, dict) else {}


@lru_cache(maxsize=4)
def _by_image(version: FileVersion) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    try:
        for one in _content(version)["annotations"]:
            found.setdefault(int(one["image_id"]), []).append(one)
    except (KeyError, TypeError, ValueError) as error:
        raise SceneError(f"{version.path}: an annotation lacks image_id ({one_line(error)[:80]})") from error
    return found


def _image(images: list[dict[str, Any]], name: str, path: str) -> dict[str, Any]:
    same = [i for i in images if Path(str(i.get("file_name"))).name == Path(name).name]
    if len(same) > 1:
        same = [i for i in same if name.endswith(str(i["file_name"]))] or same
    if len(same) != 1:
        known = ", ".join(str(i.get("file_name")) for i in images[:3])
        raise SceneError(
            f"{path}: {'several images are' if same else 'no image is'} called {Path(name).name}; it has "
            f"{known}{', ...' * (len(images) > 3)}"
        )
    return same[0]


def _outline(parts: list[list[float]]) -> Any:
    rings = [np.array(p, dtype=np.float64).reshape(-1, 2) * (1, -1) for p in parts if len(p) >= 6]
    return shapely.MultiPolygon([shapely.Polygon(r) for r in rings])


def mask_of_runs(
    runs: Mapping[str, Any], shape: tuple[int, int], path: str, window: Window
) -> NDArray[np.bool_]:
    """Return a window of the mask of run lengths, which go down the columns and begin with pixels outside.

    Parameters
    ----------
    runs
        `size`, and `counts` as a list or as text.
    shape
        Rows and columns of the image.
    path
        The file, for errors.
    window
        The part of the image to return.

    Raises
    ------
    SceneError
        When the runs do not fit the image.
    """
    counts = runs["counts"]
    lengths = _unpacked(counts) if isinstance(counts, str) else np.array(counts, dtype=np.int64)
    if tuple(runs["size"]) != shape or lengths.sum() != shape[0] * shape[1] or (lengths < 0).any():
        raise SceneError(f"{path}: run lengths of {runs['size']} do not fit the image of {list(shape)}")
    # Only columns of the window are unpacked: an image may be large and an object small.
    first, last = window.cols.start * shape[0], window.cols.stop * shape[0]
    edges = np.cumsum(lengths).clip(first, last)
    within = np.diff(edges, prepend=first)
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, within)
    return flat.reshape(len(window.cols), shape[0]).T[window.rows.start : window.rows.stop]


def _unpacked(text: str) -> NDArray[np.int64]:
    """Return run lengths from their text form.

    Each number is written in groups of five bits, the lowest first, as letters from 48 on; bit 6 of a letter
    says that another group follows. From the fourth on, numbers are differences to the one two before.
    """
    lengths: list[int] = []
    value = shift = 0
    for byte in text.encode():
        group = byte - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return np.array(lengths, dtype=np.int64)
