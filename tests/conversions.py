"""What stands for `subprocess` where networks are converted to OpenVINO: the process that asks converts."""

import ast
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

_LARGEST = 10_000_000
"""Bytes of a conversion that is kept in memory."""

_made: dict[str, dict[str, bytes]] = {}
"""Files of the conversions of this process: many bundles have one network, and differ in their cards."""


def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
    """Run the code of a conversion in this process; return what its own would have said."""
    code = command[-1]
    try:
        bundle, folder = map(Path, ast.literal_eval(f"({code.partition('convert_bundle(')[2]}"))
        network = _network_of(bundle)
        if network not in _made:
            exec(code)  # noqa: S102 (geoseg wrote it)
            files = {f.name: f.read_bytes() for f in folder.iterdir() if f.stat().st_size < _LARGEST}
            if len(files) == len(list(folder.iterdir())):
                _made[network] = files
        else:
            for name, content in _made[network].items():
                (folder / name).write_bytes(content)
    except Exception as error:  # noqa: BLE001 (a process of its own would end with its traceback)
        return subprocess.CompletedProcess(command, 1, "", f"{type(error).__name__}: {error}")
    return subprocess.CompletedProcess(command, 0, "", "")


def _network_of(bundle: Path) -> str:
    """Return what a conversion depends on: architecture, weights, and the sizes that it is traced with."""
    card = json.loads((bundle / "geoseg.json").read_text())
    return json.dumps([(bundle / "config.json").read_text(), card["weights_sha256"], card["tile"]])
