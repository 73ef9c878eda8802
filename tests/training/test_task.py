import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.config.training import LossTerm, Optimizer, Transfer
from geoseg.core.errors import TrainingError
from geoseg.training.losses import Loss
from geoseg.training.task import Confusion, SegmentationTask, rate_factor, schedule


class Tiny(nn.Module):
    """A network with the three parts that every network has."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.decoder = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.segmentation_head = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.segmentation_head(self.decoder(self.encoder(x)))


def task(**transfer):
    torch.manual_seed(0)
    loss = Loss([LossTerm(kind="cross-entropy")], np.array([1, 1, 1]))
    return SegmentationTask(Tiny(), loss, 3, Optimizer(), Transfer(**transfer), seed=0)


def batch(label=None):
    torch.manual_seed(1)
    labels = torch.randint(3, (2, 8, 8)) if label is None else label
    return {"image": torch.randn(2, 2, 8, 8), "label": labels, "where": ["scene a, rows 0-8", "scene b"]}


def test_a_loss_that_is_no_number_stops_at_the_chip():
    one = task()
    bad = batch()
    bad["image"][1, 0, 0, 0] = math.inf
    one.eval()  # in training mode batch norms would spread it over the whole batch
    with pytest.raises(TrainingError, match=r"NaN or infinite in epoch 1 at scene b; .*checkpoints"):
        one.training_step(bad, 0)


def test_metrics_are_those_of_all_pixels():
    from sklearn.metrics import jaccard_score

    one = task().eval()
    truth, said = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        b = batch(torch.randint(3, (2, 8, 8)))
        b["label"][0, 0] = 255
        one.validation_step(b, 0)
        known = b["label"] != 255
        truth.append(b["label"][known])
        said.append(one.network(b["image"]).argmax(1)[known])
    found = one.results("val_")
    expected = jaccard_score(torch.cat(truth), torch.cat(said), average=None, labels=[0, 1, 2])
    assert found["iou"] == pytest.approx(list(expected), abs=1e-6)
    assert found["miou"] == pytest.approx(expected.mean(), abs=1e-6)
    assert one.results("val_")["iou"] == []  # forgotten


def test_confusion_is_that_of_torchmetrics():
    from torchmetrics.classification import MulticlassConfusionMatrix

    ours, theirs = Confusion(3), MulticlassConfusionMatrix(3, ignore_index=255)
    torch.manual_seed(0)
    for _ in range(2):
        said, label = torch.randint(3, (2, 5, 7)), torch.randint(3, (2, 5, 7))
        label[:, 0] = 255
        ours.update(said, label)
        theirs.update(said, label)
    assert torch.equal(ours.compute(), theirs.compute())


def test_an_absent_class_is_left_out_of_the_mean():
    one = task().eval()
    b = batch(torch.zeros(2, 8, 8, dtype=torch.long))
    with torch.no_grad():
        one.network.segmentation_head.bias.copy_(torch.tensor([9.0, -9.0, -9.0]))
    one.validation_step(b, 0)
    found = one.results("val_")
    assert found["miou"] == pytest.approx(1.0)
    assert math.isnan(found["iou"][2])


def test_a_frozen_encoder_keeps_weights_and_statistics():
    one = task(freeze_epochs=1)
    one.on_train_epoch_start()
    one.train()
    before = {k: v.clone() for k, v in one.network.encoder.state_dict().items()}
    optimizer = torch.optim.AdamW(one.network.parameters(), lr=0.1, weight_decay=0.1)
    one.training_step(batch(), 0).backward()
    optimizer.step()
    for key, value in one.network.encoder.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert one.network.decoder.training


def test_the_encoder_is_free_after_its_frozen_epochs(monkeypatch):
    one = task(freeze_epochs=1)
    one.on_train_epoch_start()
    assert not any(p.requires_grad for p in one.network.encoder.parameters())
    monkeypatch.setattr(SegmentationTask, "current_epoch", 1)
    one.on_train_epoch_start()
    assert all(p.requires_grad for p in one.network.encoder.parameters())
    assert one.network.encoder.training


def test_the_rate_rises_and_falls():
    factor = rate_factor(Optimizer(warmup=0.1), 100)
    values = [factor(i) for i in range(101)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == values[10] == pytest.approx(1.0)
    assert values[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(a >= b for a, b in itertools.pairwise(values[10:]))
    assert rate_factor(Optimizer(schedule="constant", warmup=0), 100)(99) == 1.0


def test_one_cycle_keeps_the_ratio_of_the_groups():
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [p], "lr": r} for p, r in zip(parameters, (0.1, 0.01), strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    one_cycle = schedule(optimizer, Optimizer(schedule="one-cycle", warmup=0.3), 50)
    rates = []
    for _ in range(50):
        optimizer.step()
        rates.append([g["lr"] for g in optimizer.param_groups])
        one_cycle.step()
    rates = np.array(rates)
    assert rates[:, 0] / rates[:, 1] == pytest.approx(np.full(50, 10.0))
    assert rates[:, 0].max() == pytest.approx(0.1, rel=0.01)
    assert rates[-1, 0] < 0.01
