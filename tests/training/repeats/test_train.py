"""Several trainings: pooled figures, the bundle of them, resuming, workers."""

import csv
import json
import pickle
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geoseg.core.errors import ConfigError, OutputError, TrainingError
from geoseg.core.legend import IGNORE
from geoseg.evaluation.metrics import confusion_matrix, scores
from geoseg.models.bundle import open_bundle
from geoseg.training import train
from geoseg.training.build import evaluation_chips
from geoseg.training.calibrate import LogitRows, cross_validated, fit_rows, fit_vector, joined
from geoseg.training.callbacks import EpochDone, Notice
from geoseg.training.measure import fit_temperature, predict_chips
from geoseg.training.prepare import prepare
from geoseg.training.record import read_record
from geoseg.training.regression.measure import predict_numbers
from geoseg.training.repeats.counted import Counted, read_counted, write_counted
from geoseg.training.repeats.members import SUMS, trainings_of
from geoseg.training.repeats.tally import ClassTally, tally_of
from geoseg.training.repeats.work import Job
from tests import processes
from tests.training.repeats.worlds import document, write_places


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


def prepared_of(path, *changes):
    return prepare(path, changes, trust=True)


def run(path, *changes, **more):
    return train.train(prepared_of(path, *changes), **more)


@pytest.fixture(scope="module")
def folded(data, tmp_path_factory):
    path = document(tmp_path_factory.mktemp("folds"), data, "seeds: 2")
    told = []
    trained = run(path, on_event=told.append)
    return path, trained, told


def test_the_dry_run_says_how_many_trainings_there_are(data, tmp_path):
    path = document(tmp_path, data, "seeds: 2")
    for change, count in (("final=all", 7), ("final=best", 6), ("final=soup", 8), ("split.folds=5", 11)):
        assert prepared_of(path, change).summary()["trainings"] == count
    alone = prepared_of(path, "split={by: place, val: 0.2, test: 0.2}", "seeds=1").summary()
    assert "trainings" not in alone
    assert "folds" not in alone


def test_a_place_is_in_one_part_and_tested_once(data, tmp_path):
    prepared = prepared_of(document(tmp_path, data))
    tested = []
    for member in trainings_of(prepared):
        parts = member.prepared.parts
        scenes = [{c.region.scene for c in parts[p]} for p in ("train", "val", "test")]
        assert sum(map(len, scenes)) == len(set().union(*scenes)) == 5
        tested += list(scenes[2])
        # What the network is fed with is measured on its own train.
        assert not np.array_equal(member.prepared.statistics.mean, prepared.statistics.mean) or not scenes[2]
    assert sorted(tested) == [0, 1, 2, 3, 4]


def test_pooled_figures_are_those_of_a_run_by_hand(folded):
    path, trained, _ = folded
    prepared = prepared_of(path)
    legend = prepared.legend.legend
    total, by_seed, by_place = np.zeros((3, 3), np.int64), {}, {}
    for member in trainings_of(prepared):
        if not member.measures:
            continue
        bundle = open_bundle(member.folder / "bundle", trust=True)
        chips = evaluation_chips(member.prepared, "test")
        for cell, chip in zip(
            chips.cells,
            predict_chips(bundle.network(), chips, 4, scaling=bundle.card.scaling),
            strict=True,
        ):
            matrix = confusion_matrix(chip.label, chip.probabilities.argmax(0).astype(np.uint8), 3)
            place = prepared.labelled[cell.region.scene].group
            for key, kept in ((member.seed, by_seed), (place, by_place)):
                kept[key] = kept.get(key, 0) + matrix
            total += matrix
    # Each labelled pixel once for each seed.
    assert total.sum() == 2 * sum(c.labelled for p in prepared.folds for c in p["test"])
    metrics = trained.record.metrics
    assert metrics.confusion_matrix.pixels == total.tolist()
    assert metrics.miou == pytest.approx(scores(total).miou, abs=1e-6)
    repeats = metrics.repeats
    mious = [scores(m).miou for m in by_seed.values()]
    assert repeats.figures["miou"].seeds_mean == pytest.approx(np.mean(mious), abs=1e-6)
    assert repeats.figures["miou"].seeds_sd == pytest.approx(np.std(mious, ddof=1), abs=1e-6)
    with (trained.folder / "places.csv").open(newline="") as file:
        rows = {row["place"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(by_place)
    for place, matrix in by_place.items():
        assert float(rows[place]["miou"]) == pytest.approx(scores(matrix).miou, abs=1e-6)
        assert int(rows[place]["pixels"]) == matrix.sum() // 2
    low, high = repeats.figures["miou"].ci95
    assert low <= repeats.figures["miou"].value <= high
    assert (repeats.folds, repeats.seeds, repeats.networks, repeats.places) == (3, 2, 6, 5)
    assert {row.slug for row in metrics.classes} == {c.slug for c in legend.classes}


def test_the_card_says_what_its_figures_are(folded):
    _, trained, _ = folded
    card = open_bundle(trained.bundle, trust=True).card
    assert (card.name, card.title) == ("toy", "toy")
    assert "5 places" in card.metrics["reference"]
    assert "saw nothing of its place" in card.metrics["reference"]
    assert "not of the weights of this bundle" in card.metrics["reference"]
    assert card.metrics["repeats"]["figures"]["miou"]["ci95"] is not None
    assert "on all data but those of val" in card.training["weights"]
    assert set(card.metrics["other_parts"]) == {"val"}
    assert card.training["seeds"] == 2
    record = read_record(trained.folder / "training.json")
    assert record.metrics.repeats == trained.record.metrics.repeats
    page = (trained.folder / "training.html").read_text()
    assert "members/fold-1-seed-0/training.html" in page
    assert "saw nothing of its place" in page


def test_the_bundle_of_all_data_is_its_own_training_and_takes_the_pooled_temperature(folded):
    path, trained, _ = folded
    prepared = prepared_of(path)
    members = trainings_of(prepared)
    final = members[-1]
    assert {c.region.scene for p in ("train", "val") for c in final.prepared.parts[p]} == set(range(5))
    one, two = (load_file(f / "model.safetensors") for f in (trained.bundle, final.folder / "bundle"))
    assert all(torch.equal(one[k], two[k]) for k in one)

    def predicted():
        for member in members[:-1]:
            network = open_bundle(member.folder / "bundle", trust=True).network()
            yield from predict_chips(network, evaluation_chips(member.prepared, "test"), 4)

    pixels = sum(int((c.label != IGNORE).sum()) for c in predicted())
    assert trained.record.temperature == pytest.approx(fit_temperature(predicted(), pixels), rel=5e-3)
    assert trained.record.temperature != open_bundle(final.folder / "bundle", trust=True).card.temperature


def test_a_finished_folder_is_not_replaced_unasked(folded):
    path, _, _ = folded
    with pytest.raises(OutputError, match="holds a finished training"):
        run(path)


def test_finished_members_have_no_checkpoints_left(folded):
    _, trained, told = folded
    assert not list(trained.folder.glob("members/*/checkpoints"))
    assert any("fold 2 of 3, seed 1: training 5 of 7" in getattr(e, "message", "") for e in told)


def test_a_killed_training_keeps_what_is_finished_and_ends_alike(folded, data, tmp_path):
    _, expected, _ = folded
    path = document(tmp_path, data, "seeds: 2")
    process = processes.start("geoseg", "train", path, "--quiet", "--trust", imported=processes.TRAINING)
    first = tmp_path / "out/members/fold-1-seed-0" / SUMS
    for _ in range(1200):
        if first.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.exists()
    assert not (tmp_path / "out/training.json").exists()
    before = first.stat().st_mtime_ns
    with pytest.raises(OutputError, match=r"unfinished training of other settings .*rate"):
        run(path, "optimizer.rate=0.5")
    told = []
    found = run(path, on_event=told.append)
    assert "of 7 trainings are finished" in told[0].message
    assert first.stat().st_mtime_ns == before
    assert found.record.metrics == expected.record.metrics
    one, two = (load_file(t.bundle / "model.safetensors") for t in (expected, found))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_tasks_of_a_cluster_train_the_same_networks(folded, data, tmp_path, monkeypatch):
    from geoseg.training.repeats import train as repeats

    # The workers are threads of this process: starting others takes longer than all of the trainings.
    monkeypatch.setattr(repeats, "_in_this_process", lambda _: False)
    _, expected, _ = folded
    told = []
    found = run(document(tmp_path, data, "seeds: 2"), on_event=told.append)
    assert found.record.metrics == expected.record.metrics
    notices, epochs = ([e for e in told if isinstance(e, k)] for k in (Notice, EpochDone))
    assert sum(": finished, 1 epochs (" in e.message for e in notices) == 7
    # Those of the last one may come too late to be told.
    assert {"fold 1 of 3, seed 0", "fold 2 of 3, seed 1"} < {e.member for e in epochs}
    assert {(e.epoch, e.epochs) for e in epochs} == {(1, 1)}
    one, two = (load_file(t.bundle / "model.safetensors") for t in (expected, found))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_worker_gets_no_pixels(data, tmp_path):
    prepared = prepared_of(document(tmp_path, data))
    job = Job(trainings_of(prepared)[0], ClassTally(prepared.legend.legend))
    packed = job.packed().member.prepared
    assert packed.scenes == ()
    assert len(pickle.dumps(replace(packed, parts={}))) < 50_000
    assert pickle.dumps(job.packed())


def test_a_member_that_fails_is_named(data, tmp_path, monkeypatch):
    from geoseg.training.task import SegmentationTask

    def poisoned(self, batch, number):
        raise TrainingError("the loss is NaN")

    monkeypatch.setattr(SegmentationTask, "training_step", poisoned)
    with pytest.raises(TrainingError, match=r"^fold 1 of 3, seed 0: the loss is NaN"):
        run(document(tmp_path, data))


def test_seeds_alone_give_a_spread_and_the_best_of_them(data, tmp_path):
    path = document(tmp_path, data, "seeds: 2", split="{by: place, val: 0.2, test: 0.4}")
    trained = run(path)
    records = [read_record(tmp_path / f"out/members/seed-{s}/training.json") for s in (0, 1)]
    best = max(records, key=lambda r: r.metrics.other_parts["val"].miou)
    kept = load_file(trained.bundle / "model.safetensors")
    own = load_file(tmp_path / f"out/members/seed-{best.document['seed']}/bundle/model.safetensors")
    assert all(torch.equal(kept[k], own[k]) for k in kept)
    repeats = trained.record.metrics.repeats
    assert (repeats.folds, repeats.seeds, repeats.places) == (1, 2, 2)
    mious = [r.metrics.miou for r in records]
    assert repeats.figures["miou"].seeds_mean == pytest.approx(np.mean(mious), abs=1e-5)
    assert trained.record.temperature == best.temperature
    assert trained.record.metrics.other_parts["test, this network"].miou == best.metrics.miou


def test_a_soup_is_made_of_seeds_that_start_alike_and_kept_only_if_val_says_so(data, tmp_path, monkeypatch):
    from geoseg.training.repeats import finish

    split = "{by: place, val: 0.2, test: 0.2}"
    path = document(tmp_path, data, "seeds: 2", "final: soup", split=split)
    prepared = prepared_of(path, "optimizer.rate=0.000001")
    trained = train.train(prepared)
    states = [load_file(m.folder / "bundle/model.safetensors") for m in trainings_of(prepared)]
    soup = load_file(trained.bundle / "model.safetensors")
    told = trained.record.metrics.repeats.bundle
    if "is not kept" not in told:
        torch.testing.assert_close(
            soup["last.weight"], (states[0]["last.weight"] + states[1]["last.weight"]) / 2
        )
    # Hardly trained, so they still show that they started from the same weights.
    torch.testing.assert_close(states[0]["first.weight"], states[1]["first.weight"], atol=1e-4, rtol=0)
    for figure, kept in ((1.0, True), (-1.0, False)):
        real = finish._figure
        asked = []

        def pretended(metrics, name, figure=figure, asked=asked, real=real):
            asked.append(name)
            return figure if len(asked) == 3 else real(metrics, name)

        monkeypatch.setattr(finish, "_figure", pretended)
        told = finish._choose(prepared, trainings_of(prepared), _records(prepared)).told
        monkeypatch.setattr(finish, "_figure", real)
        assert ("started from the same ones" in told and "is not kept" not in told) == kept


def _records(prepared):
    return {m.label: read_record(m.folder / "training.json") for m in trainings_of(prepared)}


def test_numbers_and_labels_have_folds_too(data, tmp_path):
    legend = "target: {name: height, unit: m}\ntask: regression\n"
    path = document(tmp_path, data, legend=legend, split="{by: file, folds: 2, val: 0.2}")
    trained = run(path)
    prepared = prepared_of(path)
    found = []
    for member in trainings_of(prepared)[:2]:
        bundle, chips = (
            open_bundle(member.folder / "bundle", trust=True),
            evaluation_chips(member.prepared, "test"),
        )
        found += predict_numbers(bundle.network(), chips, bundle.card.target, 4)
    differences = [(c.found - c.label)[~np.isnan(c.label)] for c in found]
    difference = np.concatenate(differences).astype(float)
    metrics = trained.record.metrics
    assert metrics.rmse == pytest.approx(np.sqrt((difference**2).mean()), rel=1e-4)
    assert metrics.bias == pytest.approx(difference.mean(), rel=1e-3, abs=1e-5)
    assert metrics.repeats.figures["rmse"].ci95 is not None
    assert "5 scenes" in metrics.reference


def test_what_cannot_be_is_refused_in_one_line(data, tmp_path):
    path = document(tmp_path, data)
    for changes, said in (
        (["split.folds=null", "final=all"], "final goes with split.folds or seeds"),
        (["fit.devices=2"], "has one device"),
        (["final=soup"], "soup needs seeds: 2 or more"),
        (["split={by: given, folds: 2}"], "not by given"),
        (["split.folds=6"], "6 folds need 6"),
        (["split.val=0.7"], "must leave a share to train"),
    ):
        with pytest.raises(ConfigError, match=said):
            prepared_of(path, *changes)


def test_an_unfinished_single_training_of_before_goes_on(data, tmp_path):
    from geoseg.training.folder import open_folder

    prepared = prepared_of(document(tmp_path, data, split="{by: place, val: 0.2, test: 0.2}"))
    prepared.folder.mkdir()
    open_folder(prepared, overwrite=False)
    kept = json.loads((prepared.folder / "begun.json").read_text())["training"]
    assert not {"seeds", "final", "cluster"} & set(kept)
    assert "folds" not in kept["split"]


def test_sums_of_chips_give_the_same_calibration(folded):
    path, _, _ = folded
    prepared = prepared_of(path)
    tally = ClassTally(prepared.legend.legend)
    member = trainings_of(prepared)[0]
    sums = np.sum(list(read_counted(member.folder / SUMS).places.values()), axis=0)
    expected = read_record(member.folder / "training.json").metrics
    found = tally.scores(sums)
    for name in ("miou", "brier", "expected_calibration_error", "kappa"):
        assert found[name] == pytest.approx(getattr(expected, name), abs=2e-6)


def test_members_of_before_are_measured_again_and_not_trained_again(folded, tmp_path, monkeypatch):
    path, trained, _ = folded
    shutil.copytree(trained.folder, tmp_path / "old")
    (tmp_path / "old/training.json").unlink()
    changes = ("measure.calibrate=vector", f"output={tmp_path / 'old'}")
    members = trainings_of(prepared_of(path, *changes))
    # A file of an older geoseg has fewer sums, and no logits.
    first = read_counted(members[0].folder / SUMS)
    write_counted(members[0].folder / SUMS, Counted({k: v[:100] for k, v in first.places.items()}, None))
    (members[1].folder / SUMS).unlink()
    monkeypatch.setattr(train, "_fit", lambda *_: pytest.fail("trains again"))
    told = []
    found = run(path, *changes, on_event=told.append)
    assert sum("measuring the trained network again" in getattr(e, "message", "") for e in told) == 7

    counted = [(m.fold, read_counted(m.folder / SUMS)) for m in members if m.measures]
    folds = np.concatenate([np.full(len(c.rows), fold) for fold, c in counted])
    rows = joined([c.rows for _, c in counted])
    expected = fit_vector(rows, fit_rows(rows)).calibration
    card = open_bundle(found.bundle, trust=True).card
    assert card.calibration == found.record.calibration == expected
    assert card.temperature == 1
    single, vector = cross_validated(rows, folds)
    assert (
        f"{vector:.4f} with vector scaling, {single:.4f} with a temperature" in card.training["calibration"]
    )
    assert "over 3 folds" in card.training["calibration"]
    assert card.training["calibration"] in (found.folder / "training.html").read_text()
    for member in members:
        own, before = (
            open_bundle(folder / "members" / member.folder.name / "bundle", trust=True).card
            for folder in (found.folder, trained.folder)
        )
        assert own.weights_sha256 == before.weights_sha256
        assert own.calibration is not None
        assert before.calibration is None
    # Pooled: every labelled pixel of each seed is in the bins of some class.
    pixels = sum(b.pixels for c in found.record.metrics.classes for b in c.reliability)
    assert pixels == found.record.metrics.pixels


def test_a_file_is_small_and_rows_know_their_place(folded, tmp_path):
    path, _, _ = folded
    prepared = prepared_of(path, "measure.calibrate=auto")
    assert tally_of(prepared.aim, prepared.legend.legend).rows == 20_000
    rng = np.random.default_rng(0)
    rows = LogitRows(
        rng.normal(size=(20_000, 6)).astype(np.float32),
        np.zeros(20_000, np.uint8),
        np.zeros(20_000, np.int64),
    )
    write_counted(tmp_path / SUMS, Counted({"a": np.zeros(9)}, rows))
    assert (tmp_path / SUMS).stat().st_size < 1_000_000
    back = read_counted(tmp_path / SUMS)
    assert np.array_equal(back.rows.logits, rows.logits)
    assert list(back.places) == ["a"]
