"""Wall time, CPU time and peak memory of a command and all the processes it starts."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.05


class FailedError(Exception):
    """A command that was to be measured failed."""


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall: float
    """Seconds."""
    cpu: float
    """User and system seconds of the process and of all that it waited for."""
    peak: float
    """GB: the largest sum of resident memory over its processes at one moment, or the high-water mark of the
    largest process where that is more."""


def measured(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Raises
    ------
    FailedError
        With the last line it printed.
    """
    start, peak = time.perf_counter(), 0
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **(environment or {})}, cwd=Path.cwd()
        )
        family = psutil.Process(process.pid)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, _resident(family))
            time.sleep(INTERVAL)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        raise FailedError(f"exit status {process.returncode}: {(lines or ['no message'])[-1].strip()[:300]}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, peak / 1e9)


def _resident(family: psutil.Process) -> int:
    """Return bytes; `ru_maxrss` would not do, it begins with that of the process that started the command."""
    now, highest = 0, 0
    try:
        for process in (family, *family.children(recursive=True)):
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if key == "VmRSS":
                    now += int(value.split()[0]) * 1024
                elif key == "VmHWM":
                    highest = max(highest, int(value.split()[0]) * 1024)
    except (psutil.NoSuchProcess, OSError):
        pass  # it ended meanwhile
    return max(now, highest)
