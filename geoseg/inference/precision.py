"""Choose the precision of a run: mixed, where it keeps the classes of the network."""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.inference.retry import RetryPolicy, read_with_retry
from geoseg.models.backends.spec import mixed_level
from geoseg.models.bundle import Bundle
from geoseg.models.calibration import Chip
from geoseg.scenes.scene import Scene

Sample: TypeAlias = tuple[Sequence[Chip], NDArray[np.float32], NDArray[np.float32]]
"""Pixels in raw numbers, and gain and bias of each band, shape (B,)."""

LEAST_PIXELS = 1 << 23
"""Pixels of a scene from which `auto` looks for a mixed precision: finding and compiling it takes seconds."""

MOST_WINDOWS = 9
"""Windows of a scene on which a mixed precision is found."""


def choose_precision(
    asked: str,
    resolved: str,
    backend: str,
    bundle: Bundle,
    pixels: int,
    *,
    here: bool,
    sample: Callable[[], Sample] | None = None,
) -> str:
    """Return the precision with which a network runs on a scene: `mixed:N` where it keeps the classes.

    `auto` takes it for large scenes, where the bundle keeps chips to find it on and all workers are processes
    of this machine. `mixed` finds it on a sample of the scene where the bundle keeps no chips.

    Parameters
    ----------
    asked
        The precision of the pipeline.
    resolved
        What it means without a mixture.
    backend
        What runs the network.
    bundle
        The model.
    pixels
        Pixels of the scene.
    here
        Whether only processes of this machine run the network.
    sample
        Reads pixels of the scene; None where it is not to be read.

    Raises
    ------
    ConfigError
        When `mixed` is asked for and does not run here.
    SceneError
        When the sample cannot be read.
    """
    if asked not in {"auto", "mixed"}:
        return resolved
    if asked == "auto" and (pixels < LEAST_PIXELS or not here or bundle.is_graph):
        return resolved
    from geoseg.models.backends.openvino_model import has_bfloat16  # noqa: PLC0415 (slow to import)

    if backend != "openvino" or resolved != "fp32" or not has_bfloat16():
        if asked == "auto":
            return resolved
        raise ConfigError(
            "inference.precision: mixed runs with OpenVINO on processors that have bfloat16; use "
            "--set inference.precision=fp32"
        )
    from geoseg.models.backends.mixed import find_mixed, mixed_of_bundle  # noqa: PLC0415

    found = mixed_of_bundle(bundle)
    if found is None and asked == "auto":
        return resolved
    if found is None:
        if sample is None:
            raise ConfigError(
                f"precision: {bundle.card.name} keeps no chips on which a mixed precision could be found; "
                "use fp32"
            )
        found = find_mixed(bundle, *sample())
    if mixed_level(found.precision) is None and asked == "mixed":
        warnings.warn(
            f"{bundle.card.name}: no mixed precision keeps its classes ({100 * found.changed:.2g} % change "
            "at least), so it runs in float32",
            GeosegWarning,
            stacklevel=2,
        )
    return found.precision


def sample_of(scene: Scene, retry: RetryPolicy) -> Sample:
    """Read windows of a scene that have one shape and valid pixels.

    Raises
    ------
    SceneError
        When they cannot be read, or none has a valid pixel.
    """
    windows = scene.sample_windows()
    shape = max((w.shape for w in windows), key=lambda s: s[0] * s[1])
    whole = [w for w in windows if w.shape == shape]
    spread = whole[:: -(-len(whole) // MOST_WINDOWS)]
    read = [read_with_retry(scene, w, retry, lambda *_: None) for w in spread]
    chips = [Chip(p.values.astype(np.float32), p.valid) for p in read if p is not None and p.valid.any()]
    if not chips:
        raise SceneError(
            f"{scene.name}: no pixel that was looked at is valid, so no mixed precision can be found on it; "
            "use --set inference.precision=fp32"
        )
    return chips, scene.gain, scene.bias
