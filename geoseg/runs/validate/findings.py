"""Results of checks."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """One difference between a run folder and its promises."""

    file: str
    """Name in the run folder."""
    what: str
    """The property that was checked."""
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the failure on one line."""
        return f"{self.file}: {self.what}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class CheckGroup:
    """A group of checks and their failures."""

    name: str
    looked_at: str
    """The files and properties that were checked, in words."""
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Report:
    """All checks of a run folder."""

    run: str
    """The folder or URI."""
    groups: tuple[CheckGroup, ...]

    @property
    def failures(self) -> list[Failure]:
        """All failures."""
        return [f for group in self.groups for f in group.failures]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        groups = [{**asdict(g), "valid": not g.failures} for g in self.groups]
        return {"run": self.run, "valid": not self.failures, "groups": groups}

    def to_text(self) -> str:
        """Return one line for each group, then one for each failure."""
        lines = []
        for group in self.groups:
            state = f"{len(group.failures)} failed" if group.failures else "ok"
            lines.append(f"{group.name:<10}{state:<11}{group.looked_at}")
        return "\n".join([*lines, *(f"  {failure}" for failure in self.failures)])
