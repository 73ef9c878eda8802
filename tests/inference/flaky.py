"""A web server that fails for a while: `python -m tests.inference.flaky FOLDER`.

It serves the folder with ranges, answers 503 as often as the number in `FOLDER/failures` says, and prints its
port. A process of its own: GDAL keeps Python's lock while it waits for an answer.
"""

import re
import subprocess
import sys
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.conftest import ROOT


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send_head(self):
        left = Path(self.directory, "failures")
        failures = int(left.read_text()) if left.exists() else 0
        if failures > 0:
            left.write_text(str(failures - 1))
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        path, span = Path(self.translate_path(self.path)), self.headers.get("Range", "")
        match = re.match(r"bytes=(\d+)-(\d+)", span)
        if match is None or not path.is_file():
            return super().send_head()
        data = path.read_bytes()
        first, last = int(match[1]), min(int(match[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[first : last + 1])
        return None

    def log_message(self, *_):
        pass


@contextmanager
def serve(folder):
    """Serve a folder; yield the address."""
    command = [sys.executable, "-m", "tests.inference.flaky", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    folder = sys.argv[1]
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Handler(*a, directory=folder)) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
