"""`geoseg init`: a commented pipeline file for a scene and a bundle."""

import re
from pathlib import Path

import numpy as np

from geoseg.config.scene import SceneEntry
from geoseg.config.yaml_text import scalar
from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error, write_atomic
from geoseg.core.secrets import redact
from geoseg.core.text import printable
from geoseg.inference.causes import SCALINGS, likely_scaling
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.models.card import Card
from geoseg.scenes.catalog import Catalog, find_entry, resolve_scene
from geoseg.scenes.opening import open_scene
from geoseg.scenes.products import complete
from geoseg.scenes.scene import Scene


def write_pipeline(
    scene_name: str, model: Path | str, output: Path | None, catalog_file: Path | None
) -> tuple[Path, list[str]]:
    """Write a commented pipeline file; return its path and notes on what the user should check.

    Raises
    ------
    OutputError
        When the file exists or cannot be written.
    GeosegError
        When the scene or the bundle cannot be opened.
    """
    opened_bundle = open_bundle(model)
    shown = redact(scene_name)
    stem = Path(shown.partition("?")[0] if "://" in shown else shown).stem
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "scene"
    path = output or Path("pipelines") / f"{name}.yaml"
    if path.exists():
        raise OutputError(f"{path}: exists already; choose another file with --output")
    lines, notes = _scene_lines(scene_name, opened_bundle, catalog_file)
    if shown != scene_name:
        notes.append("the URL is written without its credentials; give it whole with --set scene.uri=URL")
    template = _TEMPLATE if opened_bundle.card.gsd_m is not None else _OF_PHOTOGRAPHS
    text = template.format(
        name=scalar(name),
        scene=lines,
        model=scalar(str(model)),
        card=printable(" ".join(opened_bundle.card.title.split())),
        folder=scalar(f"outputs/{name}"),
        **_wanted(opened_bundle.card),
    )
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path, notes


_TEMPLATE = """\
# Made by geoseg init. Check it with: geoseg run THIS_FILE --dry-run
name: {name}
{scene}
model: {model}   # {card}
# gsd: 10                            # ground sample distance of the map in metres; default: that of the scene
tiling: {{tile: auto, overlap: auto, block: auto}}   # pixels, pixels, tiles a side
inference: {{device: auto, backend: auto, precision: auto, batch: auto, augment: none}}   # or flips, d4
checks: {{statistics: error, gsd: error, memory: error}}   # error | warn | off
{vectorize}outputs: {{folder: {folder}{outputs}}}
cluster: local
"""


def _wanted(card: Card) -> dict[str, str]:
    """Return the lines of what a network can give: class maps alone have polygons."""
    if card.task == "regression":
        return {"vectorize": "", "outputs": ""}
    if card.task == "multilabel":
        return {"vectorize": "", "outputs": ", probabilities: false"}
    return {
        "vectorize": "vectorize: {minimum_area: 0, simplify: 0, smooth: 0}   # m2 or '9 px', m or '1.5 px'\n",
        "outputs": ", confidence: true, probabilities: false, polygons: [gpkg]",
    }


_OF_PHOTOGRAPHS = """\
# Made by geoseg init. Check it with: geoseg run THIS_FILE --dry-run
# Many photographs: geoseg run THIS_FILE --scenes 'FOLDER/*.jpg'
name: {name}
{scene}
model: {model}   # {card}
inference: {{device: auto, backend: auto, precision: auto, batch: auto, augment: none}}   # or horizontal
checks: {{statistics: error, memory: error}}   # error | warn | off
outputs: {{folder: {folder}, mask: png, overlay: jpg, polygons: []}}   # polygons: [gpkg], in pixels
cluster: local
"""


def _scene_lines(name: str, model: Bundle, catalog_file: Path | None) -> tuple[str, list[str]]:
    """Return the YAML lines of a scene, which name every band of the network, and notes."""
    if name in Catalog.open(catalog_file).scenes:
        return f"scene: {scalar(name)}", []
    entry, base = find_entry(name, catalog_file)
    product = complete(entry, base)
    if product is not entry:
        return _product_lines(name, product, model), []
    opened = resolve_scene(entry, name, None, None, catalog_file)
    found = {b.common_name: b for b in opened.bands}
    folder = Path(name).is_dir()
    notes, bands = [], []
    wanted = {b.common_name for b in model.card.bands}
    unnamed = {b.index for b in opened.bands if b.common_name not in wanted}
    for i, band in enumerate(model.card.bands, start=1):
        have = found.get(band.common_name)
        if have is not None:
            place = scalar(Path(have.source.path).name) if folder else have.index
            here = f"{place}   # {printable(' '.join(have.name.split()))}"
        elif folder:
            here = "NAME-OF-THE-FILE.tif   # not found by name, please fill in"
            notes.append(f"{name} has no file named after band {band.common_name}; fill it in")
        elif i in unnamed:
            here = f"{i}   # not found by name, please check"
            notes.append(f"{name} names no band {band.common_name}; band {i} is a guess")
        else:
            here = "NUMBER   # not found by name, please fill in"
            notes.append(f"{name} has no band that could be {band.common_name}; fill in its number")
        bands.append(f"    {band.common_name}: {here}")
    where = f"  {'folder' if folder else 'uri'}: {scalar(redact(name))}"
    return "\n".join(["scene:", where, "  bands:", *bands, *_scale_lines(opened, model.card, notes)]), notes


def _product_lines(name: str, product: SceneEntry, model: Bundle) -> str:
    """Return the YAML lines of a product, which names its bands itself.

    Raises
    ------
    SceneError
        When it lacks a band of the network.
    """
    open_scene(product, name, Path(), [b.common_name for b in model.card.bands])
    shown = scalar(redact(name))
    if product.level == "toa" and model.card.level == "surface":
        haze = "radiometry: {dark_object: true}   # top of the atmosphere -> nearly surface reflectance"
        return f"scene:\n  uri: {shown}\n  {haze}"
    return f"scene: {shown}"


def _scale_lines(scene: Scene, card: Card, notes: list[str]) -> list[str]:
    """Return the YAML lines of a scale when the files declare none, and the network needs one."""
    if card.numbers == "raw" or scene.dtype.kind == "f" or all(b.declared for b in scene.bands):
        return []
    scale, offset, kind = _guess(scene, card)
    notes.append(f"{scene.name} does not say its scale; {scale:.6g} is a guess ({kind}), please check")
    return [
        f"  scale: {scale!r}   # physical value = number * scale + offset; not in the file, please check",
        f"  offset: {offset!r}",
    ]


def _guess(scene: Scene, card: Card) -> tuple[float, float, str]:
    """Return scale, offset and what they are usual for: those that fit the pixels, else the type."""
    wanted = {b.common_name: i for i, b in enumerate(scene.bands)}
    bands = [wanted[b.common_name] for b in card.bands if b.common_name in wanted]
    if len(bands) == len(card.bands):
        pixels = scene.pick(bands).valid_sample()
        if pixels.valid.any():
            raw = [v[pixels.valid].astype(np.float64) for v in pixels.values]
            found = likely_scaling(raw, card.bands)
            if found is not None:
                return found
    largest = max(b.mean + b.std for b in card.bands)
    first = card.bands[0]
    if largest <= np.iinfo(scene.dtype).max * first.scale + first.offset and first.scale != 1:
        return first.scale, first.offset, "as the training data"
    return (1 / 255, 0.0, "8-bit pictures") if scene.dtype == np.uint8 else SCALINGS[0]
