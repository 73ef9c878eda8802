from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from geoseg.core.errors import OutputError
from geoseg.core.legend import Legend, LegendClass
from geoseg.raster.cog import MapBand, write_cog
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.storage.store import FolderStore
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from tests import processes

LEGEND = Legend(
    (LegendClass(3, "water", "Water & <ice>", "#2b7bba"), LegendClass(0, "bare", "Bare", "#b8a99a"))
)
SHAPE = (1100, 700)
TRANSFORM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_500_000.0)


def staged(folder, shape=SHAPE, seed=0):
    """Stage a class map with 0, 3 and nodata and its percent; return staging, blocks and both planes."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, 3, 255], np.uint8), (shape[0] // 8 + 1, shape[1] // 8 + 1))
    classes = coarse.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]]
    percents = rng.integers(0, 101, shape, dtype=np.uint8)
    percents[classes == 255] = 255
    folder.mkdir(exist_ok=True)
    staging = Staging(FolderStore(folder), "f", crs_wkt("EPSG:32633"), TRANSFORM, ("class", "confidence"))
    axes = [TileAxis(n, 256, 64) for n in shape]
    blocks = list(BlockGrid.of(TileGrid(*axes), 2))
    for block in blocks:
        rows, cols = block.core.relative_to(block.core.of(0, 0, *shape))
        staging.write(block, np.stack([classes[rows, cols], percents[rows, cols]]), {})
    return staging, blocks, classes, percents


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Write a class map and a confidence map; return their paths and planes."""
    folder = tmp_path_factory.mktemp("maps & more")
    staging, blocks, classes, percents = staged(folder / "staging")
    assert len(blocks) > 3
    paths = folder / "classes.tif", folder / "confidence.tif"
    tags = {"GEOSEG_NAME": "a <b> & c"}
    write_cog(paths[0], staging, blocks, SHAPE, [MapBand(1, "class", LEGEND)], "MODE", tags)
    write_cog(paths[1], staging, blocks, SHAPE, [MapBand(2, "confidence")], "AVERAGE", tags)
    return folder, paths, classes, percents


@pytest.mark.parametrize("which", [0, 1])
def test_maps_are_valid_cloud_optimised_geotiffs(maps, which):
    valid, errors, warnings = cog_validate(str(maps[1][which]), strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])


def test_the_class_map_equals_its_blocks(maps):
    _, (path, _), classes, _ = maps
    with rasterio.open(path) as src:
        assert (src.read(1) == classes).all()
        assert src.dtypes == ("uint8",)
        assert src.nodata == 255
        assert src.descriptions == ("class",)
        assert src.crs.to_epsg() == 32633
        assert tuple(src.transform)[:6] == TRANSFORM
        assert src.tags()["GEOSEG_NAME"] == "a <b> & c"
        assert src.profile["blockxsize"] == src.profile["blockysize"] == 512
        assert src.profile["compress"] == "deflate"


def test_the_class_map_carries_the_colours_of_the_legend(maps):
    with rasterio.open(maps[1][0]) as src:
        table = src.colormap(1)
        assert src.colorinterp[0].name == "palette"
    assert table[3][:3] == (0x2B, 0x7B, 0xBA)
    assert table[0][:3] == (0xB8, 0xA9, 0x9A)
    assert table[7][:3] == (0, 0, 0)


def test_the_confidence_map_is_a_share(maps):
    _, (_, path), classes, percents = maps
    with rasterio.open(path) as src:
        share, mask = src.read(1), src.read_masks(1)
        assert src.dtypes == ("float32",)
        assert src.nodata == 255
        assert src.colorinterp[0].name == "gray"
        assert src.descriptions == ("confidence",)
    assert (mask == np.where(classes == 255, 0, 255)).all()
    assert (share[classes == 255] == 255).all()
    assert np.allclose(share[classes != 255], percents[classes != 255] / 100, atol=1e-6)


def blocks_of_two(plane):
    height, width = plane.shape
    return (
        plane.reshape(height // 2, 2, width // 2, 2).transpose(0, 2, 1, 3).reshape(height // 2, width // 2, 4)
    )


def test_overviews_of_classes_hold_the_most_frequent_class(maps):
    _, (path, _), classes, _ = maps
    with rasterio.open(path) as src:
        factors = src.overviews(1)
    assert factors[0] == 2
    with rasterio.open(path, overview_level=0) as src:
        reduced = src.read(1)
    quads = blocks_of_two(classes)
    # Classes come in squares of 8 pixels: four pixels of one square agree.
    assert (quads.max(axis=2) == quads.min(axis=2)).all()
    assert (reduced == quads[:, :, 0]).all()


def test_overviews_of_confidence_hold_the_mean_without_nodata(maps):
    _, (_, path), classes, percents = maps
    with rasterio.open(path, overview_level=0) as src:
        reduced = src.read(1)
    empty = blocks_of_two(classes)[:, :, 0] == 255
    assert (reduced[empty] == 255).all()
    expected = blocks_of_two(percents).mean(axis=2)[~empty] / 100
    assert np.allclose(reduced[~empty], expected, atol=1e-5)


def test_the_folder_of_the_map_holds_the_map_only(maps):
    folder = maps[0]
    assert sorted(p.name for p in folder.iterdir()) == ["classes.tif", "confidence.tif", "staging"]
    assert not [p.name for p in (folder / "staging").iterdir() if "tmp" in p.name or "classes." in p.stem]
    assert sorted(p.name for p in (folder / "staging").glob("*.vrt")) == ["classes.vrt", "confidence.vrt"]


def test_bands_of_a_map_come_in_the_order_asked_for(tmp_path):
    staging, blocks, _, percents = staged(tmp_path / "s", (90, 70))
    path = tmp_path / "p.tif"
    write_cog(path, staging, blocks, (90, 70), [MapBand(2, "b"), MapBand(2, "a")], "AVERAGE", {})
    with rasterio.open(path) as src:
        assert src.descriptions == ("b", "a")
        both, mask = src.read(), src.read_masks(2) > 0
    assert np.allclose(both[1][mask], percents[mask] / 100, atol=1e-6)
    assert (both[0] == both[1]).all()


def test_writing_again_replaces_the_map(tmp_path):
    path = tmp_path / "c.tif"
    for seed in (0, 1):
        staging, blocks, classes, _ = staged(tmp_path / f"s{seed}", (90, 70), seed)
        write_cog(path, staging, blocks, (90, 70), [MapBand(1, "class", LEGEND)], "MODE", {})
        with rasterio.open(path) as src:
            assert (src.read(1) == classes).all()


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_block_stops_the_map_and_leaves_nothing(tmp_path, damage):
    staging, blocks, _, _ = staged(tmp_path / "s")
    block = Path(staging.path(blocks[1]))
    if damage == "missing":
        block.unlink()
    else:
        block.write_bytes(block.read_bytes()[:500])
    with pytest.raises(OutputError, match=r"c\.tif: cannot be written: ") as caught:
        write_cog(tmp_path / "c.tif", staging, blocks, SHAPE, [MapBand(1, "class", LEGEND)], "MODE", {})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c.tif").exists()
    assert not [*(tmp_path / "s").glob(".*"), *(tmp_path / "s").glob("c.*.tif")]


def test_a_map_that_does_not_fit_the_disk_is_told_and_leaves_nothing(tmp_path):
    # A limit on the size of files stands in for a full disk; it needs a process of its own.
    code = """
        import resource, sys
        from pathlib import Path
        from tests.raster.test_cog import LEGEND, MapBand, OutputError, staged, write_cog
        folder = Path(sys.argv[1])
        staging, blocks, _, _ = staged(folder / "s", (600, 600))
        sys.dont_write_bytecode = True  # a short write would leave a damaged file
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_cog(folder / "c.tif", staging, blocks, (600, 600), [MapBand(2, "x")], "AVERAGE", {})
        except OutputError as error:
            print(error)
    """
    done = processes.run_code(code, tmp_path)
    assert "c.tif: cannot be written: " in done.stdout, done.stderr
    assert "make room" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not (tmp_path / "c.tif").exists()
    assert not list((tmp_path / "s").glob(".*"))
