"""``flowrs ls``: what is in a checkpoint, or which checkpoints are in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowrs._leftovers import MARKER
from flowrs._terminal import format_bytes, printable, table
from flowrs.checkpoint.manager import saved_record
from flowrs.cli import output
from flowrs.errors import CheckpointError
from flowrs.formats import Tensor, TensorFile, open_tensors
from flowrs.formats.directory import checkpoints_in

_DESCRIPTION = """\
Lists the variables of a checkpoint with their types and shapes, or the checkpoints of a folder.
Nothing but names and sizes is read, so this takes no time however large they are.
"""

_EXAMPLES = """\
  flowrs ls mlp_models_1                   the variables of a checkpoint
  flowrs ls mlp_models_1 'dense*'          those whose names match
  flowrs ls mlp_models_1 --sort size       the largest first
  flowrs ls snapshots                      the checkpoints of a folder
  flowrs ls weights.safetensors            also .npz, and files of torch.save
  flowrs ls mlp_models_1 --json | jq '.variables[].name'
"""

_STEP = "System-Train-TrainStep-"


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "ls", "PATH [NAME ...] [--sort {name,size}] [--json]", _DESCRIPTION, _EXAMPLES
    )
    parser.add_argument("path", metavar="PATH", help="a checkpoint, a folder of them, or a file")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a variable's name, or a pattern such as 'dense*'"
    )
    parser.add_argument("--sort", choices=["name", "size"], default="name", help="the order")
    parsed = parser.parse_intermixed_args(words)
    inside = checkpoints_in(parsed.path)
    if inside and not parsed.names:
        _list_folder(parsed.path, [Path(parsed.path, name) for name in inside], parsed.json)
        return 0
    file = open_tensors(parsed.path)
    tensors = output.choose(file, parsed.names)
    if parsed.sort == "size":
        tensors = sorted(tensors, key=lambda tensor: (-tensor.size_in_bytes, tensor.name))
    if parsed.json:
        output.print_json(_described(file, tensors))
    else:
        _print_variables(file, tensors)
    return 0


def step_of(file: TensorFile) -> int | None:
    """The number of steps taken, of the job that has taken most; None where no job trains."""
    steps = [
        int(tensor.load().ravel()[0])
        for tensor in file.tensors
        if tensor.name.startswith(_STEP) and tensor.type.name == "int64" and tensor.elements == 1
    ]
    return max(steps, default=None)


def _complete(file: TensorFile) -> bool | None:
    """Whether a finished save left its marker; None for what has no such thing."""
    if file.format != "checkpoint":
        return None
    return os.path.isfile(os.path.join(file.path, MARKER))


def _described(file: TensorFile, tensors: list[Tensor]) -> dict[str, Any]:
    return {
        "path": file.path,
        "format": file.format,
        "complete": _complete(file),
        "step": step_of(file),
        "size_in_bytes": sum(tensor.size_in_bytes for tensor in tensors),
        "metadata": file.metadata,
        "left_out": file.left_out,
        "variables": [
            {
                "name": tensor.name,
                "type": None if tensor.type.name == "?" else tensor.type.name,
                "shape": None if tensor.type.name == "?" else tensor.shape,
                "elements": None if tensor.type.name == "?" else tensor.elements,
                "size_in_bytes": tensor.size_in_bytes,
            }
            for tensor in tensors
        ],
    }


def _print_variables(file: TensorFile, tensors: list[Tensor]) -> None:
    rows = [
        [
            printable(tensor.name),
            tensor.type.name,
            output.shape_text(tensor),
            "" if tensor.type.name == "?" else f"{tensor.elements:,}",
            format_bytes(tensor.size_in_bytes),
        ]
        for tensor in tensors
    ]
    if rows:
        print(table(rows, ["name", "type", "shape", "elements", "size"], "lllrr"))
        print()
    print(summary(file, tensors))
    if file.format == "checkpoint" and file.left_out:
        output.warn(f"not looked into: {output.some_names(file.left_out)}")
    if _complete(file) is False:
        output.warn(f"{file.path} has no {MARKER}: perhaps its saving was not finished")


def summary(file: TensorFile, tensors: list[Tensor]) -> str:
    """One line about a file, or about some of its tensors."""
    some = "" if len(tensors) == len(file.tensors) else f" of {len(file.tensors):,}"
    size = format_bytes(sum(tensor.size_in_bytes for tensor in tensors))
    parts = [f"{len(tensors):,}{some} variable{'' if len(tensors) == 1 and not some else 's'}"]
    elements = sum(tensor.elements for tensor in tensors if tensor.type.name != "?")
    parts += [output.count_text(elements, "element"), size]
    step = step_of(file)
    if step is not None:
        parts.append(f"saved after step {step:,}")
    if file.format not in ("checkpoint", "variable"):
        parts.append(file.format)
    return ", ".join(parts)


@dataclass(frozen=True)
class _Row:
    """A checkpoint in a folder, or why it cannot be opened."""

    path: Path
    variables: int
    size: int
    step: int | None
    saved: float
    metrics: dict[str, float]
    problem: str | None = None


def _list_folder(folder: str, paths: list[Path], as_json: bool) -> None:
    rows = [_row(path) for path in paths]
    if as_json:
        output.print_json(
            {
                "path": folder,
                "checkpoints": [
                    {
                        "name": row.path.name,
                        "variables": row.variables,
                        "size_in_bytes": row.size,
                        "step": row.step,
                        "metrics": row.metrics,
                        "saved": _time(row.saved, "T"),
                        "problem": row.problem,
                    }
                    for row in rows
                ],
            }
        )
        return
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.metrics))
    cells = [
        [
            printable(row.path.name),
            row.problem or f"{row.variables:,}",
            "" if row.problem else format_bytes(row.size),
            "" if row.step is None else f"{row.step:,}",
            _time(row.saved, " "),
            *(output.number_text(row.metrics.get(metric)) for metric in metrics),
        ]
        for row in rows
    ]
    header = ["checkpoint", "variables", "size", "step", "saved", *map(printable, metrics)]
    print(table(cells, header, "lrrrl" + "r" * len(metrics)))
    total = sum(row.size for row in rows)
    print(f"\n{output.count_text(len(rows), 'checkpoint')}, {format_bytes(total)}")


def _row(path: Path) -> _Row:
    saved = (path / MARKER).stat().st_mtime
    try:
        file = open_tensors(path)
    except CheckpointError:
        return _Row(path, 0, 0, None, saved, {}, "damaged")
    record = saved_record(path) or {}
    noted, step = record.get("metrics"), record.get("step")
    metrics = {
        name: value
        for name, value in (noted.items() if isinstance(noted, dict) else ())
        if isinstance(value, (int, float))
    }
    if type(step) is not int:
        step = step_of(file)
    return _Row(path, len(file.tensors), file.size_in_bytes, step, saved, metrics)


def _time(seconds: float, between: str) -> str:
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", time.localtime(seconds))
