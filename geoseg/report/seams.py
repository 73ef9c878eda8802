"""The seam check: whether classes change more often on the lines where tiles meet than beside them."""

from dataclasses import dataclass

from geoseg.report.survey import Changes

REACH = 32
"""Number of lines on each side of a seam that the seam is compared with."""

_NEAR = 1
"""Lines this close to a seam do not count as beside it: blending may reach there."""

_ENOUGH = 50
"""Fewest changes expected on the seams for which their rate is meaningful."""


@dataclass(frozen=True)
class SeamCheck:
    """The rate of class changes on seams and beside them."""

    lines: int
    """Number of seams."""
    changes: int
    """Number of class changes on the seams."""
    pairs: int
    """Pairs of neighbouring pixels that lie on either side of a seam."""
    beside: float
    """Rate of changes on the lines beside the seams, 0 to 1."""
    profile: tuple[tuple[int, float], ...]
    """Distance to the seam in pixels (negative: north or west of it) and the rate there."""

    @property
    def rate(self) -> float:
        """Rate of changes on the seams, 0 to 1."""
        return self.changes / self.pairs

    @property
    def index(self) -> float | None:
        """The seam index: the rate on the seams over that beside them; None with too few changes."""
        return self.rate / self.beside if self.beside * self.pairs >= _ENOUGH else None

    @property
    def higher(self) -> int:
        """Distances beside the seams at which classes change at least as often as on them."""
        return sum(rate >= self.rate for at, rate in self.profile if at)

    @property
    def shows(self) -> bool:
        """Whether seams show: their rate exceeds that at every distance, and 1.1 times the rate beside."""
        return self.index is not None and self.index >= 1.1 and self.higher == 0


def check_seams(
    axes: tuple[tuple[Changes, tuple[int, ...]], tuple[Changes, tuple[int, ...]]],
) -> SeamCheck | None:
    """Compare the lines where tiles begin, end and meet with the lines beside them.

    Parameters
    ----------
    axes
        For rows and for columns, the changes and the seams: line i lies between pixels i - 1 and i.

    Returns
    -------
    SeamCheck | None
        None when there are no seams, or no pixels on both sides of one.
    """
    sums = {at: [0, 0] for at in range(-REACH, REACH + 1)}
    beside = [0, 0]
    for found, seams in axes:
        close = {s + d for s in seams for d in range(-_NEAR, _NEAR + 1)}
        for at, total in sums.items():
            for line in (s + at for s in seams):
                if not 0 < line < len(found.pairs) or (at and line in seams):
                    continue
                here = int(found.changes[line]), int(found.pairs[line])
                for into in (total, beside) if line not in close else (total,):
                    into[0] += here[0]
                    into[1] += here[1]
    changes, pairs = sums[0]
    if not pairs or not beside[1]:
        return None
    profile = tuple((at, c / n) for at, (c, n) in sums.items() if n)
    return SeamCheck(sum(len(s) for _, s in axes), changes, pairs, beside[0] / beside[1], profile)
