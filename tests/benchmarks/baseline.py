"""Boosted trees on pixels, in the folds of a training: `python -m tests.benchmarks baseline --data FOLDER`.

What a network is worth beyond the spectrum of a pixel: gradient boosting (HistGradientBoosting of
scikit-learn) on the bands and their normalised differences learns and is tested on the very folds that
`geoseg train` divides the data of `--training` into. `--set key=value` changes that file.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from geoseg.core.legend import IGNORE
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.metrics import confusion_matrix
from geoseg.training.census import CensusCell
from geoseg.training.prepare import PreparedTraining, prepare
from geoseg.training.repeats.spread import MemberSums, spread_of
from geoseg.training.repeats.tally import ClassTally
from geoseg.training.repeats.work import place_of

PIXELS = 4000
"""Pixels of each cell that are learned from; the labels of a cell are alike."""


@dataclass(frozen=True)
class BoostingTally(ClassTally):
    """Confusion and calibration as of a network; no temperature is fitted."""

    def of(self, label: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        calibration = Calibration(classes=len(self.legend))
        calibration.add(probabilities, label)
        matrix = confusion_matrix(label, probabilities.argmax(axis=0).astype(np.uint8), len(self.legend))
        return np.concatenate([matrix.ravel(), calibration.sums()])


def features(values: np.ndarray) -> np.ndarray:
    """Return bands (B, ...) and the normalised difference of each two, as columns."""
    flat = values.reshape(len(values), -1)
    pairs = [(a - b) / np.where(a + b == 0, 1, a + b) for a, b in itertools.combinations(flat, 2)]
    return np.stack([*flat, *pairs], axis=1)


def pixels(
    prepared: PreparedTraining, cells: Sequence[CensusCell]
) -> Iterator[tuple[CensusCell, np.ndarray, np.ndarray]]:
    for cell in cells:
        found = prepared.scenes[cell.region.scene].read(cell.window)
        yield cell, found.values, np.where(np.isnan(found.values[0]), IGNORE, found.channels)


def learn(
    prepared: PreparedTraining, cells: Sequence[CensusCell], seed: int
) -> HistGradientBoostingClassifier:
    rng, columns, labels = np.random.default_rng(seed), [], []
    for _, values, label in pixels(prepared, cells):
        known = rng.permutation(np.flatnonzero(label != IGNORE))[:PIXELS]
        columns.append(features(values.reshape(len(values), -1)[:, known]))
        labels.append(label.reshape(-1)[known])
    model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.1, random_state=seed)
    return model.fit(np.concatenate(columns), np.concatenate(labels))


def main() -> None:
    parser = argparse.ArgumentParser(prog="baseline", description=__doc__)
    parser.add_argument("--training", type=Path, default=Path("configs/training/landcover-s2.yaml"))
    parser.add_argument("--data", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    prepared = prepare(given.training, [f"data={given.data}", *given.set])
    legend = prepared.legend.legend
    tally, found, began = BoostingTally(legend), [], process_time()
    for fold, parts in enumerate(prepared.folds, 1):
        # val chose nothing here, so it is learned from, too.
        model = learn(prepared, [*parts["train"], *parts["val"]], fold)
        places: dict[str, np.ndarray] = {}
        for cell, values, label in pixels(prepared, parts["test"]):
            rows = np.zeros((len(legend), label.size))
            rows[model.classes_] = model.predict_proba(np.nan_to_num(features(values))).T
            sums = tally.of(label, rows.reshape(-1, *label.shape).astype(np.float32))
            place = place_of(prepared, cell)
            places[place] = places.get(place, 0) + sums
        found.append(MemberSums(fold, 0, places))
        print(f"fold {fold} of {len(prepared.folds)}: {process_time() - began:.0f} CPU s", flush=True)
    spread = spread_of(tally, found, {"about": "", "bundle": "", "interval": "", "unit": "places"})
    rows = {name: [s.value, *(s.ci95 or ())] for name, s in spread.figures.items()}
    for name, row in rows.items():
        print(f"{name:32} " + "  ".join("-" if v is None else f"{v:.3f}" for v in row))
    print(json.dumps(rows))
