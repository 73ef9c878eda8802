"""Evaluate a bundle on the labelled data of a training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoseg.core.errors import ConfigError
from geoseg.evaluation.objects.reports import ObjectBundleReport
from geoseg.evaluation.reports import (
    BundleReport,
    CalibrationScores,
    FlagBundleReport,
    NumberBundleReport,
)
from geoseg.models.bundle import open_bundle
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.training.build import evaluation_part
from geoseg.training.census import Statistics
from geoseg.training.fit import resolve_accelerator
from geoseg.training.instances.chips import EvaluationObjects
from geoseg.training.instances.measure import detect_chips, score_instances
from geoseg.training.measure import PartScores, rule_of, score_part
from geoseg.training.multilabel.measure import score_flags
from geoseg.training.pictures import Layout
from geoseg.training.prepare import prepare
from geoseg.training.regression.measure import score_numbers
from geoseg.training.split import PARTS


def evaluate_bundle(
    path: Path | str,
    overrides: Sequence[str],
    folder: Path | str,
    part: str,
    catalog: Path | str | None = None,
    *,
    trust: bool = False,
) -> BundleReport | NumberBundleReport | FlagBundleReport | ObjectBundleReport:
    """Score a bundle on a part of the data of a training.

    Parameters
    ----------
    path, overrides
        The training document (file or name), and `KEY=VALUE` for single keys of it.
    folder
        The bundle, folder or name.
    part
        `train`, `val` or `test`.
    catalog
        The catalog file; None looks in all folders where names are looked up.
    trust
        Whether the network may be code that is not geoseg's.

    Raises
    ------
    ConfigError
        When the part is empty, or bands or classes of the bundle are not those of the training.
    """
    bundle = open_bundle(folder, trust=trust)
    bundle.check_trust()
    card = bundle.card
    if not card.is_trained_here:
        raise ConfigError(
            f"{folder}: is fed or answers in another way than networks of geoseg; compare its map with "
            "geoseg evaluate --map classes.tif --reference LABELS"
        )
    # The statistics that the bundle was trained with, whatever those of the data are now.
    known = Statistics(np.array([b.mean for b in card.bands]), np.array([b.std for b in card.bands]))
    prepared = prepare(path, overrides, None, catalog, known)
    if not prepared.parts.get(part):
        filled = ", ".join(p for p in PARTS if prepared.parts[p])
        raise ConfigError(f"--split {part}: the data of {path} have no such part; they have {filled}")
    for what, ours, theirs in (
        ("task", [prepared.document.task], [card.task]),
        ("classes", [c.slug for c in prepared.legend.classes], [c.slug for c in card.classes]),
        ("bands", prepared.band_names, [b.common_name for b in card.bands]),
    ):
        if ours != theirs:
            raise ConfigError(
                f"{folder}: its {what} are {', '.join(theirs)}, those of {path} are {', '.join(ours)}; "
                "they must agree"
            )
    fit = prepared.document.fit
    network = bundle.network().to(resolve_accelerator(fit.device))
    measured_on = evaluation_part(prepared, part, Layout(card.tile, card.resize))
    chips = measured_on.chips
    about = {
        "model": f"{card.name} {card.version}",
        "part": part,
        "chips": len(measured_on),
        "warnings": list(prepared.warnings),
    }
    if isinstance(network, MaskRCNN) and isinstance(chips, EvaluationObjects) and card.detection is not None:
        found = list(detect_chips(network, chips, card.detection, fit.batch))
        objects = score_instances(found, prepared.legend.legend, card.detection.score_threshold)
        return ObjectBundleReport.model_validate({**about, **dict(objects.scores)})
    if card.target is not None:
        numbers = score_numbers(network, chips, card.target, batch=fit.batch)
        return NumberBundleReport.model_validate({**about, "unit": card.target.unit, **dict(numbers.scores)})
    if card.task == "multilabel":
        flags = score_flags(
            network, chips, card.legend, batch=fit.batch, temperature=card.temperature, thresholds=card.limits
        )
        return FlagBundleReport.model_validate({**about, **dict(flags.scores)})

    def score(augment: str) -> PartScores:
        return score_part(
            network, measured_on, prepared.legend.legend, scaling=card.scaling, augment=augment,
            batch=fit.batch, rule=rule_of(prepared.legend.legend, card.thresholds),
        )  # fmt: skip

    measured, augment = score("none"), prepared.document.measure.augment
    others = {f"{part} of {name}": scores for name, scores in measured.datasets.items()}
    if augment != "none":
        others[f"{part} with {augment}"] = score(augment).scores.without_reliability()
    return BundleReport(
        model=f"{card.name} {card.version}",
        part=part,
        chips=measured.chips,
        calibration=CalibrationScores.model_validate(measured.calibration.to_dict()),
        warnings=list(prepared.warnings),
        other_parts=others or None,
        **dict(measured.scores),
    )
