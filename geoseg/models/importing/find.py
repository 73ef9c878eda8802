"""Find out what a source is, and read it."""

import zipfile
from dataclasses import replace
from pathlib import Path

from geoseg.core.errors import BundleError, ConfigError
from geoseg.models.importing.source import Ask, Source


def read_source(path: Path, ask: Ask) -> Source:
    """Read a network that was trained elsewhere.

    Parameters
    ----------
    path
        A folder of `save_pretrained` or a SavedModel; a file with weights, a program or an ONNX graph; a STAC
        item that describes one of these.
    ask
        What the user says beside the card.

    Raises
    ------
    ConfigError
        When there is no such file, or something must be said that the source does not say.
    BundleError
        When it is damaged, of a kind that geoseg does not take, or not trusted.
    """
    # Each kind needs libraries that take seconds to import.
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    if path.is_dir():
        return _folder(path, ask)
    if path.suffix == ".onnx":
        from geoseg.models.importing.onnx_source import read_onnx_source  # noqa: PLC0415

        return read_onnx_source(path)
    if path.suffix in (".json", ".geojson"):
        return _item(path, ask)
    if path.suffix in _REFUSED:
        raise BundleError(f"{path}: {_REFUSED[path.suffix]}")
    if form := _program(path):
        from geoseg.models.importing.programs import read_torch_program  # noqa: PLC0415

        return read_torch_program(path, form, trust=ask.trust)
    from geoseg.models.importing.checkpoints import read_file  # noqa: PLC0415

    return read_file(path, ask)


_FASTAI = (
    "whose weights are a pickle of fastai; export the network where it was trained: "
    "torch.onnx.export(learn.model, ...), then import the .onnx"
)
_KERAS = "write a SavedModel where it was trained: model.export('folder'), then import that"
_REFUSED = {
    ".dlpk": f"is a package of ArcGIS, {_FASTAI}",
    ".emd": f"is a description of ArcGIS, {_FASTAI}",
    ".h5": f"is a file of Keras; {_KERAS}",
    ".keras": f"is a file of Keras; {_KERAS}",
    ".pkl": "is a pickle; in its own environment: torch.save(model.state_dict(), 'weights.pth')",
}
"""Kinds that are not taken, and the way on."""


def _folder(path: Path, ask: Ask) -> Source:
    if (path / "saved_model.pb").is_file():
        from geoseg.models.importing.programs import read_saved_model  # noqa: PLC0415

        return read_saved_model(path)
    if (path / "geoseg.json").is_file():
        raise ConfigError(f"{path}: is a bundle already; name it as model: in a pipeline")
    if (path / "config.json").is_file():
        from geoseg.models.importing.checkpoints import read_folder  # noqa: PLC0415

        return read_folder(path, ask)
    graphs = sorted(path.glob("*.onnx"))
    hint = f"; import {graphs[0].name} in it" if graphs else ""
    raise BundleError(f"{path}: holds neither config.json nor saved_model.pb, so it is no network{hint}")


def _item(path: Path, ask: Ask) -> Source:
    from geoseg.models.importing.stac_item import is_model_item, read_item  # noqa: PLC0415

    if not is_model_item(path):
        raise BundleError(f"{path}: is no STAC item with mlm: fields")
    facts, model = read_item(path)
    if model.suffix in (".json", ".geojson"):
        raise BundleError(f"{path}: its model {model.name} is another description")
    source = read_source(model, ask)
    facts = {**source.facts, **facts}
    return replace(source, facts=facts, kind=f"{source.kind}, described by the STAC item {path.name}")


def _program(path: Path) -> str | None:
    """Return which program of torch a file is; None where it is none."""
    from geoseg.models.importing.programs import EXPORTED, TORCHSCRIPT  # noqa: PLC0415

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return None
    inner = {n.partition("/")[2] for n in names}
    if "constants.pkl" in inner and any(n.startswith("code/") for n in inner):
        return TORCHSCRIPT
    exported = "archive_format" in inner or "serialized_exported_program.json" in {*inner, *names}
    return EXPORTED if exported else None
