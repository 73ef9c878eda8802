"""Progress of a run: its event, and the throughput."""

from dataclasses import dataclass, field

from geoseg.inference.events import Fact

PREDICT = "predict"
"""The stage in which blocks are predicted."""
ENDED = "ended"
"""The stage of a scene that is done, failed or was left out."""


@dataclass(frozen=True)
class Work:
    """The work of making outputs, in the seconds that it usually takes."""

    done: float = 0.0
    total: float = 0.0
    current: float = 0.0
    """Of the step under way."""


@dataclass(frozen=True)
class Progress:
    """Event: the current stage of a run and its progress."""

    stage: str
    """`predict`, `mask` while another network masks the scene, the name of the file that is being written, or
    `ended`."""
    done: int = 0
    """Finished blocks; of a scene that has ended, whether it was run."""
    total: int = 0
    """All blocks of the scene; 0 when the stage has none."""
    pixels: int = 0
    """Pixels of the scene in the block just finished."""
    name: str = ""
    """The scene."""
    fact: Fact | None = None
    """The event of a block or a worker, see `geoseg.inference.events`."""
    text: str = ""
    """What the stage is called when it is shown: `polygons 3 of 5 formats`; empty: its name."""
    part: float = 0.0
    """Share of the stage that is done, where it has no blocks, 0 to 1."""
    work: Work | None = None
    """The work of all outputs of the scene."""

    @property
    def waiting(self) -> bool:
        """Whether the run waits for workers."""
        return self.fact is not None and self.fact["event"] == "waiting"


@dataclass
class _Worker:
    since: float
    """Time of its first event, in seconds since 1970."""
    pixels: int = 0
    busy: float = 0.0
    """Seconds in which at least one forward pass ran."""
    until: float = 0.0
    """End of the last forward pass, in seconds since 1970."""


@dataclass
class Throughput:
    """Speed of a run, worker by worker, from the events of tasks."""

    workers: dict[str, _Worker] = field(default_factory=dict)
    """By address."""
    now: float = 0.0
    """Time of the latest event, in seconds since 1970."""

    def add(self, fact: Fact) -> None:
        """Add an event."""
        address = fact.get("worker")
        if address is None:
            return
        if fact.get("state") == "left":
            self.workers.pop(address, None)
            return
        self.now = max(self.now, fact["time"])
        worker = self.workers.setdefault(address, _Worker(fact["time"]))
        worker.pixels += fact.get("pixels", 0)
        forward = sorted((start, took) for what, start, took in fact.get("spans", ()) if what == "forward")
        for start, took in forward:
            worker.busy += max(0.0, start + took - max(start, worker.until))
            worker.until = max(worker.until, start + took)

    def text(self) -> str:
        """Return a line: pixels per second in all and by worker, and how busy the devices are."""
        lives = {a: self.now - w.since for a, w in self.workers.items() if self.now > w.since}
        rates = [self.workers[a].pixels / s / 1e6 for a, s in lives.items()]
        if not any(rates):
            return ""
        busy = sum(min(1.0, self.workers[a].busy / s) for a, s in lives.items()) / len(lives)
        each = f" ({len(rates)} workers: {min(rates):.2f} to {max(rates):.2f})" if len(rates) > 1 else ""
        return f"{sum(rates):.2f} Mpx/s{each}, device {busy:.0%} busy"
