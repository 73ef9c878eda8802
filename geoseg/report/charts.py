"""Layout of charts: positions of lines, ticks and marks, which the templates turn into SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.ticker import LogLocator, MaxNLocator

LEFT, TOP, RIGHT, BOTTOM = 58.0, 12.0, 14.0, 42.0
"""Margins around the plot, in drawing units: room for tick and axis labels."""

DOTS = 40
"""A series of at most this many values shows a dot for each value."""

LOGARITHMIC = 30.0
"""A positive series whose largest value is this many times its smallest gets a logarithmic axis."""

_Axis = tuple[Callable[[float], float], tuple["Tick", ...]]


@dataclass(frozen=True)
class Series:
    """Measured values over steps."""

    label: str
    """Name in the legend of the chart."""
    style: str
    """CSS class: `train`, `val`, `before` or `after`."""
    points: tuple[tuple[float, float], ...]
    """Step and value. A value that is not finite leaves a gap."""


@dataclass(frozen=True)
class Tick:
    """One tick of an axis."""

    at: float
    """Position along the axis, in drawing units."""
    label: str
    """The number at the tick."""


@dataclass(frozen=True)
class ChartLine:
    """One series on the drawing."""

    label: str
    style: str
    path: str
    """The `d` attribute of an SVG path; a lone value is a segment of length 0: a dot, with round caps."""
    dots: tuple[tuple[float, float, str], ...]
    """x, y and tooltip of each value, for series that are short enough."""


@dataclass(frozen=True)
class Chart:
    """A chart in drawing units; y points downwards."""

    width: float
    height: float
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    lines: tuple[ChartLine, ...] = ()
    mark: tuple[float, float, str] | None = None
    """x, y and label of a highlighted point."""
    diagonal: str = ""
    """SVG path of a reference line, or empty."""
    bars: tuple[tuple[float, float, float, float], ...] = ()
    """x, y, width and height of each bar."""
    picture: tuple[str, float, float, float, float] | None = None
    """A picture behind the lines: its data URI, x, y, width and height."""

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plot."""
        return LEFT, TOP, self.width - RIGHT, self.height - BOTTOM


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    size: tuple[float, float],
    share: bool = False,
    best: tuple[float, float, str] | None = None,
) -> Chart | None:
    """Lay out lines over steps.

    Parameters
    ----------
    series
        In drawing order: the last one lies on top.
    x_label, y_label
        Titles of the axes, with the unit.
    size
        Width and height in drawing units.
    share
        Whether the values are shares: the axis then begins at 0 and is never logarithmic.
    best
        Step, value and label of a point to highlight.

    Returns
    -------
    Chart | None
        None when no value is finite.
    """
    values = [y for s in series for x, y in s.points if math.isfinite(x) and math.isfinite(y)]
    steps = [x for s in series for x, y in s.points if math.isfinite(x) and math.isfinite(y)]
    if not values:
        return None
    width, height = size
    low, high = min(values), max(values)
    logarithmic = not share and low > 0 and high / low >= LOGARITHMIC
    bottom, top = height - BOTTOM, TOP
    place_y, y_ticks = (
        _log_axis(low, high, bottom, top) if logarithmic else _axis(min(0.0, low), high, bottom, top)
    )
    place_x, x_ticks = _steps_axis(min(steps), max(steps), LEFT, width - RIGHT)
    return Chart(
        width,
        height,
        x_label,
        # Without a name the ticks say it: a small chart has no room.
        f"{y_label} (logarithmic)" if logarithmic and y_label else y_label,
        x_ticks,
        y_ticks,
        tuple(_line(s, place_x, place_y, f"{x_label} ") for s in series),
        (place_x(best[0]), place_y(best[1]), best[2]) if best else None,
    )


def reliability_chart(
    series: Sequence[Series],
    counts: Sequence[tuple[float, int]],
    size: tuple[float, float] = (400.0, 380.0),
) -> Chart | None:
    """Lay out a reliability diagram after Niculescu-Mizil and Caruana (2005): accuracy over confidence.

    Parameters
    ----------
    series
        Mean confidence and accuracy of each bin, both 0 to 1.
    counts
        Mean confidence and number of pixels of each bin, drawn as bars along the bottom.
    size
        Width and height.

    Returns
    -------
    Chart | None
        None when no bin holds a pixel.
    """
    width, height = size
    place_x, x_ticks = _axis(0.0, 1.0, LEFT, width - RIGHT)
    place_y, y_ticks = _axis(0.0, 1.0, height - BOTTOM, TOP)
    lines = tuple(_line(s, place_x, place_y, "confidence ") for s in series)
    if not any(line.path for line in lines):
        return None
    most = max((n for _, n in counts), default=0)
    bars = tuple(
        (place_x(x) - 6, place_y(0.25 * n / most), 12.0, place_y(0) - place_y(0.25 * n / most))
        for x, n in counts
        if n and math.isfinite(x)
    )
    diagonal = f"M{place_x(0):.1f} {place_y(0):.1f}L{place_x(1):.1f} {place_y(1):.1f}"
    return Chart(width, height, "mean confidence", "accuracy", x_ticks, y_ticks, lines, None, diagonal, bars)


def recall_chart(
    points: Sequence[tuple[float, float]], mark: tuple[float, float, str] | None
) -> Chart | None:
    """Lay out precision over recall.

    Parameters
    ----------
    points
        Recall and precision, both 0 to 1, by rising recall.
    mark
        Recall, precision and label of a point to highlight.

    Returns
    -------
    Chart | None
        None without points.
    """
    if not points:
        return None
    width, height = 400.0, 380.0
    place_x, x_ticks = _axis(0.0, 1.0, LEFT, width - RIGHT)
    place_y, y_ticks = _axis(0.0, 1.0, height - BOTTOM, TOP)
    line = _line(Series("Objects", "val", tuple(points)), place_x, place_y, "recall ")
    at = None if mark is None else (place_x(mark[0]), place_y(mark[1]), mark[2])
    return Chart(width, height, "recall", "precision", x_ticks, y_ticks, (line,), at)


def picture_chart(uri: str, limits: tuple[float, float], *, x_label: str, y_label: str) -> Chart:
    """Lay out a square picture of two quantities with the same range, and the line where they are equal.

    Parameters
    ----------
    uri
        The picture as a data URI; its corners are at the limits.
    limits
        Range of both axes.
    x_label, y_label
        Titles of the axes.
    """
    width, height = 400.0, 382.0
    left, right, bottom = LEFT, width - RIGHT, height - BOTTOM
    place_x, place_y = _linear(*limits, left, right), _linear(*limits, bottom, TOP)
    ticks = [float(v) for v in MaxNLocator(5).tick_values(*limits) if limits[0] <= v <= limits[1]]
    diagonal = f"M{left:.1f} {bottom:.1f}L{right:.1f} {TOP:.1f}"
    return Chart(
        width, height, x_label, y_label, tuple(Tick(place_x(v), f"{v:g}") for v in ticks),
        tuple(Tick(place_y(v), f"{v:g}") for v in ticks), diagonal=diagonal,
        picture=(uri, left, TOP, right - left, bottom - TOP),
    )  # fmt: skip


def histogram_chart(counts: Sequence[int], edges: Sequence[float], *, x_label: str, y_label: str) -> Chart:
    """Lay out a histogram.

    Parameters
    ----------
    counts
        Things in each bin.
    edges
        Where bins begin, and where the last one ends.
    x_label, y_label
        Titles of the axes; bars are in per cent of all things.
    """
    width, height = 430.0, 290.0
    shares = [100 * n / max(1, sum(counts)) for n in counts]
    place_x = _linear(edges[0], edges[-1], LEFT, width - RIGHT)
    place_y, y_ticks = _axis(0.0, max(shares, default=1.0), height - BOTTOM, TOP)
    ticks = [v for v in MaxNLocator(6).tick_values(edges[0], edges[-1]) if edges[0] <= v <= edges[-1]]
    bars = tuple(
        (
            place_x(a) + 0.5,
            place_y(s),
            round(max(0.5, place_x(b) - place_x(a) - 1), 2),
            place_y(0) - place_y(s),
        )
        for a, b, s in zip(edges, edges[1:], shares, strict=False)
        if s
    )
    x_ticks = tuple(Tick(place_x(float(v)), f"{v:g}") for v in ticks)
    return Chart(width, height, x_label, y_label, x_ticks, y_ticks, bars=bars)


def sparkline(points: Sequence[tuple[float, float]], size: tuple[float, float] = (96.0, 22.0)) -> str:
    """Return the SVG path of shares between 0 and 1 over steps, for a drawing without axes."""
    steps = [x for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not steps:
        return ""
    place_x = _linear(min(steps), max(steps), 2.0, size[0] - 2)
    return _path(points, place_x, _linear(0.0, 1.0, size[1] - 2, 2.0))


def _linear(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    if high <= low:
        return lambda _: (start + stop) / 2
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def _axis(low: float, high: float, start: float, stop: float) -> _Axis:
    """Return the scale of an axis that begins and ends with a tick, and its ticks."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    values = [float(v) for v in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    place = _linear(values[0], values[-1], start, stop)
    # The locator's values carry rounding errors: what is tiny beside the step is zero.
    step = values[1] - values[0]
    return place, tuple(Tick(place(v), f"{0.0 if abs(v) < step / 2 else v:g}") for v in values)


def _log_axis(low: float, high: float, start: float, stop: float) -> _Axis:
    ends = math.floor(math.log10(low)), math.ceil(math.log10(high))
    scale = _linear(float(ends[0]), float(ends[1]), start, stop)
    values = [float(v) for v in LogLocator(numticks=6).tick_values(10.0 ** ends[0], 10.0 ** ends[1])]
    ticks = tuple(
        Tick(scale(math.log10(v)), f"{v:g}") for v in values if ends[0] <= round(math.log10(v), 6) <= ends[1]
    )
    return lambda value: scale(math.log10(value)), ticks


def _steps_axis(low: float, high: float, start: float, stop: float) -> _Axis:
    """Return the scale of an axis of whole steps that ends with the data, and its ticks."""
    place = _linear(low, high, start, stop)
    values = MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(low, high)
    return place, tuple(Tick(place(float(v)), f"{v:g}") for v in values if low <= v <= high)


def _line(
    series: Series, place_x: Callable[[float], float], place_y: Callable[[float], float], step: str
) -> ChartLine:
    seen = [(x, y) for x, y in series.points if math.isfinite(x) and math.isfinite(y)]
    dots = (
        tuple((place_x(x), place_y(y), f"{series.label}, {step}{x:.4g}: {y:.4g}") for x, y in seen)
        if len(seen) <= DOTS
        else ()
    )
    return ChartLine(series.label, series.style, _path(series.points, place_x, place_y), dots)


def _path(
    points: Sequence[tuple[float, float]],
    place_x: Callable[[float], float],
    place_y: Callable[[float], float],
) -> str:
    """Return the SVG path through the points, with gaps at missing values and a dot for a lone value."""
    parts: list[str] = []
    drawing = False
    for x, y in sorted(points, key=lambda p: p[0]):
        if not (math.isfinite(x) and math.isfinite(y)):
            drawing = False
            continue
        at = f"{place_x(x):.1f} {place_y(y):.1f}"
        parts.append(f"L{at}" if drawing else f"M{at}h0")
        drawing = True
    return "".join(parts)
