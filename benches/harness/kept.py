"""Runs that are kept: all numbers as JSON, from which reports can be made again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from harness.measure import Outcome


class KeptError(ValueError):
    """A file does not hold a run, or one of other cases than those that there are."""


@dataclass
class Run:
    """What was measured by one command.

    Attributes:
        facts: what a reader must know of the machine and the libraries.
    """

    command: str
    facts: dict[str, str]
    outcomes: list[Outcome] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Writes the run; what the file held before stays until all is written."""
        content = {
            "command": self.command,
            "facts": self.facts,
            "cases": [outcome.as_json() for outcome in self.outcomes],
        }
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(content, indent=1) + "\n")
        unfinished.replace(path)


def load(path: Path) -> Run:
    """Reads a run.

    Raises:
        KeptError: the file is not one of :meth:`Run.save`, or a case has changed since.
    """
    try:
        content = json.loads(path.read_text())
        outcomes = [Outcome.from_json(table) for table in content["cases"]]
        return Run(content["command"], content["facts"], outcomes)
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise KeptError(f"{path}: {type(error).__name__}: {error}") from error


def merged(runs: list[Run]) -> Run:
    """One run of all cases; of a case that is in several, the numbers of the last one count."""
    outcomes = {outcome.case.name: outcome for run in runs for outcome in run.outcomes}
    command = "` and `".join(dict.fromkeys(run.command for run in runs))
    # What the last run did not need, the others may have.
    versions = [run.facts["versions"].split(", ") for run in runs if run.facts.get("versions")]
    by_name = {one.split(" ")[0]: one for run in versions for one in run}
    facts = {"versions": ", ".join(by_name[name] for name in sorted(by_name))} if by_name else {}
    return Run(command, runs[-1].facts | facts, list(outcomes.values()))
