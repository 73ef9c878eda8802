"""What a store promises, held to a folder and to S3."""

import json
import pickle
import sys

import pytest

from geoseg.core.errors import ConfigError, OutputError
from geoseg.runs.folder import open_run_folder
from geoseg.storage import lease, object_store
from geoseg.storage.object_store import ObjectStore
from geoseg.storage.store import open_store
from tests.run_folders import NAMES, PLAN, interrupt, publish
from tests.s3 import BUCKET, KEY, SECRET


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return tmp_path / "run"
    server = request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{server.prefix(request)}/run"


@pytest.fixture
def on_s3(s3, request):
    return f"s3://{BUCKET}/{s3.prefix(request)}"


def test_files_are_written_listed_read_and_deleted(place, tmp_path):
    store = open_store(place)
    store.create()
    assert store.names() == []
    assert store.read("a b&c.json") is None
    store.write("a b&c.json", b"1")
    store.write("a b&c.json", b"22")
    below = store.child("below")
    below.create()
    below.write("x.tif", b"3")
    assert store.names() == ["a b&c.json", "below"]
    assert (store.read("a b&c.json"), below.read("x.tif")) == (b"22", b"3")
    made = tmp_path / "made.html"
    made.write_bytes(b"page")
    store.adopt(made)
    assert (store.read("made.html"), made.exists()) == (b"page", False)
    store.fetch("made.html", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"page"
    store.delete(["made.html", "never.there"])
    below.clear(last="x.tif")
    assert store.names() == ["a b&c.json"]
    with pytest.raises(FileNotFoundError):
        store.fetch("made.html", tmp_path / "copy")


def test_an_interrupted_clearing_of_a_prefix_leaves_the_file_that_tells_whose_it_is(on_s3, monkeypatch):
    store = open_store(on_s3)
    names = [f"block_{i}.tif" for i in range(4)] + ["plan.json", "sub/plan.json", "z.vrt"]
    client = store._client()
    requests = []

    class Dying:
        def __init__(self, allowed):
            self.allowed = allowed

        def list(self, **options):
            return client.list(**options)

        def delete(self, paths):
            if len(requests) == self.allowed:
                raise OSError(5, "the process is gone")
            requests.append(list(paths))
            client.delete(paths)

    monkeypatch.setattr(object_store, "_DELETED_AT_ONCE", 2)
    for allowed in range(6):
        for name in names:
            store.write(name, b"1")
        requests.clear()
        with monkeypatch.context() as patch:
            dying = Dying(allowed)
            patch.setattr(object_store, "_client", lambda *_, dying=dying: dying)
            store.clear(last="plan.json")
        left = store.names()
        assert "plan.json" in left or left == []
    assert left == []
    assert requests[-1] == ["plan.json"]


def test_a_store_travels_without_credentials(on_s3):
    store = open_store(on_s3)
    store.write("x", b"1")
    packed = pickle.dumps(store)
    assert KEY.encode() not in packed
    assert SECRET.encode() not in packed
    assert pickle.loads(packed).read("x") == b"1"  # noqa: S301
    assert repr(store) == f"ObjectStore(uri={on_s3!r})"


def test_browsers_are_told_what_a_file_is(s3, on_s3, tmp_path):
    (tmp_path / "report.html").write_bytes(b"page")
    open_store(on_s3).adopt(tmp_path / "report.html")
    key = f"{on_s3.removeprefix(f's3://{BUCKET}/')}/report.html"
    assert s3.client.head_object(Bucket=BUCKET, Key=key)["ContentType"] == "text/html"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("ftp://host/x", "a folder is expected, or s3://"),
        ("https://host/x", "a folder is expected, or s3://"),
        ("s3://", "has no bucket"),
        ("s3://AKIA:secret@bucket/x", "^s3://bucket/x: credentials come from the environment"),
        ("s3://bucket/x?token=abc", "^s3://bucket/x: credentials come"),
    ],
)
def test_places_that_cannot_be_used_are_told(place, says):
    with pytest.raises(ConfigError, match=says):
        open_store(place)


def test_without_the_library_one_line_says_what_to_install(s3, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigError, match=r"object stores need obstore.*pip install 'geoseg\[s3\]'"):
        open_store("s3://b").names()


def test_a_run_leaves_its_outputs_alone_and_is_not_done_twice(place):
    store = open_store(place)
    assert publish(place, names=["classes.tif", "confidence.tif"]) is False
    assert store.names() == ["classes.tif", "confidence.tif", "run.json"]
    with pytest.raises(OutputError, match="holds a finished run"):
        interrupt(place)
    store.write("notes.txt", b"mine")
    publish(place, overwrite=True)
    assert store.names() == ["classes.tif", "notes.txt", "run.json"]


def test_the_same_plan_resumes_and_another_is_refused(place):
    assert not interrupt(place).resumed
    run = interrupt(place)
    assert run.resumed
    with pytest.raises(OutputError, match=r"its tile is \[64, 64\], now \[1, 1\]"):
        interrupt(place, {**PLAN, "tile": [1, 1]})
    assert run.staging.read("block.tif") == b"done"
    with open_run_folder(place, {"tile": [1, 1]}, NAMES, overwrite=True) as other:
        assert not other.resumed
        assert other.staging.names() == ["plan.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_staging_place_of_somebody_else_is_never_deleted(place, overwrite):
    staging = open_store(place).child("staging")
    staging.create()
    staging.write("precious.txt", b"mine")
    with pytest.raises(OutputError, match="is not the staging of a geoseg run; move it away"):
        publish(place, overwrite=overwrite)
    assert staging.read("precious.txt") == b"mine"


def test_a_manifest_that_is_not_ours_stays(place):
    store = open_store(place)
    store.create()
    store.write("run.json", b"[]")
    with pytest.raises(OutputError, match=r"has a run.json that is not of a geoseg run"):
        publish(place)
    assert store.read("run.json") == b"[]"


def test_a_second_run_is_kept_out(place):
    with (
        open_run_folder(place, PLAN, NAMES, overwrite=False),
        pytest.raises(OutputError, match="another geoseg run is writing here"),
    ):
        publish(place, overwrite=True)
    assert publish(place) is True


def card(**changes):
    return json.dumps({**lease._this_process(), **changes}).encode()


def test_the_lock_of_a_process_that_died_here_is_taken_over(on_s3):
    open_store(on_s3).write(lease.NAME, card(process=2**22 + 1))
    assert publish(on_s3) is False
    assert lease.NAME not in open_store(on_s3).names()


def test_a_lock_held_elsewhere_ends_by_silence_alone(on_s3, monkeypatch):
    store = open_store(on_s3)
    store.write(lease.NAME, card(space="another machine", host="node7", process=12))
    with pytest.raises(OutputError, match=r"process 12 on node7, since 20.*by itself after 120 s of silence"):
        publish(on_s3)
    monkeypatch.setattr(lease, "SILENCE", lease.timedelta(0))
    monkeypatch.setattr(lease, "RENEW", lease.timedelta(seconds=0.1))
    real = lease.time.sleep

    def speaks(seconds):
        store.write(lease.NAME, card(space="another machine", renewed="now"))
        real(seconds)

    monkeypatch.setattr(lease.time, "sleep", speaks)
    with pytest.raises(OutputError, match="another geoseg run is writing here"):
        publish(on_s3)
    monkeypatch.setattr(lease.time, "sleep", real)
    assert publish(on_s3) is False


def test_a_held_lock_is_renewed_and_goes(on_s3, monkeypatch):
    monkeypatch.setattr(lease, "RENEW", lease.timedelta(seconds=0.05))
    store = open_store(on_s3)
    assert isinstance(store, ObjectStore)
    with store.lock() as check:
        first = store.version(lease.NAME)
        lease.time.sleep(0.5)
        assert store.version(lease.NAME).tag != first.tag
        check()
    assert store.names() == []


def test_a_run_that_lost_its_lock_publishes_nothing(on_s3):
    store = open_store(on_s3)
    with open_run_folder(on_s3, PLAN, NAMES, overwrite=False) as run:
        store.write(lease.NAME, card(id="other"))
        (run.workspace / "classes.tif").write_bytes(b"1")
        with pytest.raises(OutputError, match="another run took this one for dead"):
            run.publish([run.workspace / "classes.tif"], {})
    assert store.names() == [lease.NAME, "staging"]
    assert json.loads(store.read(lease.NAME))["id"] == "other"


def test_what_a_store_refuses_is_one_line(s3, on_s3, monkeypatch):
    with pytest.raises(
        OutputError, match=r"^s3://no-such-bucket/x.*: there is no such bucket; choose another"
    ):
        publish("s3://no-such-bucket/x")
    with (
        s3.denying(f"{on_s3.removeprefix(f's3://{BUCKET}/')}/*", "s3:PutObject"),
        pytest.raises(OutputError, match=r"cannot be written: access denied.*check AWS_PROFILE"),
    ):
        open_store(on_s3).write("x", b"1")


def test_errors_of_a_store_travel_from_workers(s3, on_s3):
    from distributed.core import collect_causes
    from distributed.protocol.pickle import dumps, loads
    from tblib import pickling_support

    with s3.denying(f"{on_s3.removeprefix(f's3://{BUCKET}/')}/*", "s3:PutObject"):
        with pytest.raises(OutputError) as found:
            open_store(on_s3).write("x", b"1")
        pickling_support.install(found.value, *collect_causes(found.value))
    assert str(loads(dumps(found.value))) == str(found.value)
