"""A real S3 endpoint on the loopback interface: the moto server in a process of its own."""

import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

KEY, SECRET, BUCKET = "AKIAGEOSEGTESTKEY000", "geoseg/test+secret/never/written/down000", "geoseg-test"


@dataclass(frozen=True)
class Server:
    """The endpoint, and what it was asked."""

    url: str
    log: Path
    environment: dict[str, str]
    """What a program needs to reach it: no more than for any S3."""

    @property
    def client(self) -> Any:
        """Boto3's client, to look at the bucket and to change it behind geoseg's back."""
        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )  # fmt: skip

    def upload(self, prefix: str, *files: Path) -> str:
        """Put files below a prefix; return its URI."""
        for file in files:
            self.client.upload_file(str(file), BUCKET, f"{prefix}/{file.name}")
        return f"s3://{BUCKET}/{prefix}"

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Return the objects below a prefix by the rest of their names."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        keys = [o["Key"] for page in pages for o in page.get("Contents", [])]
        return {k.removeprefix(f"{prefix}/"): self.get(k) for k in keys}

    def names(self, prefix: str) -> set[str]:
        """Return the names below a prefix."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
        return {o["Key"].removeprefix(f"{prefix}/") for o in found}

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    @staticmethod
    def prefix(request: Any) -> str:
        """Return a prefix for one test."""
        return re.sub(r"\W+", "-", request.node.name)

    @contextmanager
    def denying(self, keys: str, *actions: str) -> Iterator[None]:
        """Forbid actions on some keys."""
        statement = {
            "Effect": "Deny", "Principal": "*", "Action": list(actions),
            "Resource": f"arn:aws:s3:::{BUCKET}/{keys}",
        }  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client.put_bucket_policy(Bucket=BUCKET, Policy=policy)
        try:
            yield
        finally:
            self.client.delete_bucket_policy(Bucket=BUCKET)

    def requests(self, part: str, since: int = 0) -> Counter[str]:
        """Count the requests by method whose path holds a text."""
        lines = self.log.read_text()[since:].splitlines()
        found = (re.search(r'"\S*?(GET|HEAD|PUT|POST|DELETE) (\S+)', line) for line in lines)
        return Counter(m[1] for m in found if m and part in m[2])


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start the server with an empty bucket."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    log = folder / "requests.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(folder / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true", "GEOSEG_CACHE": str(folder / "cache"),
    }  # fmt: skip
    server = Server(environment["AWS_ENDPOINT_URL"], log, environment)
    try:
        _wait_for(port, process)
        server.client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return
