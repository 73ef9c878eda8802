import tarfile
import zipfile

import pytest

from geoseg.core.errors import SceneError
from geoseg.scenes.products import archives
from geoseg.scenes.products.archives import Archive, archive_in, checked_name
from geoseg.scenes.products.place import Bucket, Folder, Web, is_missing, place_of
from tests.inference.flaky import serve
from tests.s3 import BUCKET
from tests.scenes.products.makers import tarred, zipped


@pytest.fixture
def product(tmp_path):
    """A folder with two files, one of them in a folder."""
    folder = tmp_path / "product.SAFE"
    (folder / "images").mkdir(parents=True)
    (folder / "facts.xml").write_bytes(b"<facts/>")
    (folder / "images" / "b 1.tif").write_bytes(b"pixels")
    return folder


@pytest.fixture(params=["folder", "zip", "flat zip", "tar", "s3"])
def place(request, product, tmp_path):
    if request.param == "s3":
        s3 = request.getfixturevalue("s3")
        for file in ("facts.xml", "images/b 1.tif"):
            s3.client.upload_file(str(product / file), BUCKET, f"places/product.SAFE/{file}")
        return place_of(f"s3://{BUCKET}/places/product.SAFE/")
    if "zip" in request.param:
        return place_of(str(zipped(product, tmp_path / "x.zip", inside=request.param == "zip")))
    if request.param == "tar":
        return place_of(str(tarred(product, tmp_path / "x.tar")))
    return place_of(str(product))


def test_every_place_lists_and_reads_the_same(place):
    folder, document = place
    assert document is None
    assert folder.names() == ("facts.xml", "images")
    assert folder.folders() == ("images",)
    assert folder.read("facts.xml") == b"<facts/>"
    assert folder.read("none.xml") is None
    assert (folder.has("images/b 1.tif"), folder.has("images/none.tif")) == (True, False)
    assert folder.child("images").names() == ("b 1.tif",)
    assert folder.at("images/b 1.tif") == folder.child("images").at("b 1.tif")
    assert folder.path.endswith(("product.SAFE", "x.zip", "x.tar"))


def test_a_folder_behind_a_url_is_read_by_name(product):
    with serve(product.parent) as url:
        folder, document = place_of(f"{url}/product.SAFE/?key=1")
        assert (folder, document) == (Web(f"{url}/product.SAFE?key=1"), None)
        assert (folder.names(), folder.folders(), folder.has("facts.xml")) == ((), (), True)
        assert folder.read("facts.xml") == b"<facts/>"
        assert folder.read("none.xml") is None
        assert folder.at("images/b 1.tif") == f"{url}/product.SAFE/images/b%201.tif?key=1"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://host/a.SAFE", (Web("https://host/a.SAFE"), None)),
        ("https://host/a.SAFE/MTD_MSIL2A.xml?k=v", (Web("https://host/a.SAFE?k=v"), "MTD_MSIL2A.xml")),
        ("/vsicurl/https://host/a/b.tif", (Web("https://host/a"), "b.tif")),
        (
            "s3://b/HLS.S30.T18SVG.2024153T155901.v2.0",
            (Bucket("s3://b/HLS.S30.T18SVG.2024153T155901.v2.0"), None),
        ),
        ("/vsis3/b/a.tif", (Bucket("s3://b"), "a.tif")),
        ("gs://b/x/LC08_L2SP", (Bucket("gs://b/x/LC08_L2SP"), None)),
        ("nowhere/at.all", None),
        ("NETCDF:a.nc:red", None),
        ("/vsi7z/x.7z/a.tif", None),
    ],
)
def test_paths_and_uris(uri, expected):
    assert place_of(uri) == expected


def test_a_file_is_a_name_in_its_folder(product):
    assert place_of(str(product / "facts.xml")) == (Folder(str(product)), "facts.xml")


def test_paths_of_gdal_in_archives(product, tmp_path):
    file = zipped(product, tmp_path / "x.zip")
    for path, inside in (
        (f"/vsizip/{file}", ""), (f"/vsizip/{{{file}}}/product.SAFE", "product.SAFE"),
        (f"/vsizip/{file}/product.SAFE/facts.xml", "product.SAFE/facts.xml"),
    ):  # fmt: skip
        assert archive_in(path) == (Archive(str(file)), inside)
    assert place_of(f"/vsizip/{file}/product.SAFE/facts.xml") == (
        Archive(str(file), "product.SAFE"),
        "facts.xml",
    )
    assert place_of(f"/vsizip/{file}/product.SAFE/images")[0].names() == ("b 1.tif",)


def test_what_is_missing(product, tmp_path):
    file = zipped(product, tmp_path / "x.zip")
    inside = f"/vsizip/{file}/product.SAFE"
    assert not is_missing(str(product / "facts.xml"))
    assert is_missing(str(product / "none.xml"))
    assert not is_missing(f"{inside}/images/b 1.tif")
    assert is_missing(f"{inside}/images/b 2.tif")
    assert is_missing("/x" * 5000)  # longer than any path
    assert not is_missing("https://host/none.tif")  # only a request could tell


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "", ".", "a\0b", "a\nb", "..\\x", "a/.."]
)
@pytest.mark.parametrize(
    "place", [Folder("/data/x"), Archive("/x.zip", "a"), Web("https://h/x"), Bucket("s3://b/x")]
)
def test_no_name_leads_out_of_a_product(place, name):
    with pytest.raises(
        SceneError, match=r"its metadata name the file .*, which does not lie in the product"
    ) as caught:
        place.at(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a.tif", "IMG_DATA/R10m/a.jp2", "./a.tif", "a b.tif", "ä..tif", "12:30.tif"]
)
def test_names_inside_are_taken(name):
    assert checked_name(name, "x") == name


def test_an_archive_that_changes_is_read_again(product, tmp_path):
    file = zipped(product, tmp_path / "x.zip")
    assert place_of(str(file))[0].names() == ("facts.xml", "images")
    (product / "more.xml").write_text("more")
    zipped(product, file)
    assert place_of(str(file))[0].read("more.xml") == b"more"


def test_a_folder_that_changes_is_read_again(product):
    assert "more.xml" not in place_of(str(product))[0].names()
    (product / "more.xml").write_text("more")
    assert "more.xml" in place_of(str(product))[0].names()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_damaged_archives_are_one_line(product, tmp_path, kind, part):
    file = tmp_path / f"x.{kind}"
    (product / "big").write_bytes(bytes(20_000))
    whole = (zipped if kind == "zip" else tarred)(product, file).read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    try:
        folder, _ = place_of(str(file))
        folder.read("facts.xml")
    except SceneError as error:
        assert "x." in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert kind == "tar"  # of which the beginning can be read
        assert part == 0.9


def test_damage_inside_a_zip_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", b"0123456789" * 1000)
        archive.writestr("b.xml", b"")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[40:50] = b"\xff" * 10
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(SceneError, match=r"x.zip: is no archive, or truncated or damaged; get it again"):
        Archive(str(tmp_path / "x.zip")).read("a.xml")


def test_archives_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"{i}.xml", "")
    with pytest.raises(SceneError, match=r"x.zip: holds more than 3 files, which no product does"):
        place_of(str(tmp_path / "x.zip"))


def test_links_of_a_tar_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("MTD_MSIL2A.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert place_of(str(tmp_path / "x.tar"))[0].read("MTD_MSIL2A.xml") is None


@pytest.mark.parametrize("scheme", ["file", "http", "s3"])
def test_metadata_without_end_are_refused(tmp_path, monkeypatch, request, scheme):
    from geoseg.scenes.products import place

    (tmp_path / "big.xml").write_bytes(bytes(2_000_001))
    monkeypatch.setattr(place, "MOST_BYTES", 2_000_000)
    if scheme == "http":
        with serve(tmp_path) as url, pytest.raises(SceneError, match=r"big.xml: is larger than 2 MB"):
            Web(url).read("big.xml")
        return
    uri = str(tmp_path)
    if scheme == "s3":
        uri = request.getfixturevalue("s3").upload("big", tmp_path / "big.xml")
    with pytest.raises(SceneError, match=r"big.xml: (cannot be read: )?is larger than 2 MB"):
        (Bucket if scheme == "s3" else Folder)(uri).read("big.xml")


def test_a_pipe_is_no_metadata(tmp_path):
    import os

    os.mkfifo(tmp_path / "MTD_MSIL2A.xml")
    with pytest.raises(SceneError, match=r"MTD_MSIL2A.xml: cannot be read: is no regular file"):
        Folder(str(tmp_path)).read("MTD_MSIL2A.xml")
