"""The quicklook: the class map beside the true-colour scene, with legend and scale bar."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import rasterio
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from rasterio.enums import Resampling

from geoseg.config.run_record import RecordedValues
from geoseg.core.files import write_atomic
from geoseg.core.legend import NODATA, Legend
from geoseg.core.notices import collect_warnings
from geoseg.report.map_images import read_small
from geoseg.report.scene_picture import ScenePicture
from geoseg.scenes.scene import Scene

LONGEST = 1000
"""Largest number of pixels along the longer side of each picture."""

_CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei",
    "PingFang SC", "Arial Unicode MS",
)  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """Texts and numbers on the quicklook."""

    title: str
    subtitle: str
    shares: dict[int, float]
    """Share of the valid pixels by class id, 0 to 1."""


def write_quicklook(
    path: Path, scene: Scene, picture: ScenePicture, class_map: Path, legend: Legend, caption: Caption
) -> None:
    """Draw the quicklook of a scene, its picture and its class map as PNG.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with mpl.rc_context({"font.family": _fonts()}), collect_warnings():
        # Matplotlib warns of glyphs that no installed font has, and draws boxes.
        key = _class_key(legend, caption)
        write_atomic(path, _drawn(scene, picture, _classes(class_map, legend), "Class map", key, caption))


def write_value_quicklook(
    path: Path, scene: Scene, picture: ScenePicture, values: Path, about: RecordedValues, caption: Caption
) -> None:
    """Draw the quicklook of a scene, its picture and its map of numbers with their colour bar, as PNG.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    unit = f" [{about.unit}]" if about.unit else ""
    shown = mpl.colormaps["viridis"]
    low, high = value_limits(about)
    small = read_small(values, LONGEST, Resampling.nearest)
    rgb = shown(((small - low) / (high - low)).clip(0, 1), bytes=True)[..., :3]
    rgb[np.isnan(small)] = 255

    def key(figure: Figure) -> None:
        bar = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), shown)
        figure.colorbar(bar, cax=figure.add_axes((0.845, 0.2, 0.015, 0.55)), label=f"{about.title}{unit}")

    with mpl.rc_context({"font.family": _fonts()}), collect_warnings():
        write_atomic(path, _drawn(scene, picture, rgb, about.title, key, caption))


def write_label_quicklook(
    path: Path, scene: Scene, picture: ScenePicture, labels: Path, legend: Legend, caption: Caption
) -> None:
    """Draw the quicklook of a scene, its picture and its labels, the rarest on top, as PNG.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with rasterio.open(labels) as src:
        step = max(1, -(-max(src.shape) // LONGEST))
        shape = (src.count, *(-(-n // step) for n in src.shape))
        small = src.read(out_shape=shape, resampling=Resampling.nearest)
    rgb = np.full((*small.shape[1:], 3), 232, dtype=np.uint8)
    rgb[small[0] == NODATA] = 255
    order = sorted(range(len(legend)), key=lambda i: -caption.shares.get(legend.classes[i].id, 0.0))
    for i in order:
        rgb[small[i] == 1] = legend.classes[i].rgb
    with mpl.rc_context({"font.family": _fonts()}), collect_warnings():
        key = _class_key(legend, caption)
        write_atomic(path, _drawn(scene, picture, rgb, "Labels, the rarest on top", key, caption))


def value_limits(about: RecordedValues) -> tuple[float, float]:
    """Return both ends of the colours of a map: where its values lie but for a thousandth at each end."""
    total = np.cumsum(about.histogram)
    edges = np.linspace(about.min, about.max, len(about.histogram) + 1)
    first = int(np.searchsorted(total, 0.001 * total[-1], side="right"))
    last = int(np.searchsorted(total, 0.999 * total[-1]))
    return float(edges[first]), float(edges[min(last, len(edges) - 2) + 1])


def _fonts() -> list[str]:
    """Return matplotlib's default font, then an installed font with Chinese, Japanese and Korean glyphs."""
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *[name for name in _CJK_FONTS if name in installed][:1]]


def _class_key(legend: Legend, caption: Caption) -> Callable[[Figure], None]:
    """Return what draws the classes and their shares beside a map."""

    def draw(figure: Figure) -> None:
        handles = [
            Patch(facecolor=c.color, edgecolor="#444444", linewidth=0.5,
                  label=f"{c.title}  {100 * caption.shares.get(i, 0.0):.1f} %")
            for i, c in legend.by_id().items()
        ]  # fmt: skip
        figure.legend(
            handles=handles, loc="center left", bbox_to_anchor=(0.835, 0.5), frameon=False, fontsize=10
        )

    return draw


def _drawn(
    scene: Scene,
    picture: ScenePicture,
    mapped: NDArray[np.uint8],
    title: str,
    key: Callable[[Figure], None],
    caption: Caption,
) -> bytes:
    step = max(1, -(-max(picture.rgb.shape) // LONGEST))
    aspect = scene.shape[0] / scene.shape[1]
    width = 13.0
    panel = min(max((width - 2.6) / 2 * aspect, 2.2), 12.0)
    figure = Figure(figsize=(width, panel + 1.0), dpi=110)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    extent = (0, scene.shape[1], scene.shape[0], 0)
    left.imshow(picture.rgb[::step, ::step], extent=extent, interpolation="nearest")
    right.imshow(mapped, extent=extent, interpolation="nearest")
    left.set_title(picture.title, fontsize=10)
    right.set_title(title, fontsize=10)
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    _scale_bar(right, scene)
    figure.subplots_adjust(left=0.01, right=0.83, bottom=0.03, top=1 - 0.75 / (panel + 1.0), wspace=0.03)
    key(figure)
    figure.suptitle(caption.title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.text(0.99, 0.985, caption.subtitle, ha="right", va="top", fontsize=8, color="#555555")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # A tight bounding box, so that long class names are not cut off at the edge.
    figure.savefig(
        buffer, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": "geoseg"}
    )
    return buffer.getvalue()


def _classes(class_map: Path, legend: Legend) -> NDArray[np.uint8]:
    table = np.full((256, 3), 255, dtype=np.uint8)
    for value, c in legend.by_id().items():
        table[value] = c.rgb
    table[NODATA] = 255
    with rasterio.open(class_map) as src:
        step = max(1, -(-max(src.shape) // LONGEST))
        shape = tuple(-(-n // step) for n in src.shape)
        small = src.read(1, out_shape=shape, resampling=Resampling.nearest)
    rgb: NDArray[np.uint8] = table[small]
    return rgb


def _scale_bar(axes: Any, scene: Scene) -> None:
    """Draw a scale bar of a round length, at most a quarter of the picture's width."""
    height, width = scene.shape
    gsd = scene.gsd_m
    if gsd is None:
        return
    length = _round_length(width * gsd / 4)
    pixels, thick = length / gsd, max(height * 0.012, 0.2)
    x, y = width * 0.04, height * 0.955
    axes.add_patch(Rectangle((x - width * 0.015, y - height * 0.06), pixels + width * 0.03, height * 0.085,
                             facecolor="white", alpha=0.8, linewidth=0))  # fmt: skip
    axes.add_patch(Rectangle((x, y), pixels, thick, facecolor="black", linewidth=0))
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(x + pixels / 2, y - height * 0.008, label, ha="center", va="bottom", fontsize=9)


def _round_length(length: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is not above a length."""
    power: float = 10.0 ** math.floor(math.log10(length))
    return max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= length)
