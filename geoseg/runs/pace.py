"""How far a run has come and how long it still takes, from its events and the clock.

A run predicts blocks, then makes outputs. What is left of blocks follows from the pace of those that were
done; what is left of outputs from the time that each usually takes, corrected by that of the first ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from geoseg.core.text import counted
from geoseg.runs.progress import ENDED, Progress, Throughput, Work

_OUTPUTS = 0.25
"""Share of outputs in the work of a scene, of many scenes."""
_EXACT = 1.0
"""Seconds that a step may take longer than was thought before no end is said."""
_TELLING = 0.02
"""Share of the work of many scenes from which on the time that is left is said."""


@dataclass(frozen=True)
class View:
    """What is shown of a run at one moment."""

    what: str
    """What is being done: `predict 3 of 4 blocks`, `polygons 2 of 5 formats`."""
    share: float
    """Share of the time of the whole run that is over, 0 to 1; it never falls."""
    elapsed: float
    """Seconds since the beginning."""
    left: float | None
    """Seconds to the end, about; None while nothing tells them."""
    rate: str
    """Pixels per second while blocks are predicted, or what the run waits for."""

    @property
    def times(self) -> str:
        """Elapsed and remaining time: `1:05, 0:40 left`."""
        return clock_time(self.elapsed) + ("" if self.left is None else f", {clock_time(self.left)} left")


def clock_time(seconds: float) -> str:
    """Return a duration as `0:07`, `12:30` or `3:02:15`.

    Examples
    --------
    >>> clock_time(750)
    '12:30'
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


@dataclass
class _Scene:
    """The blocks and outputs of one scene."""

    since: float
    """When its first block was told."""
    first: int
    """Blocks that were staged then."""
    done: int = 0
    total: int = 0
    block_at: float = 0.0
    """When the last block was done."""
    work: Work = field(default_factory=Work)
    work_at: float = 0.0
    """When the outputs came to where they are."""
    outputs_since: float | None = None

    def predict_left(self, now: float) -> float | None:
        """Return the seconds that the remaining blocks take."""
        if self.done >= self.total:
            return 0.0
        if self.done == self.first:
            return None
        pace = (self.block_at - self.since) / (self.done - self.first)
        # The blocks under way are partly done, but one that takes longer than the others makes all later.
        left = self.total - self.done
        return max(pace * left - (now - self.block_at), pace * (left - 1))

    def outputs_left(self, now: float) -> float | None:
        """Return the seconds that the remaining outputs take; None when one takes longer than was thought."""
        work, slower = self.work, 1.0
        if self.outputs_since is None:
            return work.total
        if work.done > 0.1 * work.total:
            slower = (self.work_at - self.outputs_since) / work.done
        left = slower * (work.total - work.done) - (now - self.work_at)
        # What comes after the step under way; the clock of a quick step is no exact one.
        least = slower * (work.total - work.done - work.current)
        return max(left, least) if left >= least - _EXACT else None

    def share(self) -> float:
        """Return the share of the work that is done, roughly."""
        blocks = self.done / self.total if self.total else 0.0
        outputs = self.work.done / self.work.total if self.work.total and self.outputs_since else 0.0
        return (1 - _OUTPUTS) * blocks + _OUTPUTS * outputs


class Pace:
    """Follows the events of a run.

    Parameters
    ----------
    scenes
        Scenes of the run.
    clock
        Returns the time in seconds.
    """

    def __init__(self, scenes: int = 1, clock: Callable[[], float] = monotonic) -> None:
        self.clock, self.start, self.count = clock, clock(), scenes
        self.throughput, self.lock = Throughput(), Lock()
        self.scenes: dict[str, _Scene] = {}
        self.ended = 0
        self.what, self.waits, self.highest = "starting", False, 0.0

    def add(self, event: Progress) -> None:
        """Take in an event, of whichever thread."""
        with self.lock:
            self._add(event)

    def _add(self, event: Progress) -> None:
        now = self.clock()
        self.throughput.add(event.fact or {})
        if event.stage == ENDED:
            self.scenes.pop(event.name, None)
            if event.done:
                self.ended += 1
            else:  # it took no time, and tells nothing of the others
                self.count -= 1
            return
        self.waits = event.waiting
        self._name(event)
        if event.total:
            scene = self.scenes.setdefault(event.name, _Scene(now, event.done))
            if event.done != scene.done:
                scene.block_at = now
            scene.done, scene.total = event.done, event.total
            scene.work = event.work or scene.work
        elif event.work is not None:
            scene = self.scenes.setdefault(event.name, _Scene(now, 0))
            scene.outputs_since = now if scene.outputs_since is None else scene.outputs_since
            scene.work, scene.work_at = event.work, now

    def _name(self, event: Progress) -> None:
        text = event.text or event.stage
        self.what = f"{text} {event.done} of {counted(event.total, 'block')}" if event.total else text
        if self.count > 1 and event.name:
            self.what = f"{event.name}: {self.what}"

    def view(self) -> View:
        """Return what is to be shown now."""
        with self.lock:
            return self._view()

    def _view(self) -> View:
        now = self.clock()
        elapsed = now - self.start
        left = self._left_of_many(elapsed) if self.count > 1 else self._left_of_one(now)
        share = 0.0 if left is None else elapsed / max(elapsed + left, 1e-9)
        self.highest = max(self.highest, share)
        what = self.what
        if self.count > 1:
            what = f"scene {min(self.ended + 1, self.count)} of {self.count}, {what}"
        return View(what, self.highest, elapsed, left, self._rate())

    def _left_of_one(self, now: float) -> float | None:
        if not self.scenes:
            return 0.0 if self.ended else None
        (scene, *_) = self.scenes.values()
        blocks, outputs = scene.predict_left(now), scene.outputs_left(now)
        return None if blocks is None or outputs is None else blocks + outputs

    def _left_of_many(self, elapsed: float) -> float | None:
        share = (self.ended + sum(s.share() for s in self.scenes.values())) / self.count
        return None if share < _TELLING else elapsed * (1 - share) / share

    def _rate(self) -> str:
        if self.waits:
            return "waiting: no worker is there"
        predicting = any(s.outputs_since is None and s.done < s.total for s in self.scenes.values())
        return self.throughput.text() if predicting else ""
