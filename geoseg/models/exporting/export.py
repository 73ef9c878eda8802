"""Export a bundle: an ONNX file from numbers to probabilities, with the keys of Deepness; and a STAC item."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.core.errors import BundleError, OutputError
from geoseg.core.extras import installed_version, require
from geoseg.core.files import as_output_error, write_atomic
from geoseg.core.notices import ignore_warnings
from geoseg.models.backends.onnx_session import open_session, run
from geoseg.models.bundle import Bundle
from geoseg.models.card import Card
from geoseg.models.exporting.facts import as_stored, exported_facts
from geoseg.models.exporting.stac_item import item_of
from geoseg.models.exporting.wrapping import fix_size, wrapped
from geoseg.models.graphs import ONNX
from geoseg.models.importing.proof import TOLERANCE, predict, seeded, segmenter_of

RAW_SCALE = 255.0
"""Deepness feeds 8-bit numbers divided by 255; networks of raw numbers take them so."""


def export_bundle(bundle: Bundle, form: str, folder: Path) -> list[Path]:
    """Export a bundle.

    The graph takes physical values (a network of raw numbers: the numbers divided by 255, as Deepness feeds
    them) of shape (N, B, rows, cols), and gives the probabilities of the classes. It is compared with the
    bundle before it is written.

    Parameters
    ----------
    bundle
        The bundle.
    form
        `onnx`; `stac` for a STAC item of the Machine Learning Model extension beside it, too; `deepness` for
        the ONNX file that the QGIS plugin opens: tiles of one size, fed numbers as they are stored, divided
        by 255 (physical values are made of them with scale and offset of the card's bands).
    folder
        The folder to write into.

    Returns
    -------
    files
        The files that were written.

    Raises
    ------
    ConfigError
        When onnx or onnxruntime is not installed.
    BundleError
        When the network cannot be written as ONNX, or would answer otherwise.
    OutputError
        When a file exists or cannot be written.
    """
    if bundle.card.task == "instances":
        raise BundleError(
            f"{bundle.folder}: finds objects, whose number no export tells; run it with geoseg run, or give "
            "its folder to others as it is"
        )
    if bundle.card.task != "classes":
        raise BundleError(
            f"{bundle.folder}: its task is {bundle.card.task}; networks of classes alone are exported"
        )
    require("onnx", "onnx", "geoseg models export")
    require("onnxruntime", "onnx", "geoseg models export")
    stem = bundle.card.name.replace("/", "-")
    file, item = folder / f"{stem}.onnx", folder / f"{stem}.json"
    wanted = [file, item] if form == "stac" else [file]
    for path in wanted:
        if path.exists():
            raise OutputError(f"{path}: exists already; choose another folder with --output")
    card = as_stored(bundle.card) if form == "deepness" else bundle.card
    model = wrapped(_core(bundle), card, RAW_SCALE)
    for key, value in deepness_metadata(card).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    _compare(model.SerializeToString(), bundle, card)
    if form == "deepness":
        fix_size(model, card.tile.size)
    data = model.SerializeToString()
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(file, data)
    if form == "stac":
        write_atomic(item, (json.dumps(item_of(bundle, file.name, RAW_SCALE), indent=2) + "\n").encode())
    return wanted


def deepness_metadata(card: Card) -> dict[str, Any]:
    """Return the metadata that the QGIS plugin Deepness reads; and what else an import needs."""
    side = card.tile.size
    # Centimetres for each pixel, which photographs have not.
    resolution = {} if card.gsd_m is None else {"resolution": round(100 * card.gsd_m.min, 6)}
    return {
        "model_type": "Segmentor",
        "class_names": {number: c.title for number, c in enumerate(card.classes)},
        **resolution,
        "tile_size": side,
        "tiles_size": side,
        "tiles_overlap": round(100 * card.tile.overlap / side),
        "geoseg": exported_facts(card, RAW_SCALE),
    }


def _core(bundle: Bundle) -> Any:
    """Return the network itself as an ONNX model."""
    import onnx  # noqa: PLC0415 (an extra)

    if bundle.is_graph:
        if bundle.config["_model_class"] != ONNX:
            raise BundleError(
                f"{bundle.folder}: is an {bundle.architecture}, which cannot be written as ONNX; take the "
                f"original ({'not named' if bundle.card.origin is None else bundle.card.origin.source})"
            )
        return onnx.load(bundle.weights_path, load_external_data=False)
    import torch  # noqa: PLC0415

    card = bundle.card
    example = torch.zeros(1, len(card.bands), card.tile.size, card.tile.size)
    free = {0: "batch"} if card.tile.min == card.tile.max else {0: "batch", 2: "rows", 3: "cols"}
    with tempfile.TemporaryDirectory() as folder, ignore_warnings(), torch.inference_mode():
        path = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                bundle.network(), (example,), path, dynamo=False, input_names=["input"],
                output_names=["answer"], dynamic_axes={"input": free, "answer": free},
            )  # fmt: skip
        except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
            raise BundleError(f"{bundle.folder}: cannot be written as ONNX: {str(error)[:160]}") from error
        return onnx.load(path)


def _compare(data: bytes, bundle: Bundle, card: Card) -> None:
    """Refuse an ONNX file, made with a card, that gives other probabilities than the bundle.

    Raises
    ------
    BundleError
        When they differ by more than `TOLERANCE`.
    """
    session = open_session(data)
    segmenter = segmenter_of(bundle)
    scale, offset = (
        np.array([getattr(b, k) for b in card.bands], np.float32)[:, None, None] for k in ("scale", "offset")
    )
    worst = 0.0
    for number, values in enumerate(seeded(bundle.card)):
        if number % 2:
            continue
        stored = values if card.numbers == bundle.card.numbers else (values - offset) / scale
        (found,) = run(session, stored / np.float32(RAW_SCALE if card.numbers == "raw" else 1))
        worst = max(worst, float(np.abs(found - predict(segmenter, values)).max()))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"{bundle.folder}: as ONNX (onnxruntime {installed_version('onnxruntime')}) its probabilities "
            f"differ by up to {worst:.2g}, and at most {TOLERANCE:g} is accepted; nothing was written"
        )
