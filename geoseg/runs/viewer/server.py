"""The server of the map of a run: on this machine alone, for one user, read-only."""

import hmac
import secrets
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rasterio.errors import RasterioError

from geoseg.core.errors import ConfigError, GeosegError, one_line
from geoseg.core.extras import require

if TYPE_CHECKING:
    from geoseg.runs.viewer.site import Answer, Site

_LOOPBACK = "127.0.0.1"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""MapLibre starts its worker from a blob and has its symbols as data."""

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class MapServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Hands out the map of one run on 127.0.0.1 until it is closed.

    The address has a secret part, without which nothing is answered: others who work on this machine reach
    its ports, too.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, site: "Site", port: int = 0) -> None:
        self.site = site
        self.secret = secrets.token_urlsafe(16)
        super().__init__((_LOOPBACK, port), _Handler)
        self.port = int(self.server_address[1])
        self.hosts = {f"{name}:{self.port}" for name in (_LOOPBACK, "localhost")}

    @property
    def url(self) -> str:
        """The address of the map."""
        return f"http://{_LOOPBACK}:{self.port}/{self.secret}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; anything else is a fault."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: MapServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "geoseg", ""
    timeout = 60
    """Seconds for which a connection may say nothing."""

    def do_GET(self) -> None:
        self._send(self._answer())

    def do_HEAD(self) -> None:
        self._send(self._answer())

    def _answer(self) -> "Answer":
        from geoseg.runs.viewer.site import ABSENT, Answer  # noqa: PLC0415 (needs an extra)

        # A page of elsewhere may have its name point to this machine; it cannot choose this header.
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            return Answer(b"this address is not served here\n", status=403)
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{hosts[0]}":
            return Answer(b"other pages may not read this map\n", status=403)
        asked = urlsplit(self.path)
        _, _, rest = asked.path.partition("/")
        secret, slash, path = rest.partition("/")
        if not slash or not hmac.compare_digest(secret.encode(), self.server.secret.encode()):
            return ABSENT
        try:
            return self.server.site.answer(path, asked.query)
        except (OSError, RasterioError, GeosegError) as error:
            return Answer(f"{one_line(error)}\n".encode(), status=500)

    def _send(self, answer: "Answer") -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body that nobody reads is not the next request
        self.send_response(answer.status)
        text = answer.kind.startswith("text/")
        self.send_header("Content-Type", f"{answer.kind}; charset=utf-8" if text else answer.kind)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        if answer.gzipped:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Cache-Control", "private, max-age=3600" if answer.lasting else "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing of requests."""


def open_server(place: Path | str, port: int | None = None) -> MapServer:
    """Make the server of the map of a finished run; it answers while `serve_forever` runs.

    Parameters
    ----------
    place
        The run folder.
    port
        Port on 127.0.0.1; None: a free one.

    Raises
    ------
    ConfigError
        When a library is missing, or the port is in use or not allowed.
    OutputError
        When the folder holds no finished run or lies in an object store, or a web map cannot show its maps.

    Examples
    --------
    >>> with open_server("outputs/landcover") as server:  # doctest: +SKIP
    ...     print(server.url)
    ...     server.serve_forever()
    http://127.0.0.1:41327/qVhzrl0dKi6LJSq5cJkGgA/
    """
    for module in ("rio_tiler", "pmtiles", "maplibre"):
        require(module, "view", "geoseg view --serve")
    from geoseg.runs.viewer.site import open_site  # noqa: PLC0415 (needs the extra)

    site = open_site(place)
    try:
        return MapServer(site, port or 0)
    except OSError as error:
        raise ConfigError(
            f"--port {port}: {one_line(error)}; choose another, or leave it out for a free one"
        ) from error
