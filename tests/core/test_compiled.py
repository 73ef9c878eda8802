import errno

import numpy as np
from numba.core import caching

from geoseg.core.compiled import compiled


def add(values, number):
    total = 0.0
    for value in values:
        total += value * number
    return total


def test_a_full_disk_does_not_stop_a_loop(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert compiled(add)(np.arange(5.0), 2.0) == 20


def test_a_loop_runs_where_no_folder_can_be_written(monkeypatch):
    monkeypatch.setattr(caching.FunctionCache, "_impl_class", NoPlace)
    assert compiled(add)(np.arange(5.0), 3.0) == 30


class NoPlace(caching.CompileResultCacheImpl):
    _locator_classes = ()
