"""How fast a run is, worker by worker, from what the tasks tell."""

from dataclasses import dataclass, field

from geoseg.inference.events import Fact


@dataclass
class _Worker:
    since: float
    pixels: int = 0
    busy: float = 0.0
    """Seconds in which at least one forward pass ran."""
    until: float = 0.0
    """End of the last of them."""


@dataclass
class Pace:
    """Adds up the facts of a run."""

    workers: dict[str, _Worker] = field(default_factory=dict)
    now: float = 0.0

    def add(self, fact: Fact) -> None:
        """Take a fact into account."""
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
        """Return pixels per second of the workers together and of each, and how busy their devices are."""
        lives = {a: self.now - w.since for a, w in self.workers.items() if self.now > w.since}
        rates = [self.workers[a].pixels / s / 1e6 for a, s in lives.items()]
        if not any(rates):
            return ""
        busy = sum(min(1.0, self.workers[a].busy / s) for a, s in lives.items()) / len(lives)
        each = f" ({len(rates)} workers: {min(rates):.2f} to {max(rates):.2f})" if len(rates) > 1 else ""
        return f"{sum(rates):.2f} Mpx/s{each}, device {busy:.0%} busy"
