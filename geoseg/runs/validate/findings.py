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
    more: int = 0
    """Failures beyond those that are listed."""

    def to_text(self) -> str:
        """Return a line for the group, and below it one for each failure."""
        lines = [f"{self.name:<10}{'failed' if self.failures else 'ok':<8}{self.looked_at}"]
        lines += [f"{'':<10}{failure}" for failure in self.failures]
        if self.more:
            lines.append(f"{'':<10}and {self.more} more like these")
        return "\n".join(lines)


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
        """Return each group with its failures below it; then how many there are, of how many files."""
        texts = [group.to_text() for group in self.groups]
        if self.failures:
            messages = sum(len(g.failures) + g.more for g in self.groups)
            files = len({f.file for f in self.failures})
            texts.append(f"{_count(messages, 'message')} about {_count(files, 'file')} of {self.run}")
        return "\n".join(texts)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
