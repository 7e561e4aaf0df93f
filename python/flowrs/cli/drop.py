"""``flowrs drop``: a checkpoint without some of its variables."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs import checkpoint
from flowrs._terminal import format_bytes, printable
from flowrs.cli import output
from flowrs.formats import open_tensors

_DESCRIPTION = """\
Removes variables from CHECKPOINT, all in one step or not at all. The others are not copied. This
cannot be undone: --dry-run tells what would go.
"""

_EXAMPLES = """\
  flowrs drop mlp_models_1 dense3-weight dense3-bias
  flowrs drop mlp_models_1 '*-momentum' --dry-run
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "drop", "CHECKPOINT NAME ... [--dry-run] [--json]", _DESCRIPTION, _EXAMPLES
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what to change")
    parser.add_argument(
        "names", metavar="NAME", nargs="+", help="a variable's name, or a pattern such as '*-m'"
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, only tell")
    parsed = parser.parse_intermixed_args(words)
    chosen = output.choose(open_tensors(parsed.checkpoint), parsed.names)
    names = [tensor.name for tensor in chosen]
    if not parsed.dry_run:
        checkpoint.drop(parsed.checkpoint, names)
    if parsed.json:
        output.print_json({"path": parsed.checkpoint, "dropped": names, "dry_run": parsed.dry_run})
        return 0
    for name in names:
        print(printable(name))
    size = format_bytes(sum(tensor.size_in_bytes for tensor in chosen))
    done = "would drop" if parsed.dry_run else "dropped"
    print(f"{done} {output.count_text(len(names), 'variable')}, {size}")
    return 0
