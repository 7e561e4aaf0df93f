"""``flowrs diff``: how two checkpoints differ."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flowrs._terminal import format_bytes, printable, table
from flowrs.cli import output
from flowrs.formats import Tensor, TensorFile, open_tensors
from flowrs.formats.statistics import Change, compare
from flowrs.formats.tensors import UNKNOWN

_DESCRIPTION = """\
Compares two checkpoints, variable by variable: names, types, shapes, and every number. NaN is the
same as NaN. The relative change is the largest one divided by the largest magnitude in A.
"""

_EXAMPLES = """\
  flowrs diff mlp_models_1 mlp_models_2
  flowrs diff mlp_models_1 mlp_models_2 'dense*'         only some variables
  flowrs diff mlp_models_1 copy.safetensors              also .npz, and files of torch.save
  flowrs diff before after --tolerance 1e-6 && echo close enough

exit code: 0 when nothing differs, 1 when something does, 2 when there is no telling
"""


@dataclass(frozen=True)
class Difference:
    """What is different about one variable."""

    name: str
    what: str
    change: Change | None = None


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "diff", "A B [NAME ...] [--tolerance X] [--json]", _DESCRIPTION, _EXAMPLES
    )
    parser.add_argument("first", metavar="A", help="a checkpoint or file")
    parser.add_argument("second", metavar="B", help="the one to compare it with")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a variable's name, or a pattern such as 'dense*'"
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        metavar="X",
        help="changes of at most this are none (default: 0)",
    )
    parsed = parser.parse_intermixed_args(words)
    first, second = open_tensors(parsed.first), open_tensors(parsed.second)
    pairs = _pairs(first, second, parsed.names)
    total = sum(tensor.size_in_bytes for pair in pairs for tensor in pair if tensor is not None)
    with output.progress("comparing", total) as progress:
        found = [
            difference
            for one, other in pairs
            if (difference := _difference(one, other, parsed.tolerance, progress.advance))
        ]
    if parsed.json:
        output.print_json(_described(first, second, len(pairs), found))
    else:
        _print(first, pairs, found, parsed.tolerance)
    return 1 if found else 0


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no distance: give 0 or more")
    return value


def _pairs(
    first: TensorFile, second: TensorFile, patterns: Sequence[str]
) -> list[tuple[Tensor | None, Tensor | None]]:
    """The variables of both by name; a pattern may match in either."""
    both = TensorFile(f"{first.path} or {second.path}", "", [*first.tensors, *second.tensors])
    names = sorted({tensor.name for tensor in output.choose(both, patterns)})
    ones = {tensor.name: tensor for tensor in first.tensors}
    others = {tensor.name: tensor for tensor in second.tensors}
    return [(ones.get(name), others.get(name)) for name in names]


def _difference(
    one: Tensor | None, other: Tensor | None, tolerance: float, advance: Any
) -> Difference | None:
    if one is None or other is None:
        present = other if one is None else one
        assert present is not None
        return Difference(present.name, "only in B" if one is None else "only in A")
    unknown = (one.type is UNKNOWN) != (other.type is UNKNOWN)
    if one.shape != other.shape or unknown:
        shapes = f"{output.shape_text(one)} -> {output.shape_text(other)}"
        return Difference(one.name, f"shape {shapes}")
    change = compare(one, other, tolerance, advance)
    if one.type is not other.type:
        return Difference(one.name, f"type {one.type.name} -> {other.type.name}", change)
    return Difference(one.name, "values", change) if change.changed else None


def _described(
    first: TensorFile, second: TensorFile, compared: int, found: list[Difference]
) -> dict[str, Any]:
    return {
        "a": first.path,
        "b": second.path,
        "compared": compared,
        "differences": [
            {
                "name": one.name,
                "difference": one.what,
                "change": None if one.change is None else asdict(one.change),
            }
            for one in found
        ],
    }


def _print(
    first: TensorFile,
    pairs: list[tuple[Tensor | None, Tensor | None]],
    found: list[Difference],
    tolerance: float,
) -> None:
    if not found:
        size = format_bytes(sum(one.size_in_bytes for one, _ in pairs if one is not None))
        within = f", within {tolerance:g}" if tolerance else ""
        print(f"no difference{within}: {output.count_text(len(pairs), 'variable')}, {size}")
        return
    rows = []
    for one in found:
        row = [printable(one.name), one.what]
        if one.change is not None:
            change = one.change
            row += [
                f"{change.changed:,} of {change.elements:,}",
                output.number_text(change.largest),
                output.number_text(change.relative),
                f"{change.special:,}" if change.special else "",
            ]
        rows.append(row)
    header = ["name", "difference", "elements", "largest", "relative", "NaN or infinite"]
    if not any(one.change is not None and one.change.special for one in found):
        rows = [row[:5] for row in rows]
    used = max(map(len, rows))
    print(table(rows, header[:used], "llrrrr"))
    print(f"\n{len(found):,} of {output.count_text(len(pairs), 'variable')} differ")
