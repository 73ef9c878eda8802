import errno
import os
import stat
from pathlib import Path

import pytest

from geoseg.core import files
from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error, sha256, write_atomic
from geoseg.core.paths import plain_path


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    if step == "replace":
        monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OutputError, match=r"a\.bin: cannot be written: No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_room_that_is_left(tmp_path, number):
    text = r"x\.tif: cannot be written: .+ \(\d+ MB free\); make room"
    with pytest.raises(OutputError, match=text) as caught, as_output_error(tmp_path / "x.tif"):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match=r"gone/a\.bin: cannot be written: No such file.*choose another"):
        write_atomic(tmp_path / "gone" / "a.bin", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_must_not_be_written_is_told(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OutputError, match=r"Permission denied; choose another folder"):
            write_atomic(tmp_path / "a.bin", b"x")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(ZeroDivisionError), as_output_error(tmp_path / "a"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "allow more: ulimit -n 1024"),
        ("Attempt to open failed: Too many open files", "allow more: ulimit -n 1024"),
        (OSError(errno.EHOSTUNREACH, "cannot be reached"), "run the same command again when it answers"),
        (OSError(errno.ENODEV, "there is no such bucket"), "choose another folder with --output"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "make room and run the same command again"),
        ("database or disk is full", "make room and run the same command again"),
        ("broken", "make room or check the disk, and run the same command again"),
    ],
)
def test_the_advice_is_that_of_the_cause(tmp_path, reason, remedy):
    said = str(files.unusable_place(tmp_path / "x.tif", reason))
    assert said.startswith(f"{tmp_path}/x.tif: cannot be written: ")
    assert remedy in said


@pytest.mark.timeout(20)
def test_a_pipe_is_neither_hashed_nor_given_to_a_library(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no regular file"):
        sha256(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe or a device, and no file"), plain_path(tmp_path / "pipe"):
        pass


def test_a_folder_is_no_file_to_write():
    with pytest.raises(OutputError, match="/: is a folder; give the name of a file in it"):
        write_atomic(Path("/"), b"")
