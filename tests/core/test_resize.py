import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from geoseg.core.resize import nearest, resized, resized_where


@pytest.mark.parametrize("shape", [(20, 30), (90, 130), (45, 30), (7, 130), (1, 1), (45, 67)])
def test_a_picture_is_resized_as_torch_does_with_antialias(shape):
    x = np.random.default_rng(0).random((2, 3, 45, 67), dtype=np.float32)
    found = resized(x, shape)
    expected = F.interpolate(torch.from_numpy(x), shape, mode="bilinear", antialias=True).numpy()
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-5)
    # Byte by byte, so that a notebook with torch and a run without it see one picture.
    assert (resized(torch.from_numpy(x), shape).numpy() == found).all()


def test_invalid_pixels_do_not_shine_into_their_neighbours():
    values = np.full((1, 8, 8), 5.0, np.float32)
    valid = np.ones((8, 8), np.bool_)
    valid[:, :4] = False
    values[:, ~valid] = 1e6
    small, seen = resized_where(values, valid, (4, 4))
    assert (seen == [False, False, True, True]).all()
    assert small[0, :, 2:] == pytest.approx(np.full((4, 2), 5.0))
    assert (small[0, :, :2] == 0).all()


def test_the_nearest_pixel_is_that_under_the_centre():
    assert nearest(4, 2).tolist() == [1, 3]
    assert nearest(2, 4).tolist() == [0, 0, 1, 1]
    assert nearest(5, 5).tolist() == [0, 1, 2, 3, 4]
