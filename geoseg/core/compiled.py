"""Loops that numba compiles; what it compiled is kept for later processes where there is room for it."""

import contextlib
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a loop when it is called first; it runs without the interpreter's lock.

    Numba fails where it cannot keep what it compiled: at once where no folder can be written, and with the
    first call on a full disk. Neither need stop the work, which is only compiled again next time.
    """
    try:
        loop = njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)
    keep = loop._cache.save_overload  # noqa: SLF001 (numba has no setting for it)

    def keep_if_possible(*what: Any) -> None:
        with contextlib.suppress(OSError):
            keep(*what)

    loop._cache.save_overload = keep_if_possible  # noqa: SLF001
    return loop
