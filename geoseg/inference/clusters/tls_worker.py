"""`dask worker` with certificates from its standard input: a command line can be read by everybody.

Run with `-m` on the machine of the worker. The certificates lie in a folder of this user alone until it ends.
"""

import json
import sys
import tempfile
from pathlib import Path

from distributed import Security

from geoseg.inference.clusters.network import write_private

_FLAGS = {"ca_file": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}


def packed(security: Security) -> str:
    """Return the certificates of a worker as a line for its standard input."""
    given = security.get_tls_config_for_role("worker")
    return json.dumps({flag: given[key] for key, flag in _FLAGS.items()}) + "\n"


def unpack(line: str, folder: Path) -> list[str]:
    """Write the certificates of a line into a folder; return the arguments that name them."""
    arguments = []
    for flag, text in json.loads(line).items():
        path = folder / f"{flag.removeprefix('--')}.pem"
        write_private(path, text)
        arguments += [flag, str(path)]
    return arguments


def main() -> None:
    """Become a worker."""
    from distributed.cli.dask_worker import main as become_worker  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        become_worker([*sys.argv[1:], *unpack(sys.stdin.readline(), Path(folder))])


if __name__ == "__main__":
    main()
