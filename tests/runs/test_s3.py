"""Scene, bundle, staging and outputs in a real S3 endpoint: the same bytes as on a disk."""

import json
import re
import shutil
import signal
import sys
import time

import pytest

from geoseg.core.errors import BundleError, ConfigError, GeosegWarning, OutputError, SceneError
from geoseg.models.bundle import WEIGHTS, open_bundle
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.scenes import gdal, remote, sources
from geoseg.scenes.opening import open_scene, reopen_scene
from geoseg.scenes.versions import FileVersion
from tests import processes
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster
from tests.s3 import BUCKET, KEY, SECRET

EQUAL = ("classes.tif", "classes.tif.aux.xml", "classes.qml", "classes.sld", "confidence.tif")
MORE = "tiling: {block: 2}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene of nine blocks."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, reflectance(500, 500), names=BAND_NAMES, scale=0.0001, tiled=True)


def upload_bundle(s3, bundle, prefix):
    names = ("geoseg.json", "config.json", WEIGHTS)
    return s3.upload(prefix, *(bundle.folder / n for n in names))


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def fresh():
    """Forget what this process asked for in the last half minute."""
    remote._version.cache_clear()


def secrets_in(*texts):
    found = (KEY, SECRET, "X-Amz-Signature", "Signature=", "pa55word")
    return [(name, word) for name, data in texts for word in found if word.encode() in data]


def files_below(folder):
    return [(str(p), p.read_bytes()) for p in folder.rglob("*") if p.is_file()]


@pytest.fixture(scope="module")
def reference(s3_server, scene, bundle, tmp_path_factory):
    """The run of the scene in S3 with outputs in a folder, by one process."""
    folder = tmp_path_factory.mktemp("reference")
    uri = s3_server.upload("scenes", scene) + "/scene.tif"
    path = write_pipeline(folder, uri, upload_bundle(s3_server, bundle, "bundles/toy"), MORE)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment.items():
            environment.setenv(name, value)
        run(prepare(path))
    return folder


def test_the_scene_in_s3_gives_the_classes_of_the_scene_on_a_disk(reference, scene, bundle, tmp_path):
    import rasterio

    run(prepare(write_pipeline(tmp_path, scene, bundle.folder, MORE)))
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(tmp_path / "out" / name) as here, rasterio.open(reference / "out" / name) as there:
            assert (here.read() == there.read()).all()


@pytest.mark.slow
def test_a_mask_whose_bundle_and_blocks_lie_in_s3_is_that_of_a_disk(s3, bundle, tmp_path):
    import rasterio

    scene = write_raster(tmp_path / "m.tif", reflectance(150, 150), names=BAND_NAMES, scale=0.0001)
    names, found = ("outputs.polygons=[]", "tiling={block: 1, tile: 64}"), {}
    for model, target in (
        (str(bundle.folder), tmp_path / "here"),
        (upload_bundle(s3, bundle, "bundles/mask"), f"s3://{BUCKET}/masked/out"),
    ):
        entry = {"uri": str(scene), "mask": {"model": model, "invalid": ["class-1"]}}
        plan = prepare(write_pipeline(tmp_path, json.dumps(entry), bundle.folder), names, target)
        assert plan.masks[0].plan.blocks.count > 1
        found[model] = run(plan).record
    here, there = found.values()
    assert here.fingerprint == there.fingerprint
    assert here.outputs["classes.tif"] == there.outputs["classes.tif"]
    with rasterio.open(tmp_path / "here/classes.tif") as src:
        assert 0 < (src.read(1) == 255).mean() < 1
    assert not [name for name in s3.objects("masked/out") if "staging" in name]


@pytest.mark.slow
def test_a_run_in_s3_by_two_workers_gives_the_same_bytes(s3, reference, tmp_path, capfd):
    """Everything lies in S3; the bundle is fetched once by three processes; credentials are nowhere."""
    from geoseg.runs.page import remake_page
    from geoseg.runs.validate import validate

    since, target = len(s3.log.read_text()), f"s3://{BUCKET}/two/out"
    two = "cluster={kind: local, workers: 2}"
    assert run(prepare(reference / "pipeline.yaml", [two], target)).folder == target
    found = s3.objects("two/out")
    assert set(found) == {*read_manifest(reference / "out")["outputs"], "run.json", "events.jsonl"}
    assert {n for n in EQUAL if found[n] != (reference / "out" / n).read_bytes()} == set()
    assert s3.requests(WEIGHTS, since)["GET"] == 1
    manifest = json.loads(found["run.json"])
    blocks = manifest["plan"]["blocks"]
    asked = s3.requests("/two/out/staging/block", since)
    # They are held to their checksums before outputs are made of them, and fetched to make these.
    assert (blocks, asked) == (9, {"PUT": 2 * blocks, "GET": 4 * blocks})
    assert f"s3://{BUCKET}/bundles/toy/geoseg.json" in found["item.json"].decode()
    assert not (tmp_path / "cache/runs").exists() or not list((tmp_path / "cache/runs").iterdir())
    everything = [*found.items(), *files_below(tmp_path), *files_below(reference)]
    assert secrets_in(*everything, ("said", "".join(capfd.readouterr()).encode())) == []
    assert validate(target).failures == []
    assert remake_page(target, profile=True) == f"{target}/report.html"
    again = validate(target)
    assert (again.to_dict()["run"], again.failures) == (target, [])
    trace = json.loads(s3.objects("two/out")["profile.json"])
    assert {e["args"]["block"] for e in trace["traceEvents"] if e.get("cat") == "block"} == {
        f"block_{row:05d}_{col:05d}" for row in range(3) for col in range(3)
    }
    with pytest.raises(OutputError, match=f"^{target}: holds a finished run"):
        run(prepare(reference / "pipeline.yaml", output=target))


@pytest.mark.slow
def test_kill_9_and_a_damaged_block_in_s3(s3, reference):
    target = f"s3://{BUCKET}/killed/out"
    process = processes.start("geoseg", "run", reference / "pipeline.yaml", "--output", target, "--quiet")

    def staged():
        return sorted(n for n in s3.names("killed/out") if n.endswith(".done"))

    end = time.monotonic() + 120
    while len(staged()) < 3:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert {"run.json", ".geoseg.lock"} & s3.names("killed/out") == {".geoseg.lock"}
    done = staged()
    key = f"killed/out/{done[0].replace('.done', '.tif')}"
    data = bytearray(s3.get(key))
    data[len(data) // 2] ^= 0xFF
    s3.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(data))
    since = len(s3.log.read_text())
    run(prepare(reference / "pipeline.yaml", output=target))
    found = s3.objects("killed/out")
    manifest = json.loads(found["run.json"])
    assert manifest["resumed"]
    again = manifest["plan"]["blocks"] - len(done) + 1
    assert s3.requests("/killed/out/staging/block", since)["PUT"] == 2 * again
    assert {n for n in EQUAL if found[n] != (reference / "out" / n).read_bytes()} == set()


def test_a_signed_url_is_written_nowhere(s3, scene, bundle, tmp_path, monkeypatch, capfd, caplog):
    s3.upload("signed", scene)
    get = {"Bucket": BUCKET, "Key": "signed/scene.tif"}
    url = s3.client.generate_presigned_url("get_object", Params=get)
    assert secrets_in(("url", url.encode()))
    path = write_pipeline(tmp_path, "later", bundle.folder, MORE)
    monkeypatch.setattr(sys, "argv", ["geoseg", "run", str(path), "--set", f"scene={url}"])
    run(prepare(path, [f"scene={url}"]))
    identity = read_manifest(tmp_path / "out")["identity"]["scene"]
    assert identity["files"] == [
        [url.partition("?")[0], scene.stat().st_size, s3.client.head_object(**get)["ETag"]]
    ]
    fresh()
    with (
        s3.denying("signed/*", "s3:GetObject"),
        pytest.warns(
            GeosegWarning, match=r"signed/scene.tif: its version could not be asked for \(HTTP 403\)"
        ),
        pytest.raises(SceneError, match=r"^http://\S+/signed/scene.tif: cannot be opened") as found,
    ):
        sources.inspect(url)
    said = "".join((*capfd.readouterr(), caplog.text, str(found.value)))
    assert secrets_in(*files_below(tmp_path), ("said", said.encode())) == []


def entry(uri):
    from geoseg.config.scene import SceneEntry

    return SceneEntry(uri=uri)


@pytest.mark.parametrize("kind", ["s3", "vsis3", "http", "login"])
def test_a_scene_that_changed_has_another_identity(s3, scene, tmp_path, kind):
    key = f"changing-{kind}/scene.tif"
    s3.upload(f"changing-{kind}", scene)
    s3.client.put_object_acl(Bucket=BUCKET, Key=key, ACL="public-read")
    host = s3.url.removeprefix("http://")
    uri = {
        "s3": f"s3://{BUCKET}/{key}",
        "vsis3": f"/vsis3/{BUCKET}/{key}",
        "http": f"http://{host}/{BUCKET}/{key}",
        "login": f"http://me:pa55word@{host}/{BUCKET}/{key}",
    }[kind]
    fresh()
    opened = open_scene(entry(uri), uri, tmp_path)
    before = json.loads(json.dumps(opened.identity()))
    assert secrets_in(("identity", json.dumps(before).encode()), ("repr", repr(opened).encode())) == []
    assert before["files"][0][1:] == [
        scene.stat().st_size,
        s3.client.head_object(Bucket=BUCKET, Key=key)["ETag"],
    ]
    assert reopen_scene(before)[1] is False
    other = write_raster(
        tmp_path / "scene.tif", reflectance(500, 500, seed=1), names=BAND_NAMES, scale=0.0001
    )
    s3.upload(f"changing-{kind}", other)
    s3.client.put_object_acl(Bucket=BUCKET, Key=key, ACL="public-read")
    fresh()
    after = json.loads(json.dumps(open_scene(entry(uri), uri, tmp_path).identity()))
    assert {k for k in before if before[k] != after[k]} == {"files"}


def test_a_vrt_knows_the_versions_of_its_remote_parts(s3, scene, tmp_path):
    import rasterio.shutil

    s3.upload("parts", scene)
    part = f"/vsis3/{BUCKET}/parts/scene.tif"
    gdal.prepare_gdal(part)
    rasterio.shutil.copy(part, tmp_path / "mosaic.vrt", driver="VRT")
    fresh()
    tag = s3.client.head_object(Bucket=BUCKET, Key="parts/scene.tif")["ETag"]
    assert sources.inspect(str(tmp_path / "mosaic.vrt")).parts == (
        FileVersion(part, scene.stat().st_size, tag),
    )


@pytest.mark.parametrize(
    "place", ["s3://{}/gone/scene.tif", "{1}/{0}/gone/scene.tif", "s3://no-such/scene.tif"]
)
def test_a_scene_that_is_not_there_is_one_line(s3, place, tmp_path):
    uri = place.format(BUCKET, s3.url)
    with pytest.raises(
        SceneError, match=f"^{re.escape(uri)}: (no such (object|file)|cannot be read: there is no)"
    ):
        open_scene(entry(uri), "x", tmp_path)


def test_a_scene_or_bundle_that_may_not_be_read_is_one_line(s3, scene, bundle, tmp_path):
    uri = s3.upload("denied", scene)
    upload_bundle(s3, bundle, "denied/toy")
    with s3.denying("denied/*", "s3:GetObject"):
        for place, kind in ((lambda: open_scene(entry(f"{uri}/scene.tif"), "x", tmp_path), SceneError), (
            lambda: open_bundle(f"{uri}/toy"), BundleError,
        )):  # fmt: skip
            with pytest.raises(kind, match=r"^s3://.*: cannot be (read|opened).*(denied|403)") as found:
                place()
            assert "\n" not in str(found.value)


def test_a_bundle_is_cached_healed_and_held_to_its_checksum(s3, bundle, tmp_path):
    uri = upload_bundle(s3, bundle, "cached/toy")
    since = len(s3.log.read_text())
    first = open_bundle(uri)
    assert (first.sha256, first.place) == (bundle.sha256, uri)
    assert first.folder.parent == tmp_path / "cache/bundles"
    assert open_bundle(f"{uri}/").folder == first.folder
    assert s3.requests(WEIGHTS, since)["GET"] == 1
    (first.folder / WEIGHTS).write_bytes(b"torn")
    assert open_bundle(uri).sha256 == bundle.sha256
    assert s3.requests(WEIGHTS, since)["GET"] == 2
    shutil.rmtree(tmp_path / "cache")
    s3.client.put_object(Bucket=BUCKET, Key=f"cached/toy/{WEIGHTS}", Body=b"torn")
    with pytest.raises(
        BundleError, match=rf"^{uri}/{WEIGHTS}: is truncated or altered.*upload the bundle again"
    ):
        open_bundle(uri)
    assert [p.name for p in (tmp_path / "cache/bundles").iterdir() if not p.name.endswith(".lock")] == []
    with pytest.raises(BundleError, match=r"is no bundle: there is no geoseg.json"):
        open_bundle(f"s3://{BUCKET}/cached")


def test_a_profile_is_enough(s3, scene, bundle, tmp_path, monkeypatch):
    """Endpoint, region and keys stand in ~/.aws: GDAL and the object-store library both find them."""
    uri = s3.upload("profile", scene)
    model = upload_bundle(s3, bundle, "profile/toy")
    (tmp_path / "config").write_text(f"[profile lab]\nregion = eu-central-1\nendpoint_url = {s3.url}\n")
    (tmp_path / "keys").write_text(f"[lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    with pytest.raises(ConfigError, match="no credentials were found"):
        prepare(write_pipeline(tmp_path, f"{uri}/scene.tif", model))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    from geoseg.storage import aws, object_store

    for cached in (aws.access, aws._session, object_store._client):
        cached.cache_clear()
    assert prepare(write_pipeline(tmp_path, f"{uri}/scene.tif", model)).scene.shape == (500, 500)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    aws._session.cache_clear()
    with pytest.raises(ConfigError, match=r"S3: the settings for AWS cannot be used: .*nobody"):
        aws._session()


def test_public_data_needs_no_credentials(s3, scene, tmp_path, monkeypatch):
    uri = s3.upload("public", scene)
    s3.client.put_object_acl(Bucket=BUCKET, Key="public/scene.tif", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert open_scene(entry(f"{uri}/scene.tif"), "x", tmp_path).shape == (500, 500)


def test_a_place_that_cannot_be_written_is_told_before_the_work(s3, scene, bundle, tmp_path):
    path = write_pipeline(tmp_path, scene, bundle.folder)
    with pytest.raises(ConfigError, match=r"^https://host/out: here a folder is expected, or s3://"):
        prepare(path, output="https://me:pa55word@host/out")
