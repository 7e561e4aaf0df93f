"""``flowrs show``: what the numbers in a checkpoint are like."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flowrs._terminal import Progress, display_width, format_bytes, printable, table
from flowrs.cli import ls, output
from flowrs.formats import Tensor, open_tensors
from flowrs.formats.statistics import Histogram, Statistics, describe, histogram
from flowrs.formats.tensors import UNKNOWN

_DESCRIPTION = """\
Shows the range, mean and standard deviation of every variable, how many of its numbers are zero,
and whether any are NaN or infinite. Of a single variable it draws a histogram too. Files are read
piece by piece, so a checkpoint may be larger than the memory.
"""

_EXAMPLES = """\
  flowrs show mlp_models_1                         all variables
  flowrs show mlp_models_1 dense1-weight           one, with a histogram
  flowrs show mlp_models_1 'dense*' --histogram    several, each with one
  flowrs show weights.safetensors --json           also .npz, and files of torch.save

exit code: 0, or 1 when there is nothing to show; NaN is no error, but is counted
"""

_BINS = 16
_WIDEST_BAR = 50


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "show", "PATH [NAME ...] [--histogram] [--json]", _DESCRIPTION, _EXAMPLES
    )
    parser.add_argument("path", metavar="PATH", help="a checkpoint, a variable in it, or a file")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a variable's name, or a pattern such as 'dense*'"
    )
    parser.add_argument(
        "--histogram", action="store_true", help="draw one for every variable, not only for one"
    )
    parsed = parser.parse_intermixed_args(words)
    file = open_tensors(parsed.path)
    tensors = output.choose(file, parsed.names)
    with_histogram = parsed.histogram or len(tensors) == 1
    # With a histogram, every number is looked at twice.
    total = sum(tensor.size_in_bytes for tensor in tensors) * (2 if with_histogram else 1)
    with output.progress("reading", total) as progress:
        found = [_look(tensor, with_histogram, progress) for tensor in tensors]
    if parsed.json:
        described = [_described(*one) for one in zip(tensors, found, strict=True)]
        output.print_json({"path": file.path, "format": file.format, "variables": described})
    elif with_histogram:
        for tensor, (statistics, counts) in zip(tensors, found, strict=True):
            _print_one(tensor, statistics, counts)
    else:
        _print_table(tensors, [statistics for statistics, _ in found])
        print(f"\n{ls.summary(file, tensors)}")
    return 0


def _look(
    tensor: Tensor, with_histogram: bool, progress: Progress
) -> tuple[Statistics | None, Histogram | None]:
    if tensor.type is UNKNOWN or tensor.type.stored.kind == "c":
        return None, None
    statistics = describe(tensor, progress.advance)
    if not with_histogram:
        return statistics, None
    return statistics, histogram(tensor, statistics, _BINS, progress.advance)


def _described(tensor: Tensor, found: tuple[Statistics | None, Histogram | None]) -> dict[str, Any]:
    statistics, counts = found
    known = tensor.type is not UNKNOWN
    return {
        "name": tensor.name,
        "type": tensor.type.name if known else None,
        "shape": tensor.shape if known else None,
        "size_in_bytes": tensor.size_in_bytes,
        "statistics": None if statistics is None else asdict(statistics),
        "histogram": None if counts is None else asdict(counts),
    }


def _print_table(tensors: list[Tensor], found: list[Statistics | None]) -> None:
    """One row for each variable; columns about what nowhere happens are left away."""
    columns = ["name", "type", "shape", "min", "max", "mean", "std"]
    rare = [
        word for word in ("zeros", "nan", "infinite") if any(_share(one, word) for one in found)
    ]
    rows = []
    for tensor, one in zip(tensors, found, strict=True):
        row = [printable(tensor.name), tensor.type.name, output.shape_text(tensor)]
        if one is not None:
            numbers = (one.minimum, one.maximum, one.mean, one.deviation)
            row += [output.number_text(number) for number in numbers]
            row += [_share(one, word) for word in rare]
        rows.append(row)
    print(table(rows, [*columns, *rare], "lll" + "r" * 7))


def _share(statistics: Statistics | None, word: str) -> str:
    """How many elements are of some kind, and which part of all that is."""
    count = 0 if statistics is None else getattr(statistics, word)
    if statistics is None or not count:
        return ""
    percent = 100 * count / statistics.elements
    return f"{count:,} ({percent:.0f} %)" if percent >= 10 else f"{count:,} ({percent:.2g} %)"


def _print_one(tensor: Tensor, statistics: Statistics | None, counts: Histogram | None) -> None:
    size = format_bytes(tensor.size_in_bytes)
    print(printable(tensor.name))
    rows = [["type", tensor.type.name], ["shape", output.shape_text(tensor)], ["size", size]]
    if statistics is not None:
        rows.insert(2, ["elements", f"{statistics.elements:,}"])
        for label, number in (
            ("min", statistics.minimum),
            ("max", statistics.maximum),
            ("mean", statistics.mean),
            ("std", statistics.deviation),
        ):
            if number is not None:
                rows.append([label, output.number_text(number, 8)])
        for word in ("zeros", "nan", "infinite"):
            if _share(statistics, word):
                rows.append([word, _share(statistics, word)])
    print("\n".join(f"  {line}" for line in table(rows).splitlines()))
    if counts is not None and counts.counts:
        print("\n" + _drawn(counts))
    print()


def _drawn(counts: Histogram) -> str:
    """The counts as bars, each behind the lower bound of its interval."""
    most = max(counts.counts)
    labels = [f"{output.number_text(edge, 3)} .." for edge in counts.edges[:-1]]
    numbers = [f"{count:,}" for count in counts.counts]
    room = shutil.get_terminal_size().columns - max(map(len, numbers)) - 8
    width = max(8, min(_WIDEST_BAR, room - max(map(display_width, labels))))
    bars = ["#" * (-(-count * width // most) if most else 0) for count in counts.counts]
    lines = table(zip(labels, numbers, bars, strict=True), align="rrl").splitlines()
    return "\n".join(f"  {line}" for line in lines)
