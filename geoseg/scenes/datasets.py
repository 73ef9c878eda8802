"""Open labelled data of the catalog as labelled scenes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.config.dataset import ChipsEntry, CityscapesEntry, DatasetEntry, ScenesEntry
from geoseg.config.legend import LegendDocument
from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.core.files import read_object
from geoseg.scenes.catalog import find_dataset, resolve_scene
from geoseg.scenes.labelled import Labelled
from geoseg.scenes.labels import Labels, warn_of_nodata_codes
from geoseg.scenes.nodata import warn_of_idle_nodata
from geoseg.scenes.opening import open_scene
from geoseg.scenes.truth import CLASS_FIELD, ClassTruth, ObjectTruth, Place, Truth


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
        return _checked(_cityscapes(truth, names, folder), truth)
    return _checked(_chips(entry, truth, names, folder), truth)


def _checked(labelled: tuple[Labelled, ...], truth: Truth) -> tuple[Labelled, ...]:
    """Return the labelled scenes; warn when label files declare the code of a class as nodata."""
    if isinstance(truth, ClassTruth):
        rasters = [p.labels for p in labelled if isinstance(p.labels, Labels)]
        warn_of_nodata_codes(rasters, truth.legend.remap, [c.slug for c in truth.legend.classes])
    return labelled


def _chips(
    entry: ChipsEntry, truth: Truth, names: Sequence[str] | None, folder: Path
) -> tuple[Labelled, ...]:
    images = sorted(folder.glob(entry.images))
    if not images:
        raise SceneError(f"{folder / entry.images}: no image matches this pattern")
    groups = {}
    if entry.groups is not None:
        groups = read_object(folder / entry.groups, SceneError, "of image name -> group")
    found = []
    images_of: dict[Path, list[Path]] = {}
    for image in images:
        scene = open_scene(
            SceneEntry(
                uri=str(image.absolute()),
                bands={name: BandEntry(band=i) for i, name in enumerate(entry.bands, start=1)},
                scale=entry.scale,
                offset=entry.offset,
                nodata=entry.nodata,
                gsd=entry.gsd,
            ),
            image.stem,
            Path(),
            names,
        )
        labels = folder / entry.labels.format(stem=image.stem, **{"class": CLASS_FIELD})
        images_of.setdefault(labels, []).append(image)
        if entry.groups is not None and image.stem not in groups:
            raise SceneError(f"{folder / entry.groups}: has no group for {image.stem}")
        group = str(groups.get(image.stem, image.stem))
        of_classes = folder / entry.classes.format(stem=image.stem) if entry.classes else None
        place = Place(
            scene, str(labels), group, valid_range=entry.valid_range, image=str(image), classes=of_classes
        )
        found.append(truth.label(place))
    bare = {p.labels.path for p in found if p.scene.geobox.crs is None}
    warn_of_idle_nodata([p.scene for p in found])
    if isinstance(truth, ObjectTruth) and "{stem}" not in entry.labels:
        return tuple(found)  # COCO JSON tells the images apart
    _warn_of_shared_labels({k: v for k, v in images_of.items() if str(k) in bare}, folder)
    return tuple(found)


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
        where = one.scene
        if isinstance(where, str) and (folder / where).exists():
            where = str(folder / where)
        elif isinstance(where, SceneEntry) and where.folder is None:
            where = where.model_copy(update={"folder": str(folder.absolute())})
        # The name is that in the document, not the path in its folder.
        scene = replace(resolve_scene(where, name, bands, None, catalog), name=name)
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


def _cityscapes(truth: Truth, names: Sequence[str] | None, folder: Path) -> tuple[Labelled, ...]:
    """Open the photographs; the city is the group, the folder above it the part."""
    found = []
    for image in sorted(folder.glob("leftImg8bit/*/*/*_leftImg8bit.png")):
        part, city = image.parts[-3], image.parts[-2]
        stem = image.name.removesuffix("_leftImg8bit.png")
        labels = folder / "gtFine" / part / city / f"{stem}_gtFine_labelIds.png"
        if not labels.exists():
            # The official test part has no public labels; train_extra has coarse ones only.
            continue
        entry = SceneEntry(
            uri=str(image.absolute()),
            bands={name: BandEntry(band=i) for i, name in enumerate(("red", "green", "blue"), start=1)},
            scale=1 / 255,
            gsd=1.0,
        )
        scene = open_scene(entry, stem, Path(), names)
        found.append(truth.label(Place(scene, str(labels), f"{part}/{city}", part)))
    if not found:
        raise SceneError(
            f"{folder}: no pair of leftImg8bit/PART/CITY/*_leftImg8bit.png and "
            "gtFine/PART/CITY/*_gtFine_labelIds.png is here"
        )
    return tuple(found)
