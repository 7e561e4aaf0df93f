"""``flowrs prune``: removes the checkpoints of a run that nothing asks to keep."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from flowrs._terminal import printable, table
from flowrs.checkpoint import CheckpointManager
from flowrs.cli import output
from flowrs.errors import ArgumentError

_DESCRIPTION = """\
Removes checkpoints of FOLDER that flow.checkpoint.CheckpointManager has saved, except those that
an option asks to keep. The newest one is always kept, and so is everything that the manager has
not saved itself, and any checkpoint with files of somebody else in it.
"""

_EXAMPLES = """\
  flowrs prune runs --keep-last 3 --dry-run
  flowrs prune runs --keep-last 3 --keep-best loss:min --keep-every 1000
  flowrs prune runs --keep-best accuracy:max:5       the five best
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "prune",
        "FOLDER [--keep-last N] [--keep-best METRIC:MODE]\n"
        "                    [--keep-every N] [--prefix TEXT] [--dry-run] [--json]",
        _DESCRIPTION,
        _EXAMPLES,
    )
    parser.add_argument("folder", metavar="FOLDER", help="where the manager saves")
    parser.add_argument("--keep-last", type=int, metavar="N", help="keep the newest N")
    parser.add_argument(
        "--keep-best",
        type=_best,
        metavar="METRIC:MODE",
        help="keep the best by a metric; MODE is min or max, and :N keeps the best N",
    )
    parser.add_argument("--keep-every", type=int, metavar="N", help="keep the multiples of N steps")
    parser.add_argument(
        "--prefix", default="step_", metavar="TEXT", help="what names begin with (default: step_)"
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, only tell")
    parsed = parser.parse_intermixed_args(words)
    if parsed.keep_last is None and parsed.keep_best is None and parsed.keep_every is None:
        parser.error("say what to keep: --keep-last, --keep-best or --keep-every")
    if not os.path.isdir(parsed.folder):
        raise ArgumentError(f"{parsed.folder} is no folder")
    manager = CheckpointManager(
        parsed.folder,
        keep_last=parsed.keep_last,
        keep_best=parsed.keep_best,
        keep_every=parsed.keep_every,
        prefix=parsed.prefix,
    )
    before = manager.list()
    gone = {saved.path for saved in manager.prune(dry_run=parsed.dry_run)}
    if parsed.json:
        output.print_json(
            {
                "folder": parsed.folder,
                "dry_run": parsed.dry_run,
                "removed": [saved.step for saved in before if saved.path in gone],
                "kept": [saved.step for saved in before if saved.path not in gone],
            }
        )
        return 0
    if not before:
        print(f"no checkpoint of a manager with the prefix {parsed.prefix} in {parsed.folder}")
        return 0
    word = "would remove" if parsed.dry_run else "removed"
    metrics = list(dict.fromkeys(metric for saved in before for metric in saved.metrics))
    rows: list[list[Any]] = [
        [
            os.path.basename(saved.path),
            f"{saved.step:,}",
            *(output.number_text(saved.metrics.get(metric)) for metric in metrics),
            word if saved.path in gone else "kept",
        ]
        for saved in before
    ]
    header = ["checkpoint", "step", *map(printable, metrics), "verdict"]
    print(table(rows, header, "lr" + "r" * len(metrics) + "l"))
    print(f"\n{word} {len(gone):,} of {output.count_text(len(before), 'checkpoint')}")
    return 0


def _best(text: str) -> tuple[str, str] | tuple[str, str, int]:
    """``METRIC:MODE`` or ``METRIC:MODE:COUNT``; a metric may have colons in its name."""
    parts = text.split(":")
    if len(parts) > 2 and parts[-1].isdecimal():
        return ":".join(parts[:-2]), parts[-2], int(parts[-1])
    if len(parts) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form METRIC:MODE")
    return ":".join(parts[:-1]), parts[-1]
