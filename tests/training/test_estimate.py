import pytest
import torch

from geoseg.training import estimate as estimating
from geoseg.training.estimate import estimate
from geoseg.training.prepare import prepare
from tests.training.test_train import data, document  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, data):  # noqa: F811
    folder = tmp_path_factory.mktemp("estimate")
    return prepare(document(folder, data, epochs=40), ["fit.accumulate=2", "chips.per_epoch=64"])


def test_an_estimate_counts_all_steps_of_all_epochs(prepared, monkeypatch):
    lap = iter(range(1000))
    monkeypatch.setattr(estimating.time, "perf_counter", lambda: float(next(lap)))
    found = estimate(prepared)
    # A pass has two chips and takes a second: 32 passes over train, 2 over the four chips of val.
    assert (found.epoch_s, found.seconds) == (34.0, 40 * 34.0)
    assert (found.start, found.device, found.passes) == ("random weights", "cpu", 2)
    assert 1e8 < found.memory < 1e11
    assert not prepared.folder.exists()


def test_an_estimate_takes_smaller_passes_where_memory_is_short(prepared, monkeypatch):
    sizes, forward = [], torch.nn.functional.conv2d

    def short(x, *more, **options):
        sizes.append(len(x))
        if len(x) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(x, *more, **options)

    monkeypatch.setattr(torch.nn.functional, "conv2d", short)
    monkeypatch.setattr(
        torch.nn.Conv2d,
        "_conv_forward",
        lambda self, x, w, b: short(x, w, b, self.stride, self.padding, self.dilation, self.groups),
    )
    assert estimate(prepared).passes == 4
