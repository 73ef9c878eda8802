import pytest

import geoseg
from geoseg.core import extras
from geoseg.core.errors import ConfigError
from tests.conftest import write_pipeline


@pytest.fixture
def without(monkeypatch):
    """Let some modules look as if they were not installed."""

    def hide(*modules):
        found = extras.find_spec
        monkeypatch.setattr(extras, "find_spec", lambda name: None if name in modules else found(name))

    return hide


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("lightning", "train", lambda: geoseg.train("landcover-s2")),
        ("rio_cogeo", "validate", lambda: geoseg.validate("nowhere")),
        ("jsonschema", "validate", lambda: geoseg.validate("nowhere")),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(without, module, extra, call):
    without(module)
    with pytest.raises(ConfigError) as raised:
        call()
    assert f"{module} is not installed" in str(raised.value)
    assert f"python -m pip install 'geoseg[{extra}]'" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_watershed_objects_are_refused_before_the_run(without, tmp_path, scene_file, bundle):
    without("skimage")
    pipeline = write_pipeline(tmp_path, scene_file, bundle.folder, "vectorize: {instances: watershed}")
    with pytest.raises(ConfigError, match=r"skimage is not installed; .*'geoseg\[objects\]'"):
        geoseg.plan(pipeline)
    assert geoseg.plan(pipeline, vectorize={"instances": "components"}).recipe.objects is not None
