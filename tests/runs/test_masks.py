"""Runs whose scene is masked by another network first."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from geoseg.core.errors import BundleError, ConfigError, OutputError, PlanError, SceneError
from geoseg.core.geometry import Window
from geoseg.inference import predict
from geoseg.inference.clusters import check
from geoseg.models.bundle import open_bundle, write_card
from geoseg.models.card import Card
from geoseg.runs import scene_run
from geoseg.runs.batch import run_batch
from geoseg.runs.prepare import prepare, read_batch
from geoseg.runs.run import Options, run
from geoseg.runs.validate import validate
from geoseg.storage.store import FolderStore
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster
from tests.inference.free import uninstall
from tests.runs.test_aoi import Contextual, aoi

HEIGHT, WIDTH = 300, 260
QUICK = ("outputs.polygons=[]", "checks.statistics=off")


class Counting(Contextual):
    """Counts how often it sees each tile."""

    def predict(self, values, valid, gain, bias):
        for tile, mask in zip(values, valid, strict=True):
            self.seen[tile.tobytes() + mask.tobytes()] += mask.any()
        return super().predict(values, valid, gain, bias)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory, bundle):
    """A bundle with other classes, bands in another order and other tiles than that of the map."""
    bands = [{"name": n, "common_name": n, "mean": 0.22, "std": 0.1} for n in ("nir", "red", "green", "blue")]
    tile = {"size": 96, "min": 64, "max": 512, "overlap": 16, "divisor": 32}
    folder = tmp_path_factory.mktemp("bundles") / "clouds"
    gsd = {"min": 10, "max": 20}
    made = make_bundle(folder, seed=5, name="clouds", bands=bands, tile=tile, gsd_m=gsd)
    classes = [
        {"id": i, "slug": n, "title": n, "color": c}
        for i, (n, c) in enumerate((("clear", "#000000"), ("cloud", "#ffffff"), ("shadow", "#888888")))
    ]
    write_card(Card.model_validate({**made.card.model_dump(), "classes": classes}), folder)
    return open_bundle(folder)


def changed(bundle, folder, **card):
    """Return a copy of a bundle with other values in its card."""
    shutil.copytree(bundle.folder, folder)
    write_card(bundle.card.model_copy(update=card), folder)
    return open_bundle(folder)


@pytest.fixture(autouse=True)
def networks(bundle):
    """Networks that cost nothing, and whose answers depend on all of a tile: that of the map, and others."""
    found = {"toy": Counting(), "clouds": Counting()}
    predict.load_segmenter = lambda spec: found["toy" if spec.sha256 == bundle.sha256 else "clouds"]
    yield found
    uninstall()


def raster(path, values):
    return write_raster(path, values, names=BAND_NAMES, scale=0.0001, nodata=0)


@pytest.fixture
def scene(tmp_path):
    """A scene with a patch of nodata."""
    values = reflectance(HEIGHT, WIDTH)
    values[:, 150:165, 100:180] = 0
    return raster(tmp_path / "scene.tif", values)


@pytest.fixture
def pipeline(tmp_path, scene, bundle, clouds):
    """A pipeline with a mask."""
    entry = {"uri": str(scene), "mask": masked(clouds)}
    return write_pipeline(tmp_path, json.dumps(entry), bundle.folder, "tiling: {block: 2}")


def masked(clouds, *names, **more):
    return {"model": str(clouds.folder), "invalid": list(names or ("cloud", 2)), **more}


def maps(folder):
    found = []
    for file in ("classes.tif", "confidence.tif"):
        with rasterio.open(Path(folder) / file) as src:
            found.append(src.read(1))
    return np.stack(found)


def by_hand(tmp_path, scene, bundle, clouds, mask, *changes, name="hand"):
    """Map the scene with the mask's network, then with the other one and the first map as quality band."""
    first = write_pipeline(tmp_path, scene, clouds.folder)
    run(prepare(first, QUICK, tmp_path / f"{name}-mask"))
    quality = {"uri": str(tmp_path / f"{name}-mask/classes.tif"), **mask}
    entry = json.dumps({"uri": str(scene), "mask": quality})
    second = write_pipeline(tmp_path, entry, bundle.folder, "tiling: {block: 2}")
    run(prepare(second, [*QUICK, *changes], tmp_path / name))
    return maps(tmp_path / name)


@pytest.mark.usefixtures("without_pictures")
def test_a_mask_is_the_map_of_its_network_and_no_block_changes_a_byte(
    tmp_path, scene, bundle, clouds, pipeline, networks
):
    text = pipeline.read_text()
    expected = by_hand(tmp_path, scene, bundle, clouds, {"invalid_values": [1, 2]})
    share = (expected[0] == 255).mean()
    assert 0.3 < share < 0.9
    pipeline.write_text(text)
    for block in (1, 5):
        for network in networks.values():
            network.seen.clear()
        out = tmp_path / f"block-{block}"
        plan = prepare(pipeline, [*QUICK, f"tiling.block={block}"], out)
        record = run(plan).record
        np.testing.assert_array_equal(maps(out), expected)
        assert not (out / "staging").exists()
        # Each tile once, through each network.
        seen = [n for network in networks.values() for n in network.seen.values()]
        assert max(seen) == 1
        assert sum(seen) == record.tiles_predicted + plan.masks[0].plan.blocks.tiles
    (found,) = record.masks
    assert (found.model, found.sha256, found.invalid) == ("clouds 1", clouds.sha256, ["cloud", "shadow"])
    assert sum(found.pixels.values()) == HEIGHT * WIDTH
    assert found.pixels["nodata"] == 15 * 80
    assert found.pixels["cloud"] + found.pixels["shadow"] + 15 * 80 == record.pixels["nodata"]


@pytest.mark.usefixtures("without_pictures")
def test_a_mask_joins_others_and_may_look_at_another_gsd(tmp_path, scene, bundle, clouds):
    numbers = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) // 64 % 4
    quality = write_raster(tmp_path / "qa.tif", numbers.astype(np.uint8))
    known = {"uri": str(quality), "invalid_values": [2]}
    found = {}
    for name, mask in {
        "none": None,
        "quality": known,
        "cloud": masked(clouds, "cloud"),
        "both": [known, masked(clouds, "cloud")],
        "wide": masked(clouds, "cloud", dilate=3),
        "coarse": masked(clouds, "cloud", gsd=20),
    }.items():
        pipeline = write_pipeline(tmp_path, json.dumps({"uri": str(scene), "mask": mask}), bundle.folder)
        found[name] = run(prepare(pipeline, [*QUICK, "outputs.confidence=false"], tmp_path / name))
    nodata = {name: r.classes().values == 255 for name, r in found.items()}
    assert (nodata["both"] == nodata["quality"] | nodata["cloud"]).all()
    cloud = nodata["cloud"] & ~nodata["none"]
    rows, cols = np.nonzero(cloud)
    near = [(r, c) for r in range(-3, 4) for c in range(-3, 4) if r * r + c * c <= 9]
    wide = nodata["none"].copy()
    for r, c in near:
        inside = (rows + r >= 0) & (rows + r < HEIGHT) & (cols + c >= 0) & (cols + c < WIDTH)
        wide[(rows + r)[inside], (cols + c)[inside]] = True
    assert (nodata["wide"] == wide).all()
    coarse = nodata["coarse"] & ~nodata["none"]
    assert (coarse[::2, ::2] == coarse[1::2, 1::2])[~nodata["none"][::2, ::2]].mean() > 0.9
    assert coarse.any()
    assert len({r.record.fingerprint for r in found.values()}) == len(found)
    assert found["none"].record.masks is None
    assert "masks" not in found["none"].record.identity
    assert "masks" not in found["none"].record.plan.model_dump()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("moment", ["in the mask", "between", "in the map"])
def test_a_run_that_is_stopped_goes_on_with_the_blocks_it_has(
    tmp_path, pipeline, networks, monkeypatch, moment
):
    changes = [*QUICK, "tiling.block=1"]
    run(prepare(pipeline, changes, tmp_path / "whole"))
    done, total = [], sum(sum(n.seen.values()) for n in networks.values())
    whole = scene_run.SceneRun.record_block

    def stop(self, event):
        whole(self, event)
        done.append(self.masking)
        if done == [True, True] and moment == "in the mask":
            raise OutputError("stopped")
        if moment == "in the map" and done.count(False) == 2:
            raise OutputError("stopped")

    def stop_between(self):
        raise OutputError("stopped")

    plan = prepare(pipeline, changes)
    with monkeypatch.context() as patch:
        patch.setattr(scene_run.SceneRun, "record_block", stop)
        if moment == "between":
            patch.setattr(scene_run.SceneRun, "next_pass", stop_between)
        with pytest.raises(OutputError, match="stopped"):
            run(plan)
    staged = sorted((tmp_path / "out/staging").glob("mask-*.done"))
    assert len(staged) >= 2
    if moment == "in the mask":
        staged[-1].unlink(missing_ok=True)  # all may be done before the loop is told of the second
    for network in networks.values():
        network.seen.clear()
    record = run(prepare(pipeline, changes)).record
    assert record.resumed
    again = {name: sum(n.seen.values()) for name, n in networks.items()}
    # Finished blocks beside unfinished ones are predicted again for their fringes.
    assert sum(again.values()) <= total
    assert (again["clouds"] == 0) == (moment != "in the mask")
    np.testing.assert_array_equal(maps(tmp_path / "out"), maps(tmp_path / "whole"))


@pytest.mark.usefixtures("without_pictures")
def test_inside_an_area_the_mask_is_that_of_the_whole_and_no_more_is_predicted(
    tmp_path, scene, bundle, clouds, networks
):
    entry = {"uri": str(scene), "mask": masked(clouds, dilate=2)}
    pipeline = write_pipeline(tmp_path, json.dumps(entry), bundle.folder, "tiling: {block: 2}")
    whole = run(prepare(pipeline, QUICK, tmp_path / "whole")).classes().values
    tiles = sum(networks["clouds"].seen.values())
    networks["clouds"].seen.clear()
    corners = shapely.MultiPolygon([shapely.box(3, 5, 40, 30), shapely.box(200, 250, 250, 295)])
    plan = prepare(pipeline, [*QUICK, aoi(corners), "tiling.block=1"])
    run(plan)
    assert 0 < sum(networks["clouds"].seen.values()) < tiles
    with rasterio.open(tmp_path / "out/classes.tif") as src:
        here = src.read(1)
    assert here.shape == (290, 247)
    there = whole[5:295, 3:250]
    for window in (Window.of(0, 0, 25, 37), Window.of(245, 197, 45, 50)):
        part = window.relative_to(Window.of(0, 0, 0, 0))
        np.testing.assert_array_equal(here[part], there[part])
    assert (here != 255).any()


@pytest.mark.usefixtures("without_pictures")
def test_members_of_a_mosaic_are_masked_each_and_the_next_fills_their_clouds(tmp_path, bundle, clouds):
    scenes = [str(raster(tmp_path / f"{i}.tif", reflectance(150, 140, seed=i))) for i in range(2)]
    alone = []
    for i, uri in enumerate(scenes):
        pipeline = write_pipeline(tmp_path, uri, clouds.folder)
        alone.append(run(prepare(pipeline, QUICK, tmp_path / f"mask-{i}")).classes().values == 1)
    found = {}
    for name, mask in {
        "model": masked(clouds, "cloud"),
        "hand": None,
    }.items():
        members = [
            uri
            if mask
            else {"uri": uri, "mask": {"uri": str(tmp_path / f"mask-{i}/classes.tif"), "invalid_values": [1]}}
            for i, uri in enumerate(scenes)
        ]
        entry = {"mosaic": members, **({"mask": mask} if mask else {})}
        pipeline = write_pipeline(tmp_path, json.dumps(entry), bundle.folder, "tiling: {tile: 64, block: 1}")
        found[name] = run(prepare(pipeline, QUICK, tmp_path / name))
    np.testing.assert_array_equal(found["model"].classes().values == 255, alone[0] & alone[1])
    np.testing.assert_array_equal(maps(tmp_path / "model"), maps(tmp_path / "hand"))
    (record,) = found["model"].record.masks
    assert record.pixels["cloud"] == alone[0].sum() + alone[1].sum()
    assert found["model"].record.plan.masks[0]["scenes"] == 2


@pytest.mark.usefixtures("without_pictures")
def test_many_scenes_share_a_mask_that_is_written_once(tmp_path, scene, bundle, clouds, networks):
    entry = json.dumps({"mask": masked(clouds)})
    pipeline = write_pipeline(tmp_path, entry, bundle.folder)
    other = raster(tmp_path / "other.tif", reflectance(130, 140, seed=4))
    batch = read_batch(pipeline, QUICK, scenes=[str(scene), str(other)])
    assert [o.state for o in run_batch(batch)] == ["done", "done"]
    for name, path in (("scene", scene), ("other", other)):
        entry = json.dumps({"uri": str(path), "mask": masked(clouds)})
        alone = write_pipeline(tmp_path, entry, bundle.folder)
        run(prepare(alone, QUICK, tmp_path / "alone"), Options(overwrite=True))
        np.testing.assert_array_equal(maps(tmp_path / "out" / name), maps(tmp_path / "alone"))
    assert {o.state for o in run_batch(batch)} == {"finished before"}


def test_what_is_wrong_with_a_mask_is_told_before_anything_is_computed(tmp_path, bundle, clouds, networks):
    three = write_raster(tmp_path / "rgb.tif", reflectance(80, 80)[:3], names=BAND_NAMES[:3], scale=0.0001)
    four = write_raster(tmp_path / "four.tif", reflectance(80, 80), names=BAND_NAMES, scale=0.0001)
    known = r"clear \(0\), cloud \(1\), shadow \(2\)"
    for uri, mask, told, kind in (
        (four, masked(clouds, "clowd"), rf"'clowd'; did you mean 'cloud'\?; it has {known}", ConfigError),
        (four, masked(clouds, 7), "clouds has no class 7; it has clear", ConfigError),
        (four, masked(clouds, 0, 1, "shadow"), "names every class of clouds", ConfigError),
        (four, {**masked(clouds), "model": "no-such-bundle"}, "no-such-bundle", BundleError),
        (three, masked(clouds), "no band nir", SceneError),
    ):  # fmt: skip
        pipeline = write_pipeline(tmp_path, json.dumps({"uri": str(uri), "mask": mask}), bundle.folder)
        with pytest.raises(kind, match=told):
            prepare(pipeline, QUICK)
    assert not any(n.seen for n in networks.values())
    assert not (tmp_path / "out").exists()


def test_a_band_that_only_the_mask_needs_is_found_in_the_scene(tmp_path, bundle, clouds):
    """The network of the map takes four bands, that of the mask a fifth instead of one of them."""
    values = reflectance(80, 90, bands=5)
    scene = write_raster(tmp_path / "five.tif", values, names=(*BAND_NAMES, "swir16"), scale=0.0001)
    first, *others = clouds.card.bands
    fifth = first.model_copy(update={"name": "swir16", "common_name": "swir16"})
    mask = masked(changed(clouds, tmp_path / "swir", bands=(fifth, *others)))
    pipeline = write_pipeline(tmp_path, json.dumps({"uri": str(scene), "mask": mask}), bundle.folder)
    (found,) = prepare(pipeline, QUICK).masks
    assert [b.common_name for b in found.plan.scene.bands] == ["swir16", "red", "green", "blue"]
    four = raster(tmp_path / "four.tif", values[:4])
    pipeline = write_pipeline(tmp_path, json.dumps({"uri": str(four), "mask": mask}), bundle.folder)
    with pytest.raises(SceneError, match=r"mask clouds: .*no band swir16"):
        prepare(pipeline, QUICK)


def test_a_mask_is_shown_where_quality_masks_are(tmp_path, pipeline, clouds, scene, geoseg_here):
    quick = [part for change in QUICK for part in ("--set", change)]
    plan = json.loads(geoseg_here("run", pipeline, "--dry-run", "--json", *quick).stdout)
    (told,) = plan["masks"]
    assert (told["model"], told["classes"], told["sha256"]) == ("clouds", ["cloud", "shadow"], clouds.sha256)
    done = geoseg_here("run", pipeline, *quick)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out/report.html").read_text()
    assert "masked by clouds 1" in page
    assert geoseg_here("report", tmp_path / "out").returncode == 0
    assert not validate(tmp_path / "out").failures
    catalog = tmp_path / "data_catalog.yaml"
    entry = {"uri": str(scene), "mask": masked(clouds, "cloud", dilate=2)}
    catalog.write_text(json.dumps({"scenes": {"cloudy": entry}}))
    shown = json.loads(geoseg_here("inspect", "cloudy", "--catalog", catalog, "--json").stdout)
    (mask,) = shown["model_masks"]
    assert (mask["model"], mask["invalid"], mask["dilate"]) == ("clouds", ["cloud"], 2)


class Bright(Counting):
    """Finds the class 1 where the first band is bright."""

    def predict(self, values, valid, gain, bias):
        super().predict(values, valid, gain, bias)
        bright = values[:, :1] > 5000
        return np.concatenate([~bright, bright, bright & False], axis=1).astype(np.float32)


@pytest.mark.usefixtures("without_pictures")
def test_pixels_unlike_the_training_are_looked_at_again_when_masked(tmp_path, bundle, clouds, networks):
    """Half of the scene is bright: with it the mean is far off, without it is not."""
    values = reflectance(128, 200)
    values[:, :, 100:] = 9000 + np.arange(100)
    scene = raster(tmp_path / "scene.tif", values)
    networks["clouds"] = Bright()
    entry = {"uri": str(scene), "mask": masked(clouds)}
    with pytest.raises(PlanError, match=r"clouds knows 0\.22"):
        prepare(write_pipeline(tmp_path, json.dumps(entry), bundle.folder), QUICK[:1])
    bands = [b.model_copy(update={"mean": 0.5, "std": 0.3}) for b in clouds.card.bands]
    easy = changed(clouds, tmp_path / "easy", bands=tuple(bands))
    pipeline = write_pipeline(tmp_path, json.dumps(entry | {"mask": masked(easy)}), bundle.folder)
    plan = prepare(pipeline, QUICK[:1])
    assert plan.check_masked
    assert "toy knows 0.22" in plan.warnings[-1]
    assert "looked at again without what is masked" in plan.warnings[-1]
    found = run(plan).classes().values
    assert (found[:, 100:] == 255).all()
    assert (found[:, :100] != 255).all()
    values[2, :, :100] += 6000
    raster(scene, values)
    with pytest.raises(PlanError, match=r"the mean of red .*toy knows"):
        run(prepare(pipeline, QUICK[:1]), Options(overwrite=True))


def test_memory_and_needs_of_workers_cover_both_networks(
    tmp_path, pipeline, scene, bundle, clouds, monkeypatch
):
    plan = prepare(pipeline, QUICK)
    (mask,) = plan.masks
    alone = replace(plan, masks=())
    assert plan.memory.network > max(alone.memory.network, mask.plan.memory.network)
    assert plan.memory.total > alone.memory.total
    needs = check.needs_of(plan, FolderStore(tmp_path))
    needs.staging.write(needs.token, b"")
    assert check.problem_of(needs) is None
    opened = check.open_bundle
    monkeypatch.setattr(
        check, "open_bundle", lambda place: opened(bundle.folder if "clouds" in str(place) else place)
    )
    assert "clouds: holds another bundle there" in check.problem_of(needs)
