"""Servers that answer slowly or never: every way of reading ends, and says what it waited for."""

import socket
import threading
import time

import pytest

from geoseg.core import process
from geoseg.core.errors import SceneError
from geoseg.scenes import remote, sources
from geoseg.storage import aws, object_store
from geoseg.storage.store import open_store


class Server:
    """Accepts connections on the loopback; `talk` gets each."""

    def __init__(self, talk):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.talk, self.open = talk, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        try:
            connection.recv(65536)
            self.talk(connection)
        except OSError:
            return

    def close(self):
        self.socket.close()
        for connection in self.open:
            connection.close()


def silence(_):
    time.sleep(30)


def drip(connection):
    connection.sendall(b'HTTP/1.1 206 Partial Content\r\nContent-Length: 16384\r\nETag: "1"\r\n')
    connection.sendall(b"Content-Range: bytes 0-16383/100000\r\n\r\n")
    for _ in range(300):
        connection.sendall(b"x")
        time.sleep(0.1)


@pytest.fixture
def serve():
    servers = []

    def start(talk):
        servers.append(Server(talk))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


def test_a_server_that_never_answers_is_told(serve, monkeypatch):
    monkeypatch.setattr(remote, "_TIMEOUT", 0.3)
    url = serve(silence)
    with pytest.raises(SceneError, match=rf"^{url}/a\.tif: cannot be reached: timed out"):
        sources.inspect(f"{url}/a.tif")


def test_a_server_that_drips_is_told(serve, monkeypatch):
    # GDAL measures the speed over whole seconds.
    monkeypatch.setitem(process.GDAL_NETWORK, "GDAL_HTTP_LOW_SPEED_TIME", "1")
    url, begun = serve(drip), time.monotonic()
    with pytest.raises(SceneError, match=r"a\.tif: cannot be opened: .*"):
        sources.inspect(f"{url}/a.tif")
    assert time.monotonic() - begun < 20


def test_the_user_may_wait_longer(monkeypatch):
    from rasterio._env import get_gdal_config

    from geoseg.scenes.gdal import prepare_gdal

    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "77")
    prepare_gdal("http://127.0.0.1:9/a.tif")
    assert str(get_gdal_config("GDAL_HTTP_LOW_SPEED_TIME")) == "77"


def test_a_store_that_never_answers_is_told(serve, monkeypatch, tmp_path):
    for key, value in {
        "AWS_ENDPOINT_URL": serve(silence), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(object_store, "_QUESTIONS", {"timeout": "300ms", "connect_timeout": "300ms"})
    monkeypatch.setattr(object_store, "_RETRIES", {"max_retries": 1, "retry_timeout": aws.RETRY_TIMEOUT})
    caches = (aws.access, aws._session, object_store._client, remote._version)
    for cache in caches:
        cache.cache_clear()
    try:
        with pytest.raises(
            SceneError, match=r"^s3://b/a\.tif: cannot be read: the object store cannot be rea"
        ):
            sources.inspect("s3://b/a.tif")
        with pytest.raises(OSError, match="the object store cannot be reached"):
            open_store("s3://b/out").names()
    finally:
        for cache in caches:
            cache.cache_clear()
