"""Time and memory of polygons of square maps, against GDAL's polygonizer on the same files.

`python -m tests.benchmarks polygons`. Every measurement has a process of its own, and those of a round
follow each other, so that ratios within a round see the same machine. GDAL is the library that rasterio
brings, called directly (its C function `GDALPolygonize`, nothing made in Python) and through
`rasterio.features.shapes`. `SIDES="4096 8192"` takes some maps only.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy import ndimage

from tests.conftest import ROOT

REFERENCE = "GDAL, memory layer"
ROUNDS = {4096: 3, 8192: 3, 16384: 1}
PATTERN = 2048
_PEAK = """
import json, os, sys, time
from pathlib import Path
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6
def told(measure):
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    count = measure()
    print(json.dumps([count, time.process_time() - cpu, time.perf_counter() - wall, peak(), before]))
"""
OURS = (
    _PEAK
    + """
from concurrent.futures import ThreadPoolExecutor
import geoseg.scenes  # says how many decoded tiles GDAL may keep, as in a run
import numpy as np
import shapely
from geoseg.core.legend import Legend, LegendClass
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.recipe import Generalize, Recipe, Rules
from geoseg.core.ordered import Workers
from geoseg.vector.vectorize import vectorize
path, warm, how, threads = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
legend = Legend(tuple(LegendClass(i, f"c{i}", f"Class {i}", "#000000") for i in range(6)))
def found(path, workers):
    plain = Generalize(1.5 if how == "simplified" else 0)
    return polygons(MapFiles(path), workers, how=plain, folder=path.parent)
def arrays(path, workers):
    return sum(len(part) for part in found(path, workers))
def to_shapely(path, workers):
    kept = []
    for part in found(path, workers):
        xy, places = part.rings.vertices[:, ::-1].astype(float), (part.rings.offsets, part.rings.polygons)
        kept.append(shapely.from_ragged_array(shapely.GeometryType.POLYGON, xy, places))
    return sum(map(len, kept))
def package(path, workers):
    named = {"layer": "map", "formats": ("gpkg",), "provenance": {}}
    (made,) = vectorize(MapFiles(path), Recipe(Rules(legend)), workers, path.parent, **named)
    made.unlink()
    return None
do = {"arrays": arrays, "simplified": arrays, "shapely": to_shapely, "gpkg": package}[how]
with ThreadPoolExecutor(threads) as executor:
    workers = Workers(executor, 2 * threads)
    do(warm, workers)  # compiled code is loaded
    told(lambda: do(path, workers))
"""
)
GDAL = (
    _PEAK
    + """
import ctypes
from ctypes.util import find_library
import rasterio
beside = sorted(Path(rasterio.__file__).parents[1].glob("rasterio.libs/libgdal*"))
gdal = ctypes.CDLL(str(beside[0]) if beside else find_library("gdal"))
P, S, I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
def call(name, result, kinds, *values):
    function = getattr(gdal, name)
    function.restype, function.argtypes = result, kinds
    return function(*values)
def measure():
    call("GDALAllRegister", None, [])
    raster = call("GDALOpen", P, [S, I], sys.argv[1].encode(), 0)
    band = call("GDALGetRasterBand", P, [P, I], raster, 1)
    mask = call("GDALGetMaskBand", P, [P], band)
    driver = call("GDALGetDriverByName", P, [S], b"Memory") or call("GDALGetDriverByName", P, [S], b"MEM")
    source = call("GDALCreate", P, [P, S, I, I, I, I, P], driver, b"x", 0, 0, 0, 0, None)
    layer = call("GDALDatasetCreateLayer", P, [P, S, P, I, P], source, b"map", None, 3, None)
    call("OGR_L_CreateField", I, [P, P, I], layer, call("OGR_Fld_Create", P, [S, I], b"class_id", 0), 1)
    assert call("GDALPolygonize", I, [P, P, P, I, P, P, P], band, mask, layer, 0, None, None, None) == 0
    return call("OGR_L_GetFeatureCount", ctypes.c_longlong, [P, I], layer, 1)
told(measure)
"""
)
RASTERIO = (
    _PEAK
    + """
import rasterio
from rasterio.features import shapes
def measure():
    with rasterio.open(sys.argv[1]) as src:
        return sum(1 for _ in shapes(src.read(1), mask=src.read_masks(1) > 0, connectivity=4))
told(measure)
"""
)


def main() -> None:
    ways: dict[str, list[str]] = {
        "arrays, 1 thread": [sys.executable, "-c", OURS, "MAP", "WARM", "arrays", "1"],
        "arrays, 2 threads": [sys.executable, "-c", OURS, "MAP", "WARM", "arrays", "2"],
        "Shapely polygons": [sys.executable, "-c", OURS, "MAP", "WARM", "shapely", "1"],
        "arrays, simplified by 1.5 px": [sys.executable, "-c", OURS, "MAP", "WARM", "simplified", "1"],
        "GeoPackage with index": [sys.executable, "-c", OURS, "MAP", "WARM", "gpkg", "1"],
        "`rasterio.features.shapes`": [sys.executable, "-c", RASTERIO, "MAP"],
        REFERENCE: [sys.executable, "-c", GDAL, "MAP"],
    }
    print(f"GDAL {rasterio.__gdal_version__}, as rasterio brings it\n")
    columns = ("map", "polygons", "way", "CPU seconds", "polygons a second", "", "wall", "peak memory")
    print("|", " | ".join(c or f"CPU of {REFERENCE} / CPU" for c in columns), "|")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    sides = [int(side) for side in os.environ.get("SIDES", "").split()] or list(ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        pattern = _pattern()
        warm = _write(Path(name) / "warm" / "map.tif", pattern, 256)
        for side in sides:
            path = _write(Path(name) / "map.tif", pattern, side)
            measured: dict[str, list[list[float]]] = {way: [] for way in ways}
            for _ in range(ROUNDS[side]):
                for way, command in ways.items():
                    places = {"MAP": str(path), "WARM": str(warm)}
                    measured[way].append(_run([places.get(part, part) for part in command]))
            count = int(measured["arrays, 1 thread"][0][0])
            for way, rows in measured.items():
                assert all(row[0] in (None, count) for row in rows), (way, rows)
                ratios = [theirs[1] / ours[1] for theirs, ours in zip(measured[REFERENCE], rows, strict=True)]
                cpu, wall, peak = (statistics.median(row[k] for row in rows) for k in (1, 2, 3))
                print(
                    f"| {side} x {side} | {count:,} | {way} | {cpu:.2f} | {count / cpu:,.0f} |"
                    f" {_spread(ratios)} | {wall:.1f} s | {peak:.2f} GB |",
                    flush=True,
                )


def _pattern() -> np.ndarray:
    """Give six classes in blobs, which go on over the edges."""
    noise = np.random.default_rng(0).normal(size=(6, PATTERN, PATTERN)).astype(np.float32)
    return ndimage.gaussian_filter(noise, (0, 11.3, 11.3), mode="wrap").argmax(0).astype(np.uint8)


def _write(path: Path, pattern: np.ndarray, side: int) -> Path:
    """Write a map of turned patterns."""
    path.parent.mkdir(exist_ok=True)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "nodata": 255,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "crs": "EPSG:32633",
        "transform": rasterio.transform.from_origin(500_000, 5_000_000, 10, 10),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dst:
        for row in range(0, side, PATTERN):
            for col in range(0, side, PATTERN):
                part = np.rot90(pattern, (row + col) // PATTERN % 4)[: side - row, : side - col]
                dst.write(part, 1, window=Window(col, row, part.shape[1], part.shape[0]))
    return path


def _run(command: list[str]) -> list[float]:
    limits = {**os.environ, "GDAL_CACHEMAX": "64", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=limits)
    if done.returncode:
        sys.exit(f"exit status {done.returncode} of {command[0]} {command[3:]}:\n{done.stderr}")
    numbers: list[float] = json.loads(done.stdout)
    return numbers


def _spread(ratios: list[float]) -> str:
    middle = statistics.median(ratios)
    return f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else f"{middle:.2f}"


if __name__ == "__main__":
    main()
