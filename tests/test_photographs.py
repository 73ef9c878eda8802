"""The guide to photographs: its training, its commands and its plain loop, on pictures made here."""

import re

import numpy as np
import pytest
from PIL import Image

from tests import processes
from tests.conftest import ROOT
from tests.test_readme import follow
from tests.training.photos import COLORS, write_streets

GUIDE = (ROOT / "docs/photographs.md").read_text()
SHAPE = (50, 76)

# Smaller and shorter than in the guide: what is tested is that it works as shown.
SMALLER = {
    "[192, 256]": "[64, 96]",
    "(192, 256)": "(64, 96)",
    "epochs: 40": "epochs: 1",
    "range(40)": "range(1)",
}


def blocks(language):
    """Yield the code blocks of a language, smaller and shorter."""
    for block in re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL):
        for old, new in SMALLER.items():
            block = block.replace(old, new)  # noqa: PLW2901
        yield block


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    write_streets(folder / "streets", {"test": 2, "train": 4, "val": 1}, SHAPE)
    return folder


def is_mask(path):
    mask = Image.open(path)
    assert mask.mode == "P"
    assert mask.size == SHAPE[::-1]
    assert mask.getpalette()[:12] == [v for c in COLORS.values() for v in bytes.fromhex(c[1:])]
    assert np.array(mask).max() < 4


def test_the_guide_leads_from_two_folders_to_a_mask_of_each_picture(folder):
    (document,) = blocks("yaml")
    assert document.count("\n") <= 20
    (folder / "streets.yaml").write_text(document)
    assert follow(GUIDE, folder, imported=processes.TRAINING) == 4
    for name in ("street000", "street001"):
        is_mask(folder / f"outputs/masks/masks/{name}.png")
        assert (folder / f"outputs/masks/overlays/{name}.jpg").exists()
    assert (folder / "outputs/masks/results.csv").read_text().count("\n") == 1 + 2 * 4


def test_the_plain_loop_of_the_guide_does_the_same_job(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (loop,) = blocks("python")
    exec(compile(loop, "docs/photographs.md", "exec"), {})  # noqa: S102 (a page of our own)
    for name in ("street000", "street001"):
        is_mask(folder / f"plain/{name}.png")
