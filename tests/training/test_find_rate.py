import math

import pytest

from geoseg.core.errors import TrainingError
from geoseg.training import find_rate as module
from geoseg.training.find_rate import find_rate, of_batches, smoothed, suggest, write_rate
from geoseg.training.prepare import prepare
from tests.training.test_train import UNET, document
from tests.training.worlds import labelled_scene


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate")
    for i in range(4):
        labelled_scene(folder, f"s{i}", (64, 64), seed=i, origin=(5e5 + 5000 * i, 4.5e6), keep=False)
    path = document(folder, folder, UNET, "transfer: {encoder_rate: 0.5}")
    return prepare(path, ["chips.size=32"])


def test_the_curve_is_the_same_again_and_nothing_of_the_training_is_touched(prepared):
    found = find_rate(prepared, steps=12)
    assert 3 <= len(found.rates) <= 12
    assert found.rates[0] == pytest.approx(module.LOW, rel=0.5)
    assert list(found.rates) == sorted(found.rates)
    # That of three classes that are all the same to a new network: log 3.
    assert 0.8 < found.losses[0] < 1.6
    again = find_rate(prepared, steps=12)
    assert (again.rates, again.losses) == (found.rates, found.losses)
    assert not prepared.folder.exists()


def test_the_running_means_of_the_tuner_are_undone():
    losses, mean, means = [1.1, 1.0, 1.3, 0.8, 0.5, 0.9], 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = 0.98 * mean + 0.02 * loss
        means.append(mean / (1 - 0.98 ** (step + 1)))
    assert of_batches(means) == pytest.approx(losses)
    found = smoothed([1.0] * 10 + [math.nan] + [1.0])
    assert math.isnan(found[10])
    assert [v for v in found if not math.isnan(v)] == pytest.approx([1.0] * 11)


def test_groups_keep_their_ratio(prepared):
    task, _ = module.build_task(prepared)
    module._keep_ratios(task, prepared.document.optimizer.rate)
    task.trainer = type("T", (), {"precision": "32-true", "estimated_stepping_batches": 5})()
    optimizer = task.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        group["lr"] = 0.25  # as the tuner does
    used = []
    optimizer.register_step_pre_hook(lambda o, *_: used.append({g["lr"] for g in o.param_groups}))
    optimizer.step()
    assert used == [{0.25, 0.125}]
    assert {g["lr"] for g in optimizer.param_groups} == {0.25}


def test_what_to_write_is_said_and_the_curve_is_kept(prepared):
    rates = tuple(10 ** (-6 + i / 20) for i in range(120))
    losses = tuple(1.0 - 0.8 / (1 + (3e-3 / r) ** 2) if r < 0.1 else r * 10 for r in rates)
    told = write_rate(prepared, module.FoundRate(rates, losses, "random weights"))
    assert told["write"] == f"optimizer: {{kind: adamw, rate: {told['rate']:g}}}"
    assert 1.5e-3 < told["rate"] < 6e-3
    folder = prepared.folder.parent / "trained-rate"
    lines = (folder / "rate.csv").read_text().splitlines()
    assert lines[0] == "rate,loss"
    assert len(lines) == 121
    page = (folder / "rate.html").read_text()
    assert "<svg" in page
    assert f"most steeply at {told['rate']:g}" in page
    # The folder of the training may still be begun.
    assert not prepared.folder.exists()


def test_noise_at_the_lowest_rates_is_no_suggestion():
    rates = [10 ** (-6 + i / 20) for i in range(120)]
    losses = [1 - 0.5 / (1 + (1e-2 / r) ** 2) + 2e-3 * math.sin(7 * i) for i, r in enumerate(rates)]
    assert 3e-3 < suggest(rates, losses) < 3e-2


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0, 4.0, 5.0], [math.nan] * 5, [1.0]])
def test_a_loss_that_falls_nowhere_suggests_nothing(losses):
    with pytest.raises(TrainingError, match="falls at no rate"):
        suggest([10.0**-i for i in range(len(losses), 0, -1)], losses)


def test_a_loss_that_is_no_number_ends_the_test(prepared, monkeypatch):
    count = 0

    def broken(task, batch, number):
        nonlocal count
        count += 1
        if count > 5:
            raise TrainingError("the loss is NaN")
        return task.loss(task._forward(batch), batch["label"])

    monkeypatch.setattr("geoseg.training.task.SegmentationTask.training_step", broken)
    found = find_rate(prepared, steps=12)
    assert count == 6
    assert sum(math.isfinite(y) for y in found.losses) == 5
