import re
import zipfile

import numpy as np
import pytest

from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.scenes.products.entry import read_product
from tests.inference.flaky import serve
from tests.s3 import BUCKET
from tests.scenes.products.makers import (
    CENTRES_NM,
    IDS,
    finer,
    of_numbers,
    opened,
    physical,
    write_safe,
    zipped,
)


@pytest.fixture(scope="module")
def l2a(tmp_path_factory):
    return write_safe(tmp_path_factory.mktemp("l2a"))


@pytest.fixture(scope="module")
def l1c(tmp_path_factory):
    return write_safe(tmp_path_factory.mktemp("l1c"), "1C")


def clear(numbers, scl, factor=1):
    """Return where numbers are measured, and the scene classification shows the ground."""
    return (numbers != 0) & (numbers != 65535) & ~np.isin(finer(scl, factor), (0, 1, 3, 8, 9, 10))


def test_level_2a_is_read_by_its_path(l2a):
    path, _ = l2a
    entry = read_product(str(path))
    assert list(entry.bands) == ["B01", "B02", "B03", "B04", "B08", "B8A", "B09", "B11", "B12"]
    assert {(b.scale, b.offset) for b in entry.bands.values()} == {(0.0001, -0.1)}
    assert [b.wavelength_um for b in entry.bands.values()] == [
        pytest.approx(CENTRES_NM[IDS.index(n)] / 1000) for n in entry.bands
    ]
    assert (entry.nodata, entry.saturated, entry.sensor) == (0, 65535, "sentinel-2")
    assert (entry.product, entry.level, entry.baseline) == ("sentinel-2-l2a", "surface", "05.10")
    assert (entry.platform, entry.cloud_cover) == ("Sentinel-2A", 12.5)
    assert entry.datetime.isoformat() == "2024-06-01T15:59:01.024000+00:00"
    assert [b.common_name for b in opened(path).bands] == [
        "coastal", "blue", "green", "red", "nir", "nir08", "nir09", "swir16", "swir22",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("common", "band", "factor"), [("blue", "B02", 2), ("swir16", "B11", 1), ("coastal", "B01", 1)]
)
def test_reflectance_of_level_2a_is_that_of_its_finest_image(l2a, common, band, factor):
    path, numbers = l2a
    found, valid = physical(path, common)
    expected = clear(numbers[band], numbers["SCL"], factor)
    np.testing.assert_array_equal(valid, expected)
    assert 0.3 < valid.mean() < 0.7
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers[band], 1e-4, -0.1)[valid])


def test_an_older_baseline_has_no_offset(tmp_path):
    path, numbers = write_safe(tmp_path, baseline="02.14")
    found, valid = physical(path, "red")
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["B04"], 1e-4)[valid])
    assert read_product(str(path)).baseline == "02.14"


def test_the_offset_of_each_band_is_its_own(tmp_path):
    def change(xml):
        return xml.replace('band_id="3">-1000', 'band_id="3">-500')

    path, _ = write_safe(tmp_path, change=change)
    bands = read_product(str(path)).bands
    assert (bands["B04"].offset, bands["B03"].offset) == (-0.05, -0.1)


def test_a_band_number_without_end_counts_as_unknown(tmp_path):
    path, _ = write_safe(tmp_path, change=lambda xml: xml.replace('bandId="3"', f'bandId="{"9" * 5000}"'))
    assert read_product(str(path)).bands["B04"].wavelength_um is None


def test_level_1c_masks_opaque_clouds_and_cirrus(l1c):
    path, numbers = l1c
    found, valid = physical(path, "swir16", mask=None)
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["B11"], 1e-4, -0.1)[valid])
    opaque, cirrus, _ = numbers["clouds"]
    expected = (numbers["B11"] != 0) & (numbers["B11"] != 65535) & (finer(opaque | cirrus, 3) == 0)
    np.testing.assert_array_equal(physical(path, "swir16")[1], expected)
    entry = read_product(str(path))
    assert (entry.product, entry.level) == ("sentinel-2-l1c", "toa")
    assert list(entry.bands) == ["B01", "B02", "B8A", "B10", "B11"]


def test_older_level_1c_has_no_raster_of_clouds(tmp_path):
    path, numbers = write_safe(tmp_path, "1C", "02.09")
    with pytest.warns(
        GeosegWarning, match=r"has no raster of its clouds \(baseline 02.09; .* sky were clear$"
    ):
        found, valid = physical(path, "cirrus")
    np.testing.assert_array_equal(valid, ~np.isin(numbers["B10"], (0, 65535)))
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["B10"], 1e-4)[valid])


@pytest.mark.parametrize(
    "form", ["xml", "zip", "flat zip", "zip with more", "vsizip", "folder in zip", "parent"]
)
def test_every_form_of_a_product_is_the_same_scene(l2a, tmp_path, form):
    path, _ = l2a
    archive = tmp_path / "x.zip"
    more = ("readme.txt", "__MACOSX/._x") if form == "zip with more" else ()
    if "zip" in form:
        zipped(path, archive, inside=form != "flat zip", more=more)
    place = {
        "xml": path / "MTD_MSIL2A.xml",
        "vsizip": f"/vsizip/{archive}/{path.name}/MTD_MSIL2A.xml",
        "folder in zip": f"/vsizip/{archive}/{path.name}",
        "parent": path.parent,
    }.get(form, archive)
    np.testing.assert_array_equal(physical(place, "swir16", "blue")[0], physical(path, "swir16", "blue")[0])


def test_a_product_behind_a_url_is_the_same_scene(l2a, tmp_path):
    path, _ = l2a
    zipped(path, tmp_path / "x.zip")
    (tmp_path / path.name).symlink_to(path)
    expected = physical(path, "swir16")[0]
    with serve(tmp_path) as url:
        for place in (path.name, f"{path.name}/", f"{path.name}/MTD_MSIL2A.xml", "x.zip"):
            np.testing.assert_array_equal(physical(f"{url}/{place}", "swir16")[0], expected)


def test_a_product_in_a_bucket_is_the_same_scene(l2a, s3):
    path, _ = l2a
    for file in path.rglob("*"):
        if file.is_file():
            s3.client.upload_file(str(file), BUCKET, f"safe/{file.relative_to(path.parent)}")
    expected = physical(path, "swir16")[0]
    for place in (f"safe/{path.name}", "safe"):
        np.testing.assert_array_equal(physical(f"s3://{BUCKET}/{place}", "swir16")[0], expected)


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_missing_image_is_an_incomplete_download(tmp_path, form):
    path, _ = write_safe(tmp_path)
    for band in ("B11", "SCL"):
        for file in path.rglob(f"*_{band}_20m.jp2"):
            file.unlink()
    place = zipped(path, tmp_path / "x.zip") if form == "zip" else path
    with pytest.raises(
        SceneError, match=r"B11_20m.jp2: is listed .* as B11 but not there; the download is incom"
    ):
        opened(place, "swir16")
    with pytest.raises(
        SceneError, match=r"SCL_20m.jp2: is listed .* as a quality band but not there; the download"
    ):
        opened(place, "red")
    assert opened(place, "red", mask=None).bands[0].name == "B04"


def test_a_safe_folder_without_metadata_is_an_incomplete_download(tmp_path):
    path, _ = write_safe(tmp_path)
    (path / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(
        SceneError, match=r"SAFE: is a SAFE folder without MTD_MSIL2A.xml or MTD_MSIL1C.xml; the down"
    ):
        opened(path, "red")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: re.sub(r"(GRANULE/L2A_T18SVG)(\S+_B11_20m)", r"\1_X\2", x),
            "images of 2 granules, and a scene",
        ),
        (lambda x: re.sub(r"IMAGE_FILE>[^<]*<", "IMAGE_FILE><", x), "lists the images of 0 granules"),
        (lambda x: x.replace(">10000<", "><"), "give no usable quantification value or offset"),
        (lambda x: x.replace(">10000<", ">0<"), "give no usable quantification value"),
        (lambda x: x.replace(">10000<", ">nan<"), "scale in its metadata: "),
        (lambda x: x.replace(">10000<", ">inf<"), "scale in its metadata: "),
        (lambda x: x.replace(">10000<", ">-10000<"), "scale in its metadata: "),
        (lambda x: x.replace(">-1000<", ">many<"), "usable quantification value or offset"),
        (lambda x: x.replace('band_id="1"', ""), "usable quantification value or offset"),
        (
            lambda x: x.replace("2024-06-01T15:59:01.024Z", "yesterday"),
            "datetime in its metadata: ",
        ),
        (lambda x: x[:900], "MTD_MSIL2A.xml: is damaged; get the product again"),
        (lambda x: "", "MTD_MSIL2A.xml: is damaged; get the product again"),
        (
            lambda x: "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "declares a document type, which metadata of a prod",
        ),
        (
            lambda x: x.replace("GRANULE/", "GRANULE/x/../../../"),
            r"'GRANULE/x/\.\./\.\./.* not lie in the product",
        ),
        (lambda x: re.sub(r"GRANULE/", "/etc/", x), "'/etc/L2A_T18SVG.* which does not lie in the product"),
    ],
)
def test_unusable_metadata_are_one_line(tmp_path, l2a, change, message):
    path = tmp_path / "x.SAFE"
    path.mkdir()
    (path / "MTD_MSIL2A.xml").write_text(change((l2a[0] / "MTD_MSIL2A.xml").read_text()))
    with pytest.raises(SceneError, match=message) as caught:
        read_product(str(path))
    assert len(str(caught.value)) <= 300 + len(str(path))


@pytest.mark.parametrize(
    ("old", "new"),
    [(">442.7<", ">none<"), ("INDEX>0<", "INDEX>zero<"), (">12.5<", ">NaN<"), ('bandId="0"', 'bandId="²"')],
)
def test_facts_that_no_number_depends_on_may_be_damaged(tmp_path, l2a, old, new):
    path = tmp_path / "x.SAFE"
    path.mkdir()
    xml = (l2a[0] / "MTD_MSIL2A.xml").read_text()
    assert old in xml
    (path / "MTD_MSIL2A.xml").write_text(xml.replace(old, new))
    assert read_product(str(path)).nodata == 0


def test_products_of_the_format_with_many_granules_are_named(tmp_path):
    path = tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160101T000000.SAFE"
    (path / "GRANULE").mkdir(parents=True)
    (path / "S2A_OPER_MTD_SAFL1C_PDMC_20160101T000000.xml").write_text("<a/>")
    with pytest.raises(
        SceneError, match=r"format before December 2016, with many granules; get it again in the com"
    ):
        read_product(str(path))


def test_a_folder_of_one_resolution_stays_a_folder_of_bands(l2a):
    folder = next(l2a[0].rglob("R20m"))
    assert read_product(str(folder)) is None
    assert [b.name for b in opened(folder, "swir16", "nir08").bands] == ["B11", "B8A"]


def test_several_products_in_a_folder_are_named(tmp_path, l2a, l1c):
    for path, _ in (l2a, l1c):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(
        SceneError, match=r"holds 2 products, name one: \S+MSIL1C\S+, \S+MSIL2A\S+; or give them as m"
    ):
        read_product(str(tmp_path))


def test_a_truncated_zip_is_told(tmp_path, l2a):
    whole = zipped(l2a[0], tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"x.zip: is no archive, or truncated or damaged; get it again"):
        read_product(str(tmp_path / "x.zip"))


def test_metadata_of_a_zip_that_fill_the_memory_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.SAFE/MTD_MSIL2A.xml", bytes(40_000_000))
    with pytest.raises(SceneError, match=r"x.SAFE/MTD_MSIL2A.xml: is larger than 32 MB"):
        read_product(str(tmp_path / "x.zip"))
