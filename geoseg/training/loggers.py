"""Where the figures of each epoch go besides `metrics.csv`: files and services, through Lightning."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from geoseg.core.extras import require

_MODULES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""The package that each logger needs; its extra has the same name."""


def check_loggers(names: Sequence[str] | None) -> None:
    """Check that the packages of loggers are installed.

    Raises
    ------
    ConfigError
        When one is missing; tells the command that installs it.
    """
    for name in names or ():
        if name in _MODULES:
            require(_MODULES[name], name, f"fit.loggers: {name}")


def make_loggers(names: Sequence[str] | None, folder: Path) -> Any:
    """Return Lightning's loggers, or False for none.

    Parameters
    ----------
    names
        As `fit.loggers` has them; None: TensorBoard where it is installed.
    folder
        Folder of the training. A training that is resumed goes on in the same run of W&B.
    """
    from lightning.pytorch import loggers  # noqa: PLC0415 (slow to import)

    makers = {
        # A version of its own after an interruption: it would replace the rows of the one before.
        "csv": lambda: loggers.CSVLogger(folder, name="csv"),
        "tensorboard": lambda: loggers.TensorBoardLogger(folder, name="tensorboard", version=""),
        "wandb": lambda: loggers.WandbLogger(
            save_dir=folder, project=os.environ.get("WANDB_PROJECT", "geoseg"), name=folder.name,
            id=sha256(str(folder.absolute()).encode()).hexdigest()[:16], resume="allow",
        ),
        "mlflow": lambda: loggers.MLFlowLogger(
            experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", "geoseg"), run_name=folder.name,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"file:{folder.absolute() / 'mlruns'}",
        ),
    }  # fmt: skip
    if names is not None:
        check_loggers(names)
        return [makers[name]() for name in dict.fromkeys(names)] or False
    try:
        return [makers["tensorboard"]()]
    except ModuleNotFoundError:
        return False
