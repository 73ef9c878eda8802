"""Fixtures of the tests of products."""

import pytest

from tests.scenes.products.makers import numbers, write_tif


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """GeoTIFFs of B04 (10 m), B11 (20 m) and SCL (20 m), and their numbers."""
    folder = tmp_path_factory.mktemp("stac")
    found = {"B04": numbers(4, 10), "B11": numbers(11, 20), "SCL": numbers(20, 20, high=12, dtype="uint8")}
    for name, values in found.items():
        write_tif(folder / "cogs" / f"{name}.tif", values, 10 if name == "B04" else 20)
    return folder, found
