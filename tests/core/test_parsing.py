import os
from pathlib import Path

import pytest

from geoseg.core.errors import BundleError
from geoseg.core.files import as_object, read_json
from geoseg.core.parsing import MOST_DEPTH, open_regular, parse_json, read_bytes


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [MOST_DEPTH + 2, 900, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_without_end_is_refused(depth, start, end):
    with pytest.raises(ValueError, match="lists and mappings are inside each other"):
        parse_json(start * depth + "1" + end * depth)


def test_json_of_some_depth_is_read():
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert len(parse_json(nested(MOST_DEPTH))) == 1


def test_damaged_json_is_told_as_such(tmp_path):
    with pytest.raises(BundleError, match=r"a\.json: cannot be read: more than 64 lists"):
        as_object(nested(10**5).encode(), "a.json", BundleError, "of facts")
    (tmp_path / "a.json").write_text(nested(10**5))
    assert read_json(tmp_path / "a.json") is None


@pytest.mark.timeout(10)
def test_only_regular_files_of_some_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"12345")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="is no regular file"):
            read_bytes(path)
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ValueError, match="is larger than"):
        read_bytes(tmp_path / "file", 4)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no regular file"):
        open_regular(tmp_path / "pipe")
