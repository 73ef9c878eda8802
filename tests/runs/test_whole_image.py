"""Differential tests against a plain forward pass in torch."""

import numpy as np
import pytest
import rasterio
import torch

from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.conftest import make_bundle, reflectance, write_pipeline


def whole_image_probabilities(bundle, values, margin, shape):
    """Reflect the image, run the network once, cut the margin off; shape (C, rows, cols)."""
    height, width = values.shape[1:]
    bottom, right = shape[0] - height - margin, shape[1] - width - margin
    padded = np.pad(values, ((0, 0), (margin, bottom), (margin, right)), mode="reflect").astype(np.float32)
    bands = bundle.card.bands
    mean = np.array([b.mean for b in bands], np.float32)[:, None, None]
    std = np.array([b.std for b in bands], np.float32)[:, None, None]
    x = torch.from_numpy((padded * np.float32(1e-4) - mean) / std)[None]
    with torch.inference_mode():
        p = torch.softmax(bundle.network()(x), dim=1)[0].numpy()
    return p[:, margin : margin + height, margin : margin + width]


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("architecture", ["Unet", "PSPNet"])
def test_one_tile_over_the_scene_equals_a_plain_forward_pass(tmp_path, scene_file, architecture):
    bundle = make_bundle(tmp_path / "bundle", architecture=architecture)
    path = write_pipeline(tmp_path, scene_file, bundle.folder)
    plan = prepare(path, ["tiling.tile=512", "outputs.polygons=[]"])
    assert plan.grid.count == 1
    run(plan)
    assert plan.grid.rows.margin == plan.grid.cols.margin == 0  # nothing beyond the rim that need not be
    p = whole_image_probabilities(bundle, reflectance(300, 260), 0, plan.grid.tile_shape)
    with rasterio.open(tmp_path / "out/classes.tif") as src:
        classes = src.read(1)
    with rasterio.open(tmp_path / "out/confidence.tif") as src:
        confidence = src.read(1)
    top = np.sort(p, axis=0)
    clear = top[-1] - top[-2] > 1e-3
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(classes[clear], p.argmax(axis=0)[clear] + 1)
    np.testing.assert_allclose(confidence, p.max(axis=0), atol=0.0051)


@pytest.mark.usefixtures("without_pictures")
def test_more_overlap_comes_closer_to_the_whole_image(tmp_path, scene_file, bundle):
    path = write_pipeline(tmp_path, scene_file, bundle.folder)
    # A margin in step with every tile's origin, and wider than the network looks.
    p = whole_image_probabilities(bundle, reflectance(300, 260), 112, (544, 512)).argmax(axis=0) + 1
    differing = []
    for overlap in (0, 32, 64):
        folder = tmp_path / f"overlap-{overlap}"
        run(prepare(path, ["tiling.tile=128", f"tiling.overlap={overlap}", "outputs.polygons=[]"], folder))
        with rasterio.open(folder / "classes.tif") as src:
            differing.append(float((src.read(1) != p).mean()))
    assert differing[0] > differing[1] > differing[2]
    assert differing[2] < 0.05
