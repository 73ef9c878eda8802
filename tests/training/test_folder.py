from types import SimpleNamespace

import pytest

from geoseg.core.errors import OutputError
from geoseg.training import folder as training_folder
from geoseg.training.folder import open_folder
from tests.kills import every_moment, killed_after


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Returns a function that makes the folder of a finished training."""
    monkeypatch.setattr(training_folder, "identity_of", lambda prepared: {"of": prepared.of})

    def make(name):
        prepared = SimpleNamespace(folder=tmp_path / name, of="a")
        prepared.folder.mkdir()
        open_folder(prepared, overwrite=False)
        for part in (
            "checkpoints/last.ckpt",
            "checkpoints/best.ckpt",
            "bundle/geoseg.json",
            "bundle/config.json",
        ):
            (prepared.folder / part).parent.mkdir(exist_ok=True)
            (prepared.folder / part).write_text("1")
        (prepared.folder / "training.json").write_text("{}")
        return prepared

    return make


def test_a_training_killed_while_it_discards_another_never_shows_half_a_bundle(finished):
    for moment in every_moment():
        prepared = finished(f"{moment}")
        prepared.of = "b"
        with killed_after(moment) as ended:
            open_folder(prepared, overwrite=True)
        bundle = prepared.folder / "bundle"
        whole = ["config.json", "geoseg.json"]
        assert not bundle.exists() or sorted(p.name for p in bundle.iterdir()) == whole
        assert bundle.exists() or not (prepared.folder / "training.json").exists()
        open_folder(prepared, overwrite=True)
        assert [p.name for p in prepared.folder.iterdir()] == ["begun.json"]
        open_folder(prepared, overwrite=False)
        if not ended:
            break
    assert moment > 5


def test_an_unfinished_training_of_other_settings_is_refused(finished):
    prepared = finished("x")
    (prepared.folder / "training.json").unlink()
    prepared.of = "b"
    with pytest.raises(OutputError, match="an unfinished training of other settings or data"):
        open_folder(prepared, overwrite=False)
    assert (prepared.folder / "checkpoints/last.ckpt").exists()
