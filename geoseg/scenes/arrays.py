"""A scene whose numbers lie in arrays, in memory or lazy ones of Dask."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.geometry import Span, Window
from geoseg.scenes.bands import valid_numbers
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Reader, Scene, spread
from geoseg.scenes.sources import SourceFile
from geoseg.scenes.versions import FileVersion

LAZY_SAMPLES = 3
"""Windows along a side of a lazy scene that statistics look at."""

_NOWHERE = Window.of(0, 0, 0, 0)

Level = Literal["toa", "surface"]


@dataclass(frozen=True)
class Numbers:
    """The numbers of a scene, or of a part of it."""

    planes: tuple[Any, ...]
    """Arrays (bands, rows, cols) that together have all bands, in their order; of numpy or Dask."""
    mask: Any = None
    """Where pixels are valid, shape (rows, cols), bool; None: everywhere."""

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The planes and the mask."""
        return self.planes if self.mask is None else (*self.planes, self.mask)

    @property
    def lazy(self) -> bool:
        """Whether one of the arrays is computed when it is needed."""
        return any(hasattr(a, "__dask_graph__") for a in self.arrays)

    def __getitem__(self, here: tuple[slice, slice]) -> "Numbers":
        mask = None if self.mask is None else self.mask[here]
        return Numbers(tuple(p[:, *here] for p in self.planes), mask)


def computed(parts: Sequence[Numbers]) -> list[Numbers]:
    """Return numbers in memory, all of them computed together."""
    if not any(p.lazy for p in parts):
        return list(parts)
    import dask  # noqa: PLC0415 (workers have arrays in memory)

    arrays = dask.compute(*(p.arrays for p in parts))
    return [Numbers(a[: len(p.planes)], *a[len(p.planes) :]) for p, a in zip(parts, arrays, strict=True)]


@dataclass(frozen=True, repr=False)
class ArrayScene(Scene):
    """A scene whose numbers lie in arrays."""

    numbers: Numbers = Numbers(())
    held: Window = _NOWHERE
    """The part of the scene whose numbers these are."""
    stated_level: Level | None = None
    taken: Pixels | None = None
    """The pixels that statistics look at, where they were read before."""

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """No files."""
        return ()

    @property
    def level(self) -> str | None:
        """Return whether its numbers are reflectance of the atmosphere's top (`toa`) or of the `surface`."""
        return self.stated_level

    def pick(self, indexes: Sequence[int]) -> Scene:
        """Return the scene with some of its bands, by their place among all, from 0."""
        single = [p[i : i + 1] for p in self.numbers.planes for i in range(len(p))]
        numbers = replace(self.numbers, planes=tuple(single[i] for i in indexes))
        taken = None if self.taken is None else replace(self.taken, values=self.taken.values[list(indexes)])
        haze = tuple(self.haze[i] for i in indexes) if self.haze else ()
        bands = tuple(self.bands[i] for i in indexes)
        return replace(self, bands=bands, haze=haze, numbers=numbers, taken=taken)

    def holding(self, window: Window, numbers: Numbers) -> "ArrayScene":
        """Return the scene with the numbers of a part alone."""
        return replace(self, numbers=numbers, held=window)

    def without_numbers(self) -> "ArrayScene":
        """Return the scene without its numbers and what statistics look at: small, to be sent to workers."""
        return replace(self, numbers=Numbers(()), held=_NOWHERE, taken=None)

    def context(self, window: Window) -> Window:
        """Return the window of the scene that `read` needs for a window, which may reach beyond it."""
        return self._inside(window)

    def sample_windows(self) -> list[Window]:
        """Return the windows of `sample`: few of a lazy scene, whose numbers may cost much."""
        if not self.numbers.lazy:
            return super().sample_windows()
        rows, cols = (spread(Span(0, n), LAZY_SAMPLES) for n in self.shape)
        return [Window(r, c) for r in rows for c in cols]

    def valid_sample(self, read: Reader | None = None) -> Pixels:
        """Read pixels for statistics; of a lazy scene no more than the sample."""
        if self.taken is not None:
            return self.taken
        return sample((self,)) if self.numbers.lazy else super().valid_sample(read)

    def _read_inside(self, window: Window, out: NDArray[Any]) -> NDArray[Any]:
        (numbers,) = computed([self.numbers[window.relative_to(self.held)]])
        seen = np.ones(window.shape, np.bool_) if numbers.mask is None else np.asarray(numbers.mask)
        first = 0
        for plane in numbers.planes:
            bands = slice(first, first + len(plane))
            known = valid_numbers(plane, [b.invalid for b in self.bands[bands]], None)
            seen = seen if known is None else seen & known
            out[bands], first = plane, bands.stop
        return seen

    def _reduced(self, longest: int) -> Scene | None:  # noqa: ARG002 (arrays have no overviews)
        return None


def sample(dates: Sequence[ArrayScene], origin: Scene | None = None, read: Reader | None = None) -> Pixels:
    """Read the sample of scenes of several dates, shape (bands, 1, pixels): each window of another date.

    Of an `origin`, the only date, it is read without the arrays, by `read`, which by default is its method.
    """
    windows = dates[0].sample_windows()
    if origin is not None:
        return Pixels.pooled([origin.read(w) if read is None else read(origin, w) for w in windows])
    last = len(dates) - 1
    chosen = [dates[round(i * last / max(1, len(windows) - 1))] for i in range(len(windows))]
    parts = computed([s.numbers[w.relative_to(s.held)] for s, w in zip(chosen, windows, strict=True)])
    loaded = [s.holding(w, n) for s, w, n in zip(chosen, windows, parts, strict=True)]
    return Pixels.pooled([s.read(w) for s, w in zip(loaded, windows, strict=True)])


def array_header(name: str, geobox: GeoBox, bands: Sequence[tuple[str, np.dtype[Any]]]) -> SourceFile:
    """Return the header that a file of these bands would have: name and data type of each."""
    none = (None,) * len(bands)
    return SourceFile(
        geobox=geobox,
        dtypes=tuple(_numbers_of(dtype).name for _, dtype in bands),
        names=tuple(n for n, _ in bands),
        scales=(1.0,) * len(bands),
        offsets=(0.0,) * len(bands),
        nodata=none,
        masks=(0,) * len(bands),
        alpha=(),
        palettes=(),
        version=FileVersion(name, 0, ""),
    )


def _numbers_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a data type in the byte order of this machine, and half precision as single precision."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")
