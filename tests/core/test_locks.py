import pytest

from geoseg.core import locks
from geoseg.core.errors import OutputError


def test_a_lock_file_that_was_removed_meanwhile_is_not_taken_for_a_lock(tmp_path, monkeypatch):
    taken = []

    def acquire(path):
        handle = real(path)
        if not taken:
            path.unlink()  # what the run before does as it ends
        taken.append(handle)
        return handle

    real = locks._acquire
    monkeypatch.setattr(locks, "_acquire", acquire)
    with locks.lock_folder(tmp_path):
        assert len(taken) == 2
        with pytest.raises(OutputError, match="another geoseg run"):
            real(tmp_path / locks._LOCK)
