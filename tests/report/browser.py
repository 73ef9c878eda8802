"""A page in headless Chromium, driven through the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/; distributed brings tornado, and that the websocket.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tornado.websocket import websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
WEBGL = ("--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader")
"""Flags for pages that draw with WebGL, on machines without a GPU."""
_SECONDS = 30


_COMPLAINTS = {
    "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed",
}  # fmt: skip


class Page:
    """One page; every call waits for its answer."""

    def __init__(self, loop, socket):
        self._loop, self._socket, self._numbers = loop, socket, itertools.count(1)
        self.complaints = []
        """Messages on the console, exceptions, and refused or failed loads."""
        self.requests = []
        """Addresses that were asked for."""

    def call(self, method, **parameters):
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), _SECONDS))

    async def _call(self, method, parameters):
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._socket.read_message())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method in {
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Runtime.consoleAPICalled",
            "Network.loadingFailed",
        }:
            self.complaints.append(parameters)
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"][:100])

    def js(self, code):
        """Evaluate an expression, a promise to its end; return its value."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def ready(self):
        """Wait until the map can be used."""
        self.js(_READY)
        self.settle()

    def settle(self):
        """Wait until what was asked for is drawn."""
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=float(x), y=float(y), **more)

    def drag(self, start, stop):
        self.mouse("mousePressed", *start, button="left", clickCount=1)
        self.mouse("mouseMoved", *stop, button="left", buttons=1)
        self.mouse("mouseReleased", *stop, button="left", clickCount=1)
        self.settle()

    def touch(self, kind, *points):
        self.call(
            "Input.dispatchTouchEvent",
            type=kind,
            touchPoints=[{"x": float(x), "y": float(y)} for x, y in points],
        )

    def key(self, key):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def resize(self, width, height, *, ratio=1, mobile=False):
        size = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)
        self.settle()

    def media(self, kind="", *, dark=False):
        """Show the page as a screen or a printer does, and as a reader who likes it light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=kind, features=[scheme])
        self.settle()

    def screenshot(self, path=None, *, whole=False):
        data = base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])
        if path:
            Path(path).write_bytes(data)
        return data


@contextlib.contextmanager
def opened(path, width=1280, height=900, flags=()):
    """Open a file, or an address on this machine, in a browser that reaches no network."""
    served = str(path).startswith("http://127.0.0.1:")
    rules = "--host-resolver-rules=MAP * ~NOTFOUND" + ", EXCLUDE 127.0.0.1" * served
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            CHROMIUM,
            *_FLAGS,
            rules,
            *flags,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        loop = asyncio.new_event_loop()
        try:
            (port,) = next(
                filter(None, (re.findall(r"ws://127\.0\.0\.1:(\d+)/", line) for line in process.stderr))
            )
            page = loop.run_until_complete(asyncio.wait_for(_attach(loop, port), _SECONDS))
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            page.resize(width, height)
            page.call("Page.navigate", url=path if served else Path(path).resolve().as_uri())
            page.ready()
            yield page
        finally:
            process.terminate()
            process.communicate(timeout=_SECONDS)
            loop.close()


_READY = """new Promise((done) => {
  const live = () => document.querySelector("[data-ready]") || !document.querySelector("#map");
  const ready = () => document.readyState === "complete" && live();
  const look = () => ready() ? done(1) : setTimeout(look, 20);
  look();
})"""


async def _attach(loop, port):
    from tornado.httpclient import AsyncHTTPClient

    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
    target = next(t for t in json.loads(answer.body) if t["type"] == "page")
    return Page(loop, await websocket_connect(target["webSocketDebuggerUrl"], max_message_size=1 << 28))
