"""``flowrs rename``: other names for variables of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs import checkpoint
from flowrs._terminal import printable
from flowrs.cli import output
from flowrs.errors import ArgumentError

_DESCRIPTION = """\
Gives variables of CHECKPOINT other names, all in one step or not at all. No value is copied,
however large. Two variables may exchange their names.
"""

_EXAMPLES = """\
  flowrs rename mlp_models_1 dense1-weight=hidden-weight dense1-bias=hidden-bias
  flowrs rename mlp_models_1 a=b b=a
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser("rename", "CHECKPOINT OLD=NEW ... [--json]", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what to change")
    parser.add_argument("names", metavar="OLD=NEW", nargs="+", help="a name and the one for it")
    parsed = parser.parse_intermixed_args(words)
    names: dict[str, str] = {}
    for rule in parsed.names:
        old, _, new = rule.partition("=")
        if not old or not new or old in names:
            again = "is given twice" if old in names else "is not of the form OLD=NEW"
            raise ArgumentError(f"{rule!r:.80} {again}")
        names[old] = new
    checkpoint.rename(parsed.checkpoint, names)
    if parsed.json:
        output.print_json({"path": parsed.checkpoint, "renamed": names})
    else:
        for old, new in names.items():
            print(f"{printable(old)} -> {printable(new)}")
    return 0
