import sys

import geoseg
from geoseg.core import provenance


def test_the_command_is_told_without_credentials(monkeypatch):
    url = "https://user:secret@host.org/a.tif?X-Amz-Signature=abc&layer=1"
    monkeypatch.setattr(sys, "argv", ["/opt/bin/geoseg", "evaluate", "--reference", url, "--map", "a b.tif"])
    told = provenance.command()
    assert told.startswith("geoseg evaluate --reference ")
    assert told.endswith("--map 'a b.tif'")
    assert not any(word in told for word in ("secret", "user:", "abc", "/opt/bin"))
    assert "layer=1" in told


def test_the_module_has_the_name_of_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/lib/geoseg/__main__.py", "run", "landcover"])
    assert provenance.command() == "geoseg run landcover"


def test_versions_leave_out_what_is_not_installed():
    found = provenance.versions(["numpy", "surely-not-installed"])
    assert found["geoseg"] == geoseg.__version__
    assert set(found) == {"geoseg", "numpy"}
    assert provenance.machine()["python"] == sys.version.split()[0]
