"""Bundles: cards, configurations and weights, whose checksums fit or do not."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from geoseg.models.bundle import CARD, CONFIG, WEIGHTS
from geoseg.models.card import Card
from geoseg.models.networks.arguments import ARGUMENTS
from tests.fuzz.commands import command
from tests.fuzz.values import DAMAGES, TEXTS, Damage, changed_tree, damaged
from tests.fuzz.world import World

_CARD = Card.model_json_schema()
_SUM = "f" * 64
"""Stands in a card for the checksum of the weights, whatever they are."""


@dataclass(frozen=True)
class Bundle:
    """A bundle as its three files: JSON texts with changes, and weights with damages."""

    file: str
    text: str = ""
    """Content of a file of JSON; of the header of the weights."""
    damage: Damage = ()
    run: bool = False
    """Whether a scene is classified with it."""


def _texts(base: dict[str, Any], schema: dict[str, Any] | None) -> st.SearchStrategy[str]:
    return changed_tree(base, schema).map(lambda tree: json.dumps(tree, default=str))


def _base() -> tuple[dict[str, Any], dict[str, Any]]:
    bands = [{"name": n, "common_name": n, "mean": 0.22, "std": 0.1} for n in ("blue", "green", "red", "nir")]
    classes = [{"id": i, "slug": f"class-{i}", "title": f"Class {i}", "color": "#1b7837"} for i in (1, 2, 3)]
    card = {
        "format": "geoseg-bundle/1", "name": "toy", "version": "1", "title": "Toy", "bands": bands,
        "gsd_m": {"min": 10, "max": 10}, "tile": {"size": 128, "min": 64, "max": 512, "overlap": 32,
        "divisor": 32},
        "classes": classes, "memory_bytes_per_pixel": 400.0, "weights_sha256": _SUM,
        "metrics": {"miou": 0.5}, "training": {"epochs": 1}, "limitations": ["none"],
        "versions": {"torch": "2"},
    }  # fmt: skip
    config = {
        "_model_class": "Unet", "encoder_name": "tu-tf_efficientnet_lite0", "encoder_depth": 3,
        "in_channels": 4, "classes": 3,
        "decoder_channels": [16, 8, 8], "encoder_weights": None, "activation": None, "aux_params": None,
    }  # fmt: skip
    return card, config


_CARD_BASE, _CONFIG_BASE = _base()
_HEADER = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {"format": "pt"}}


@st.composite
def _configs(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(sorted(ARGUMENTS)))
    base = {**_CONFIG_BASE, "_model_class": name}
    if draw(st.booleans()):
        base["encoder_name"] = draw(
            st.sampled_from(
                [
                    "resnet18",
                    "mit_b0",
                    "vgg11",
                    "tu-vit_tiny_patch16_224",
                    "tu-resnet10t",
                    "mobileone_s0",
                    *TEXTS,
                ]
            )
        )
    tree = draw(st.one_of(st.just(base), changed_tree(base, ARGUMENTS[name].model_json_schema())))
    return json.dumps(tree, default=str)


CASES = st.one_of(
    st.builds(Bundle, st.just(CARD), _texts(_CARD_BASE, _CARD), run=st.booleans()),
    st.builds(Bundle, st.just(CONFIG), _configs(), run=st.just(True)),
    st.builds(Bundle, st.just(WEIGHTS), _texts(_HEADER, None), run=st.just(True)),
    st.builds(Bundle, st.sampled_from([CARD, CONFIG, WEIGHTS]), damage=DAMAGES, run=st.booleans()),
)

EXAMPLES = (Bundle(CARD, json.dumps(_CARD_BASE), run=True), Bundle(CONFIG, json.dumps(_CONFIG_BASE)))


def check(world: World, case: Bundle) -> None:
    """Open the bundle, and classify a scene with it."""
    folder = Path("case")
    shutil.copytree(world.valid / "toy", folder)
    file = folder / case.file
    if case.file == WEIGHTS and not case.damage:
        text = case.text.encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    elif case.damage:
        file.write_bytes(damaged(file.read_bytes(), case.damage))
    else:
        file.write_text(case.text)
    card = (folder / CARD).read_bytes()
    if case.file == WEIGHTS:
        known = json.loads(card)["weights_sha256"].encode()
        (folder / CARD).write_bytes(
            card.replace(known, hashlib.sha256(file.read_bytes()).hexdigest().encode())
        )
    elif _SUM.encode() in card:
        found = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        (folder / CARD).write_bytes(card.replace(_SUM.encode(), found.encode()))
    command(world, "models", "show", "case")
    command(world, "init", "scene.tif", "--model", "case", "--output", "new.yaml", may_leave=["new.yaml"])
    words = ["run", "base.yaml", "--set", "model=case"]
    planned = command(world, *words, "--dry-run")
    if case.run and planned.exit_code == 0:
        finished = command(world, *words, "-q", may_leave=["out"])
        if finished.exit_code == 0:
            assert command(world, "validate", "out").exit_code == 0
