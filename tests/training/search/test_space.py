import pytest

from geoseg.config.loader import load
from geoseg.config.search import Search
from geoseg.core.errors import ConfigError
from geoseg.training.search.space import as_changes, draw


class Lowest:
    """Draws the first of all values, and keeps what it was asked."""

    def __init__(self):
        self.asked = {}

    def suggest_float(self, name, low, high, *, log=False):
        self.asked[name] = (low, high, log)
        return low + (high - low) / 3

    def suggest_int(self, name, low, high, *, step=1):
        self.asked[name] = (low, high, step)
        return low

    def suggest_categorical(self, name, choices):
        self.asked[name] = choices
        return choices[0]


def test_each_kind_of_values_is_drawn_as_the_file_says():
    search = Search.model_validate(
        {
            "space": {
                "optimizer.rate": {"log": [1e-4, 1e-2]},
                "optimizer.weight_decay": {"uniform": [0, 0.1]},
                "chips.size": {"whole": [64, 128], "step": 32},
                "fit.batch": [8, 16],
                "loss": [[{"kind": "dice"}], [{"kind": "focal"}, {"kind": "dice", "weight": 0.5}]],
            }
        }
    )
    trial = Lowest()
    values = draw(trial, search)
    assert trial.asked["optimizer.rate"] == (1e-4, 1e-2, True)
    assert trial.asked["optimizer.weight_decay"] == (0, 0.1, False)
    assert trial.asked["chips.size"] == (64, 128, 32)
    assert values["loss"] == [{"kind": "dice"}]
    assert values["fit.batch"] == 8
    assert values["optimizer.rate"] == 0.0034  # three digits
    assert "fit.batch=8" in as_changes(values)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("split.val: [0.1, 0.2]", "split.val is not tried"),
        ("measure.augment: [none, d4]", "measure.augment is not tried"),
        ("optimizer.rate: {log: [0, 1]}", "optimizer.rate"),
        ("optimizer.rate: {log: [0.1, 0.01]}", "smaller number comes first"),
        ("optimizer.rate: {log: [0.1, 1], uniform: [0, 1]}", "one of log"),
        ("optimizer.rate: {log: [0.1, 1], step: 2}", "step goes with whole"),
        ("optimizer.rate: []", "optimizer.rate"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path, space, said):
    path = tmp_path / "search.yaml"
    path.write_text(f"space:\n  {space}\n")
    with pytest.raises(ConfigError, match=said):
        load(path, Search)
