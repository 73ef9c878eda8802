"""Lengths and areas of documents: metres, or pixels when written like `1.5 px`."""

from typing import Annotated

from pydantic import Field

from geoseg.config.fields import NonNegative
from geoseg.core.errors import ConfigError

Length = NonNegative | Annotated[str, Field(pattern=r"^\d{1,9}(\.\d{1,9})? ?px$", examples=["1.5 px"])]
"""Metres (for areas square metres), or pixels when written like `1.5 px`."""


def in_pixels(key: str, length: Length, metres: float | None) -> float:
    """Return a length in pixels.

    Parameters
    ----------
    key
        Key of the document, for the message.
    length
        Its value.
    metres
        Side of a pixel in metres, for an area its square metres; None when the map has no CRS.

    Raises
    ------
    ConfigError
        When the length is in metres and the map has no CRS.

    Examples
    --------
    >>> in_pixels("vectorize.simplify", 15, 10), in_pixels("vectorize.simplify", "2 px", 10)
    (1.5, 2.0)
    """
    if isinstance(length, str):
        return float(length.removesuffix("px"))
    if length and metres is None:
        raise ConfigError(
            f"{key}: {length:g} is in metres, but the scene has no CRS; write it in pixels ('2 px') or leave "
            "it at 0"
        )
    return length / (metres or 1.0)
