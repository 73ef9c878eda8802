"""Read a scene with retries: networks and shared disks fail now and then."""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Window
from geoseg.scenes.network import forget
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.remote import gdal_path, has_version, uri_of
from geoseg.scenes.scene import Reader, Scene

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Most seconds between two attempts."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often to read a window that fails, and what to do in the end."""

    tries: int = 1
    """Attempts in all."""
    wait: float = 0.5
    """Seconds before the second attempt; each further wait is three times longer."""
    nodata: bool = False
    """Whether a window that stays unreadable is nodata instead of an error."""

    def waits(self) -> list[float]:
        """Return the seconds before each further attempt, with jitter because many workers share a server."""
        steps = (min(self.wait * 3**i, LONGEST_WAIT) for i in range(self.tries - 1))
        return [step * random.uniform(0.75, 1.25) for step in steps]  # noqa: S311 (no secret)


ONCE = RetryPolicy()
"""A single attempt, as for chips and in tests."""


def read_with_retry(
    scene: Scene,
    window: Window,
    policy: RetryPolicy,
    on_failure: Callable[[int, str], None],
    attempt: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Pixels | None:
    """Read a window; retry when reading fails.

    Parameters
    ----------
    scene
        The scene.
    window
        The window, in pixels of the scene.
    policy
        How often to read, and what to do when every attempt fails.
    on_failure
        Called with the number of each failed attempt, from 1, and the reason.
    attempt
        Makes the context in which an attempt runs; it is left before the next wait.

    Returns
    -------
    pixels
        None when the window cannot be read and `policy` turns it into nodata.

    Raises
    ------
    SceneError
        When the window cannot be read and `policy` does not turn it into nodata.
    """
    try:
        return with_retry(scene, policy, lambda: scene.read(window), on_failure, attempt)
    except SceneError:
        if policy.nodata:
            return None
        raise


def with_retry(
    scene: Scene,
    policy: RetryPolicy,
    work: Callable[[], T],
    on_failure: Callable[[int, str], None] = lambda *_: None,
    attempt: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> T:
    """Do some work that reads a scene; do it again when reading fails.

    Parameters and errors are those of `read_with_retry`.
    """
    waits = policy.waits()
    for number in range(1, policy.tries + 1):
        try:
            if number > 1:
                _forget(scene)
            with attempt():
                return work()
        except (SceneError, OSError) as error:
            on_failure(number, one_line(error))
            if number == policy.tries:
                tried = f" (tried {number} times)" if number > 1 else ""
                raise SceneError(f"{one_line(error)}{tried}") from error
            time.sleep(waits[number - 1])
    raise AssertionError("tries is at least 1")


def reader(policy: RetryPolicy) -> Reader:
    """Return a function that reads windows with retries; the policy may turn unreadable ones into nodata."""

    def read(scene: Scene, window: Window) -> Pixels:
        pixels = read_with_retry(scene, window, policy, lambda *_: None)
        return nodata_pixels(scene, window) if pixels is None else pixels

    return read


def nodata_pixels(scene: Scene, window: Window) -> Pixels:
    """Return a window in which no pixel is valid."""
    values = np.zeros((len(scene.bands), *window.shape), dtype=scene.dtype)
    return Pixels(values, np.zeros(window.shape, dtype=np.bool_))


def _forget(scene: Scene) -> None:
    """Let GDAL ask the server again: it caches answers, also that a file is missing."""
    for version in (v for source in scene.sources for v in source.files):
        if has_version(version.path):
            forget(gdal_path(uri_of(version.path)))
