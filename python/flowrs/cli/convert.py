"""``flowrs convert``: from one format into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from flowrs._terminal import format_bytes
from flowrs.cli import output
from flowrs.formats import Conversion, convert, open_tensors

_DESCRIPTION = """\
Writes the variables of SOURCE into TARGET, piece by piece, in the format that TARGET's name asks
for: NAME.safetensors, NAME.npz, or else the directory of a checkpoint. SOURCE may be any of these,
or a zip file of torch.save; its content counts, not its name. A pickle is never run: only tensors
are read. TARGET appears whole or not at all.
"""

_EXAMPLES = """\
  flowrs convert mlp_models_1 mlp.safetensors
  flowrs convert mlp_models_1 mlp.npz --exclude 'System-*'
  flowrs convert weights.safetensors new_models_1
  flowrs convert checkpoint.pt new_models_1 --include 'model.*' --strip model.
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "convert",
        "SOURCE TARGET [--include NAME] [--exclude NAME]\n"
        "                      [--strip PREFIX] [--overwrite] [--json]",
        _DESCRIPTION,
        _EXAMPLES,
    )
    parser.add_argument("source", metavar="SOURCE", help="a checkpoint or file")
    parser.add_argument("target", metavar="TARGET", help="what to write; it must not exist yet")
    parser.add_argument(
        "--include",
        metavar="NAME",
        action="append",
        default=[],
        help="convert these variables alone: a name or a pattern; may be given again",
    )
    parser.add_argument(
        "--exclude", metavar="NAME", action="append", default=[], help="leave these out"
    )
    parser.add_argument(
        "--strip", metavar="PREFIX", default="", help="take this off the beginning of names"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace TARGET if it exists")
    parsed = parser.parse_intermixed_args(words)
    with output.progress("converting", open_tensors(parsed.source).size_in_bytes) as progress:
        progress.update(0)
        done = convert(
            parsed.source,
            parsed.target,
            include=parsed.include,
            exclude=parsed.exclude,
            strip=parsed.strip,
            overwrite=parsed.overwrite,
            progress=lambda now, total: progress.update(now),
        )
    if parsed.json:
        output.print_json(asdict(done))
    else:
        _print(done)
    return 0


def _print(done: Conversion) -> None:
    variables = output.count_text(len(done.names), "variable")
    size = format_bytes(done.size_in_bytes)
    print(f"{done.source} ({done.source_format}) -> {done.target} ({done.target_format})")
    print(f"{variables}, {size}")
    if done.widened:
        names = output.some_names(done.widened)
        print(f"float32 now, since {done.target_format} has no bfloat16: {names}")
    if done.left_out:
        print(f"left out, since they are no tensors: {output.some_names(done.left_out)}")
