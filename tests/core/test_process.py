import os
import subprocess
import sys

import pytest

from geoseg.core.process import VARIABLES, configure_process
from tests.conftest import ROOT

CODE = """
import ctypes, os, sys, threading, time
from geoseg.core.process import configure_process
configure_process()
def work():
    ctypes.CDLL(None).malloc(100)
    time.sleep(0.2)
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(os.environ["MALLOC_ARENA_MAX"])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's arenas")
@pytest.mark.parametrize("asked", [None, "3"])
def test_threads_share_two_arenas_or_as_many_as_the_user_says(asked, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    if asked:
        environment["MALLOC_ARENA_MAX"] = asked
    path = tmp_path / "arenas.xml"
    command = [sys.executable, "-c", CODE, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == f"{asked or 2}\n"
    assert path.read_text().count("<heap nr=") == int(asked or 2)


EVERY_MODULE = """
import importlib, os, pkgutil
import geoseg
before = dict(os.environ)
for module in pkgutil.walk_packages(geoseg.__path__, "geoseg."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
# torch and Lightning set variables of their own.
others = ("TORCH", "PYTORCH")
print({k: v for k, v in os.environ.items() if before.get(k) != v and not k.startswith(others)})
"""


def test_importing_geoseg_leaves_the_environment_alone():
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    command = [sys.executable, "-W", "ignore", "-c", EVERY_MODULE]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "{}\n"


def test_values_of_the_user_stay(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GDAL_CACHEMAX", "512")
    configure_process()
    assert {name: os.environ[name] for name in VARIABLES} == {**VARIABLES, "GDAL_CACHEMAX": "512"}


FAULTS = """
import resource
import numpy as np
from geoseg.core.process import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(8 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_memory_is_kept_under_the_variables_of_dask():
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    # Pages may be huge; each array is new memory before, and none is after.
    assert before >= 20 * 4
    assert after < before / 10
