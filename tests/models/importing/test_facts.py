"""What sources say of themselves: metadata of Deepness, STAC items, settings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.core.errors import BundleError, ConfigError
from geoseg.core.notices import ignore_warnings
from geoseg.models.importing.deepness import facts_of_metadata
from geoseg.models.importing.draft import Draft, make_card, read_facts, read_settings
from geoseg.models.importing.find import read_source
from geoseg.models.importing.sizes import Sizes
from geoseg.models.importing.source import Ask
from geoseg.models.importing.stac_item import read_item
from tests.models.importing.conftest import take_in


@pytest.mark.parametrize(
    "names", ['{"0": "road", "1": "house"}', "{0: 'road', 1: 'house'}", '["road", "house"]']
)
def test_metadata_of_deepness_become_facts(names):
    metadata = {
        "model_type": '"Segmentor"', "class_names": names, "resolution": "12.5", "tiles_size": "512",
        "tiles_overlap": "10",
        "standardization_mean": "[0.4, 0.5, 0.6]", "standardization_std": "[0.2, 0.2, 0.1]",
    }  # fmt: skip
    facts = facts_of_metadata(metadata, Path("m.onnx"))
    card = make_card(Draft(facts, {"bands": ["red", "green", "blue"], "output": "logits"}), "m", Sizes(32))
    assert [c.title for c in card.classes] == ["road", "house"]
    assert (card.gsd_m.min, card.tile.size, card.tile.overlap, card.numbers) == (0.125, 512, 50, "raw")
    # The plugin feeds numbers / 255: the card tells the statistics of the numbers.
    assert np.allclose([b.mean for b in card.bands], [102, 127.5, 153])
    assert np.allclose([b.std for b in card.bands], [51, 51, 25.5])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"model_type": "Detector"}, "model_type is 'Detector'"),
        ({"class_names": "os.system('x')"}, "neither JSON"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused(metadata, message):
    with pytest.raises(BundleError, match=message):
        facts_of_metadata(metadata, Path("m.onnx"))
    assert facts_of_metadata({"author": "x"}, Path("m.onnx")) == {}


def item(version, entry, output):
    return {
        "type": "Feature", "stac_extensions": [f"https://stac-extensions.github.io/mlm/v{version}/schema.json"],
        "properties": {
            "mlm:name": "fields", "mlm:input": [{"name": "s2", "bands": ["B04", "B08"], **entry}],
            "mlm:output": [output], "bands": [
                {"name": "B04", "eo:common_name": "red"}, {"name": "B08", "common_name": "nir"},
            ],
        },
        "assets": {"weights": {"href": "./m.onnx", "roles": ["mlm:model"]}},
    }  # fmt: skip


CLASSES = {
    "classification:classes": [
        {"value": 0, "name": "other"},
        {"value": 1, "name": "field", "color_hint": "00FF00"},
    ]
}
SHAPE = {"input": {"shape": [-1, 2, 256, 256], "dim_order": ["batch", "bands", "height", "width"]}}
SCALED = {
    "1.4.0": {"value_scaling": [{"type": "z-score", "mean": m, "stddev": 2} for m in (3, 4)]},
    "1.3.0": {"value_scaling": [{"type": "z-score", "mean": m, "stddev": 2} for m in (3, 4)]},
    "1.2.0": {"norm_type": "z-score", "statistics": [{"mean": m, "stddev": 2} for m in (3, 4)]},
}  # fmt: skip


@pytest.mark.parametrize("version", SCALED)
def test_an_item_tells_bands_scaling_tile_and_classes(tmp_path, version):
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item(version, {**SHAPE, **SCALED[version]}, CLASSES)))
    (tmp_path / "m.onnx").write_bytes(b"x")
    facts, model = read_item(path)
    assert model == tmp_path / "m.onnx"
    assert (facts["bands"], facts["mean"], facts["std"], facts["tile"]) == (
        ["red", "nir"],
        [3, 4],
        [2, 2],
        256,
    )
    assert facts["classes"][1] == {"id": 1, "title": "field", "slug": "field", "color": "#00FF00"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(stac_extensions=[]), "mlm v1.2 to v1.4"),
        (lambda i: i.update(assets={}), "no asset with the role mlm:model"),
        (lambda i: i["assets"]["weights"].update(href="https://x.org/m.onnx"), "download it"),
        (lambda i: i["assets"]["weights"].update(href="gone.onnx"), "is not there"),
        (lambda i: i["properties"].update({"mlm:input": 5}), "cannot be read"),
    ],
)
def test_an_item_that_cannot_be_used_is_refused(tmp_path, change, message):
    made = item("1.4.0", SHAPE, CLASSES)
    change(made)
    (tmp_path / "item.json").write_text(json.dumps(made))
    with pytest.raises(BundleError, match=message):
        read_item(tmp_path / "item.json")


def test_settings_and_files_have_known_keys_only(tmp_path):
    assert read_settings(["network.decoder_channels=[8, 8]", "classes=a", "channels=0,2"]) == {
        "network": {"decoder_channels": [8, 8]}, "classes": ["a"], "channels": [0, 2],
    }  # fmt: skip
    for text, message in (("gds=10", "did you mean 'gsd'"), ("gsd", "write key=value")):
        with pytest.raises(ConfigError, match=message):
            read_settings([text])
    (tmp_path / "c.yaml").write_text("bands: [red]\nmeans: [1]\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: means: is no key of a card; did you mean 'mean'"):
        read_facts(tmp_path / "c.yaml")


class Small(torch.nn.Module):
    """A network of one convolution."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


SAID = {
    "bands": ["red", "nir"], "mean": [0.1, 0.3], "std": [0.1, 0.1], "numbers": "physical", "output": "logits",
    "classes": ["a", "b", "c"], "gsd": 10, "tile": 64,
}  # fmt: skip


def test_an_exported_program_of_torch_is_converted_once_with_trust(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "m.pt2"
    with ignore_warnings():
        torch.export.save(torch.export.export(Small().eval(), (torch.zeros(2, 2, 64, 64),)), path)
    with pytest.raises(BundleError, match="give --trust"):
        read_source(path, Ask())
    made = take_in(path, tmp_path / "bundle", SAID, Ask(trust=True))
    assert made.bundle.architecture == "OpenVINO graph"
    assert sorted(p.name for p in made.bundle.folder.iterdir()) == [
        "README.md", "config.json", "geoseg.json", "model.safetensors",
    ]  # fmt: skip


def test_tensors_beside_an_onnx_file_are_taken_in(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "m.onnx"
    with ignore_warnings():
        torch.onnx.export(
            Small().eval(), (torch.zeros(1, 2, 64, 64),), path, dynamo=False, input_names=["x"],
            output_names=["y"], dynamic_axes={k: {0: "n", 2: "h", 3: "w"} for k in "xy"},
        )  # fmt: skip
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    made = take_in(path, tmp_path / "bundle", SAID)
    assert (tmp_path / "m.data").exists()
    (tmp_path / "m.data").unlink()
    assert made.bundle.card.tile.divisor == 1
    with pytest.raises(BundleError, match=r"m\.data, which is no file beside it"):
        take_in(path, tmp_path / "again", SAID)
