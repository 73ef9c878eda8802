import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import geoseg
from geoseg.core.errors import GeosegWarning
from geoseg.core.notices import collect_warnings, ignore_warnings


def test_each_thread_collects_its_own_and_the_filters_are_given_back_in_any_order():
    before = list(warnings.filters), warnings.showwarning
    steps = Barrier(2)

    def first():
        with collect_warnings() as found:
            steps.wait(5)
            warnings.warn("one", GeosegWarning, stacklevel=1)
            steps.wait(5)
        steps.wait(5)
        return found

    def second():
        steps.wait(5)
        with collect_warnings() as found:
            steps.wait(5)
            steps.wait(5)  # the first has left
            warnings.warn("two", GeosegWarning, stacklevel=1)
            warnings.warn("of another library", UserWarning, stacklevel=1)
        return found

    with ThreadPoolExecutor(2) as pool:
        found = [f.result(10) for f in (pool.submit(first), pool.submit(second))]
    assert found == [["one"], ["two"]]
    assert (list(warnings.filters), warnings.showwarning) == before


def test_where_others_are_ignored_those_of_geoseg_are_still_collected():
    with collect_warnings() as found, ignore_warnings():
        warnings.warn("of another library", UserWarning, stacklevel=1)
        warnings.warn("ours", GeosegWarning, stacklevel=1)
    assert found == ["ours"]
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", UserWarning, stacklevel=1)


def test_no_other_module_changes_the_filters_of_the_process_for_a_while():
    root = Path(geoseg.__file__).parent
    users = [p.name for p in root.rglob("*.py") if "catch_warnings" in p.read_text(encoding="utf-8")]
    assert users == ["notices.py"]
