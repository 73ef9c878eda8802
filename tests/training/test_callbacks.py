import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from geoseg.training.callbacks import moving_average


def test_the_average_forgets_its_start_and_then_moves_slowly():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    averaged = AveragedModel(network, multi_avg_fn=moving_average(0.9), use_buffers=True)
    expected = {k: v.clone() for k, v in network.state_dict().items()}
    torch.manual_seed(0)
    for step in range(12):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.add_(torch.randn(value.shape) if value.is_floating_point() else 1)
        averaged.update_parameters(network)
        # torch copies the first time; then the n-th update weighs the old average by (1 + n) / (10 + n).
        keep = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        for k, new in network.state_dict().items():
            expected[k] = torch.lerp(expected[k], new, 1 - keep) if new.is_floating_point() else new.clone()
    for k, value in averaged.module.state_dict().items():
        torch.testing.assert_close(value, expected[k])
