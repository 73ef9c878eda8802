"""Train a network."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.training.callbacks import Event
    from geoseg.training.train import Trained


def train(
    training: str | Path,
    *,
    output: str | Path | None = None,
    catalog: str | Path | None = None,
    overwrite: bool = False,
    on_event: Callable[["Event"], None] = lambda _: None,
    trust: bool = False,
    **changes: Any,
) -> "Trained | None":
    """Train a network on labelled scenes or chips, into a bundle that `geoseg.run` uses.

    An interrupted training is resumed by the same call.

    Parameters
    ----------
    training
        A training document: a file, or a name.
    output
        Folder of the training, instead of the document's.
    catalog
        The catalog file; None looks in the current folder, the user's, and in what ships with geoseg.
    overwrite
        Start again, also where a training was begun or finished.
    on_event
        Called after each batch and epoch, and with messages.
    trust
        Import the network's code where it is a class of a package, which runs as you.
    **changes
        Values to use instead of the document's; a mapping changes only the keys that it has.

    Returns
    -------
    Trained or None
        Folder, bundle and record; None in the helper processes of a training on several devices.

    Raises
    ------
    GeosegError
        When the training cannot start, or failed; its checkpoints are kept.

    Examples
    --------
    >>> trained = geoseg.train("forest.yaml", fit={"epochs": 1})
    >>> geoseg.open_bundle(trained.bundle).card.name
    'forest'
    """
    from geoseg.training.prepare import prepare  # noqa: PLC0415 (torch takes seconds)
    from geoseg.training.train import train as train_prepared  # noqa: PLC0415

    prepared = prepare(training, changes, None if output is None else Path(output), catalog, trust=trust)
    return train_prepared(prepared, overwrite=overwrite, on_event=on_event)
