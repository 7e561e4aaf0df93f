"""``flowrs update``: other values for some variables of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flowrs import checkpoint
from flowrs.cli import output
from flowrs.errors import ArgumentError, CheckpointError
from flowrs.formats import Tensor, open_tensors
from flowrs.formats.conversion import values_for_checkpoint

_DESCRIPTION = """\
Gives variables of CHECKPOINT the values that they have in SOURCE, and adds those that it lacks;
or fills variables with a number. All of it happens in one step or not at all, and the variables
that stay as they are are not written again.
"""

_EXAMPLES = """\
  flowrs update mlp_models_1 other_models_1                  all variables of another checkpoint
  flowrs update mlp_models_1 w.safetensors dense1-weight     one, from a file
  flowrs update mlp_models_1 --fill System-Train-TrainStep-train_job=0
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "update",
        "CHECKPOINT [SOURCE [NAME ...]] [--fill NAME=NUMBER] [--json]",
        _DESCRIPTION,
        _EXAMPLES,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what to change")
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="a checkpoint or file")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="variables of SOURCE; all of them by default"
    )
    parser.add_argument(
        "--fill",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="make all elements of a variable this number; may be given again",
    )
    parsed = parser.parse_intermixed_args(words)
    if parsed.source is None and not parsed.fill:
        parser.error("nothing to do: give SOURCE or --fill")
    present = {tensor.name: tensor for tensor in open_tensors(parsed.checkpoint).tensors}
    values: dict[str, checkpoint.Value] = {}
    if parsed.source is not None:
        chosen = output.choose(open_tensors(parsed.source), parsed.names)
        values.update(values_for_checkpoint(chosen))
    for rule in parsed.fill:
        name, _, number = rule.rpartition("=")
        values[name] = _filled(parsed.checkpoint, present, name, number)
    checkpoint.update(parsed.checkpoint, values)
    added = sorted(set(values) - set(present))
    changed = sorted(set(values) & set(present))
    if parsed.json:
        output.print_json({"path": parsed.checkpoint, "changed": changed, "added": added})
    else:
        for word, names in (("changed", changed), ("added", added)):
            if names:
                print(f"{word} {len(names):,}: {output.some_names(names)}")
    return 0


def _filled(
    path: str, present: dict[str, Tensor], name: str, text: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    tensor = present.get(name)
    if tensor is None or tensor.type.kind is None:
        raise ArgumentError(
            f"--fill {name}={text}: {path} has no variable {name!r:.80} of a known type"
        )
    dtype = tensor.type.stored
    try:
        number = dtype.type(int(text) if dtype.kind in "iu" else float(text))
    except (ValueError, OverflowError):
        raise ArgumentError(
            f"--fill {name}={text}: {text!r:.40} is no number of the type {tensor.type.name}"
        ) from None
    if tensor.type.name in ("bfloat16", "bool"):
        raise CheckpointError(f"--fill {name}={text}: {tensor.type.name} cannot be filled")
    return np.broadcast_to(np.array(number, dtype), tensor.shape)
