"""Open labelled data of the catalog as labelled scenes."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.config.dataset import ChipsEntry, CityscapesEntry, DatasetEntry, PlacesEntry, ScenesEntry
from geoseg.config.legend import LegendDocument
from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.core.files import read_object
from geoseg.scenes.burning import VECTOR_SUFFIXES
from geoseg.scenes.catalog import find_dataset, resolve_scene
from geoseg.scenes.labelled import Labelled
from geoseg.scenes.labels import Labels, warn_of_nodata_codes
from geoseg.scenes.layouts import find_pairs
from geoseg.scenes.nodata import warn_of_idle_nodata
from geoseg.scenes.opening import open_scene
from geoseg.scenes.scene import Scene
from geoseg.scenes.sources import inspect
from geoseg.scenes.suggested import CLASS, LABELS, open_places, read_places
from geoseg.scenes.truth import ClassTruth, ObjectTruth, Place, Truth
from geoseg.scenes.turns import AS_STORED


def resolve_dataset(
    dataset: str | DatasetEntry,
    legend: LegendDocument | Truth,
    bands: Sequence[str] = (),
    data: str | None = None,
    catalog: Path | str | None = None,
) -> tuple[Labelled, ...]:
    """Open labelled data.

    Parameters
    ----------
    dataset
        A name in the catalog, or an entry.
    legend
        The classes and their label codes, or what else the labels say.
    bands
        Common names of the bands; empty takes all.
    data
        Folder of the data, instead of the entry's.
    catalog
        The catalog file; None looks in all folders where names are looked up.

    Raises
    ------
    SceneError
        When files are missing, or labels do not lie on their scene.
    """
    truth = ClassTruth(legend) if isinstance(legend, LegendDocument) else legend
    entry, base = find_dataset(dataset, catalog)
    folder = Path(data) if data is not None else base / (entry.folder or "")
    names = list(bands) or None
    if isinstance(entry, ScenesEntry):
        return _checked(_scenes(entry, truth, names, folder, catalog), truth)
    if isinstance(entry, PlacesEntry):
        return _checked(_places(entry, truth, names, folder, catalog), truth)
    if not folder.is_dir():
        raise SceneError(
            f"{folder}: no such folder; say where the labelled data lie with --set data=FOLDER"
            + (f" (source: {entry.source})" if entry.source else "")
        )
    if isinstance(entry, CityscapesEntry):
        if isinstance(truth, ObjectTruth):
            raise SceneError(
                "dataset: kind: cityscapes has labels of classes; give its objects as kind: chips with "
                "labels: COCO JSON"
            )
        if next(folder.glob("gtFine/*/*/*_gtFine_labelIds.png"), None) is None:
            raise SceneError(
                f"{folder}: no pair of leftImg8bit/PART/CITY/*_leftImg8bit.png and "
                "gtFine/PART/CITY/*_gtFine_labelIds.png is here"
            )
        entry = _CITYSCAPES
    return _checked(_chips(entry, truth, names, folder), truth)


def _places(
    entry: PlacesEntry,
    truth: Truth,
    bands: Sequence[str] | None,
    folder: Path,
    catalog: Path | str | None,
) -> tuple[Labelled, ...]:
    scene = None if entry.scene is None else _resolved(entry.scene, "scene", bands, folder, catalog)
    found = []
    for path in (str(folder / f) for f in entry.files):
        for name, part in open_places(read_places(path), scene, bands):
            found.append(truth.label(Place(part, path, name, attribute=CLASS, layer=LABELS, image=name)))
    return tuple(found)


def _resolved(
    where: str | SceneEntry, name: str, bands: Sequence[str] | None, folder: Path, catalog: Path | str | None
) -> Scene:
    """Open a scene of labelled data, whose relative paths are below their folder."""
    if isinstance(where, str) and (folder / where).exists():
        where = str(folder / where)
    elif isinstance(where, SceneEntry) and where.folder is None:
        where = where.model_copy(update={"folder": str(folder.absolute())})
    return resolve_scene(where, name, bands, None, catalog)


def _checked(labelled: tuple[Labelled, ...], truth: Truth) -> tuple[Labelled, ...]:
    """Return the labelled scenes; warn when label files declare the code of a class as nodata."""
    if isinstance(truth, ClassTruth):
        rasters = [p.labels for p in labelled if isinstance(p.labels, Labels)]
        warn_of_nodata_codes(rasters, truth.legend.remap, [c.slug for c in truth.legend.classes])
    return labelled


def _chips(
    entry: ChipsEntry, truth: Truth, names: Sequence[str] | None, folder: Path
) -> tuple[Labelled, ...]:
    pairs = find_pairs(entry, folder)
    groups = {}
    if entry.groups is not None:
        groups = read_object(folder / entry.groups, SceneError, "of image name -> group")
    several = {stem for stem, count in Counter(p.stem for p in pairs).items() if count > 1}
    found = []
    images_of: dict[Path, list[Path]] = {}
    turned: list[str] = []
    for pair in pairs:
        scene = open_scene(
            SceneEntry(
                uri=str((folder / pair.image).absolute()),
                bands={name: BandEntry(band=i) for i, name in enumerate(entry.bands, start=1)},
                scale=entry.scale,
                offset=entry.offset,
                nodata=entry.nodata,
                gsd=entry.gsd,
            ),
            # Files of one name lie in different folders.
            str(Path(pair.image).with_suffix("")) if pair.stem in several else pair.stem,
            Path(),
            names,
        )
        labels = folder / pair.label
        images_of.setdefault(labels, []).append(folder / pair.image)
        if entry.groups is not None and pair.stem not in groups:
            raise SceneError(f"{folder / entry.groups}: has no group for {pair.stem}")
        if _is_turned_otherwise(scene, labels):
            turned.append(str(labels))
        group = pair.group or str(groups.get(pair.stem, scene.name))
        place = Place(
            scene, str(labels), group, pair.part, entry.valid_range, image=str(folder / pair.image),
            classes=folder / pair.classes if pair.classes else None,
            palettes=entry.palettes == "colors", ignore_unknown=entry.unknown_colors == "ignore",
        )  # fmt: skip
        found.append(truth.label(place))
    bare = {p.labels.path for p in found if p.scene.geobox.crs is None}
    warn_of_idle_nodata([p.scene for p in found])
    if isinstance(truth, ObjectTruth) and "{stem}" not in entry.labels:
        return tuple(found)  # COCO JSON tells the images apart
    _warn_of_shared_labels({k: v for k, v in images_of.items() if str(k) in bare}, folder)
    _warn_of_turns(turned)
    return tuple(found)


def _is_turned_otherwise(scene: Scene, labels: Path) -> bool:
    """Return whether a picture says that its camera was turned, and its label, of the same shape, does not.

    Raises
    ------
    SceneError
        When the label has the shape of the picture as it is stored.
    """
    turn = scene.bands[0].source.turn
    is_raster = labels.is_file() and labels.suffix.lower() not in VECTOR_SUFFIXES
    if scene.geobox.crs is not None or turn == AS_STORED or not is_raster:
        return False
    label = inspect(str(labels))
    height, width = scene.shape
    if turn.swapped and height != width and tuple(label.geobox.shape) == (width, height):
        raise SceneError(
            f"{labels}: its {width} x {height} px fit the picture as it is stored, but by its EXIF tag the "
            f"camera was turned, and it is shown with {height} x {width} px; turn the label, too"
        )
    return label.turn == AS_STORED and not (turn.swapped and height != width)


def _warn_of_turns(labels: Sequence[str]) -> None:
    """Warn of labels of turned pictures whose shape does not tell whether they are turned, too."""
    if labels:
        more = f" (and {len(labels) - 1} more)" if len(labels) > 1 else ""
        warnings.warn(
            f"{labels[0]}{more}: by the EXIF tag of its picture the camera was turned, and the label has no "
            "such tag: it is taken as drawn on the picture that viewers show",
            GeosegWarning,
            stacklevel=2,
        )


def _warn_of_shared_labels(images_of: Mapping[Path, Sequence[Path]], folder: Path) -> None:
    """Warn of label files of several images: without georeference nothing shows whether they fit."""
    shared = {labels: images for labels, images in images_of.items() if len(images) > 1}
    if not shared:
        return
    labels, images = next(iter(shared.items()))
    names = " and ".join(str(i.relative_to(folder)) for i in images[:2])
    more = f" ({len(shared)} files are shared so)" if len(shared) > 1 else ""
    warnings.warn(
        f"{labels}: is the label of {len(images)} images, such as {names}{more}; that is right for images of "
        "one place only, such as of several dates: else give the images names of their own",
        GeosegWarning,
        stacklevel=2,
    )


def _scenes(
    entry: ScenesEntry,
    truth: Truth,
    bands: Sequence[str] | None,
    folder: Path,
    catalog: Path | str | None,
) -> tuple[Labelled, ...]:
    found = []
    for number, one in enumerate(entry.scenes):
        name = one.scene if isinstance(one.scene, str) else f"scene {number + 1}"
        # The name is that in the document, not the path in its folder.
        scene = replace(_resolved(one.scene, name, bands, folder, catalog), name=name)
        if scene.model_masks:
            raise ConfigError(
                f"{name}: its mask from a model ({scene.model_masks[0][1].model}) is made by runs only; give "
                "the class map of that model as a quality band"
            )
        place = Place(
            scene, str(folder / one.labels), one.group or f"scene {number + 1}", one.part,
            attribute=one.attribute, layer=one.layer, image=Path(name).name,
            classes=folder / one.classes if one.classes else None,
            area=folder / one.area if one.area else None,
        )  # fmt: skip
        found.append(truth.label(place))
    return tuple(found)


_CITYSCAPES = ChipsEntry(
    kind="chips",
    images="leftImg8bit/{part}/{city}/{stem}_leftImg8bit.png",
    labels="gtFine/{part}/{city}/{stem}_gtFine_labelIds.png",
    group="{part}/{city}",
    # The official test part has no public labels; train_extra has coarse ones only.
    unlabelled="skip",
    bands=("red", "green", "blue"),
    scale=1 / 255,
)
