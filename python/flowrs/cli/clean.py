"""``flowrs clean``: removes what interrupted saves left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowrs import _leftovers
from flowrs._leftovers import Leftover
from flowrs._terminal import format_bytes, printable, table
from flowrs.cli import output
from flowrs.errors import CheckpointError

_DESCRIPTION = """\
Removes what interrupted saves, conversions and removals left in FOLDER: hidden files and
directories called .NAME.tmp-PROCESS-NUMBER or .NAME.removed-PROCESS-NUMBER. One is kept, and the
reason told, when its process is running, when it was written to within the last minute, when it
holds anything that no save writes, or when it is a whole checkpoint that was to replace another
of which nothing is there. Nothing else is touched.
"""

_EXAMPLES = """\
  flowrs clean                       the working folder
  flowrs clean snapshots --dry-run   only say what would be removed
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser("clean", "[FOLDER] [--dry-run] [--json]", _DESCRIPTION, _EXAMPLES)
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", default=".", help="where checkpoints are saved"
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, only tell")
    parsed = parser.parse_intermixed_args(words)
    found = _leftovers.find(Path(parsed.folder))
    told = [(one, _settle(one, parsed.dry_run)) for one in found]
    if parsed.json:
        output.print_json(
            {
                "folder": parsed.folder,
                "dry_run": parsed.dry_run,
                "leftovers": [
                    {
                        "name": one.path.name,
                        "size_in_bytes": one.size_in_bytes,
                        "removed": problem is None and not parsed.dry_run,
                        "reason": problem,
                    }
                    for one, problem in told
                ],
            }
        )
    else:
        _print(parsed.folder, told, "would remove" if parsed.dry_run else "removed")
    return 0 if all(problem == one.reason for one, problem in told) else 1


def _settle(one: Leftover, dry_run: bool) -> str | None:
    """Removes one that may be; returns why it is still there, if it is."""
    if one.reason is None and not dry_run:
        try:
            _leftovers.remove(one.path)
        except CheckpointError as error:
            return str(error)
    return one.reason


def _print(folder: str, told: list[tuple[Leftover, str | None]], removed: str) -> None:
    if not told:
        print(f"nothing to remove in {folder}")
        return
    rows = [
        [
            printable(one.path.name),
            format_bytes(one.size_in_bytes),
            removed if problem is None else f"kept: it {problem}",
        ]
        for one, problem in told
    ]
    print(table(rows, align="lr"))
    gone = [one for one, problem in told if problem is None]
    size = format_bytes(sum(one.size_in_bytes for one in gone))
    print(f"\n{removed} {len(gone):,} of {len(told):,}, {size}")
