"""What the tests leave in the root of the repository."""

from tests.conftest import left_behind


def test_what_is_new_is_named_but_for_caches(tmp_path):
    for name in ("old", "?;.gpkg", "jobs", ".pytest_cache"):
        (tmp_path / name).mkdir()
    assert left_behind({"old", "gone"}, tmp_path) == ["?;.gpkg", "jobs"]
    assert left_behind({"old", "jobs", "?;.gpkg"}, tmp_path) == []
