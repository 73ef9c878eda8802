import time

from geoseg.cli import training_progress
from geoseg.cli.training_progress import Pace
from geoseg.training.callbacks import BatchDone, EpochDone, Notice
from geoseg.training.history import EpochRow


def row(epoch, seconds):
    figures = {"loss": 0.5, "miou": 0.4, "accuracy": 0.6}
    parts = {f"{part}_{k}": v for part in ("train", "val") for k, v in figures.items()}
    return EpochRow(epoch=epoch, rate=1e-3, seconds=seconds, **parts)


def test_the_first_epoch_says_where_it_is_and_what_is_left():
    now = 100.0
    pace = Pace(lambda: now)
    now = 140.0
    assert pace.line() == "[0:40] waits for the first batch"
    pace.add(BatchDone(10, 40, 1, 3, 0.75))
    # Four seconds a batch: two minutes of this epoch and twice 2:40.
    assert pace.line() == "[0:40] epoch 1/3, batch 10/40, loss 0.750, 2:00 left of the epoch, 7:20 of all"
    pace.add(BatchDone(3, 5, 1, 3))
    assert pace.line() == "[0:40] epoch 1/3, checks batch 3/5"
    pace.add(EpochDone(1, 3, row(1, 180.0)))
    now = 150.0
    pace.add(BatchDone(2, 40, 2, 3, 0.5))
    assert pace.line() == "[0:10] epoch 2/3, batch 2/40, loss 0.500, 2:50 left of the epoch, 5:50 of all"


def test_epochs_on_workers_say_whose_they_are():
    now = 10.0
    pace, event = Pace(lambda: now), EpochDone(2, 9, row(2, 30.0), "fold 1 of 5, seed 0")
    pace.add(event)
    now = 70.0
    assert pace.line() == "[1:00] last: fold 1 of 5, seed 0, epoch 2/9"
    assert training_progress.epoch_line(event).startswith("fold 1 of 5, seed 0: epoch 2/9: loss 0.500")


def test_without_a_terminal_lines_come_while_nothing_else_is_said(monkeypatch):
    said = []
    monkeypatch.setattr(training_progress, "say", said.append)
    with training_progress._lines(every=0.02) as show:
        show(Notice("starts from random weights"))
        show(BatchDone(1, 9, 1, 2, 0.5))
        assert said == ["starts from random weights"]
        end = time.monotonic() + 5
        while len(said) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        show(EpochDone(1, 2, row(1, 7.0)))
    assert all("batch 1/9" in line for line in said[1:3])
    assert said[-1] == "epoch 1/2: loss 0.500, val loss 0.500, val mIoU 0.400, 7 s"
    assert all(line.startswith("[") for line in said[1:-1])
