"""``flowrs verify``: whether the bytes are still those that were saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from flowrs._terminal import format_bytes, printable, table
from flowrs.checkpoint import VerifyReport
from flowrs.cli import output
from flowrs.errors import CheckpointError
from flowrs.formats import Tensor, TensorFile, open_tensors

_DESCRIPTION = """\
Reads every variable and compares it with the checksum that was stored when it was saved. Variables
that OneFlow saved have none: of them only type, shape and size are looked at. Of an npz file the
checksums of the archive are compared.
"""

_EXAMPLES = """\
  flowrs verify mlp_models_1
  flowrs verify mlp_models_1 dense1-weight
  flowrs verify mlp_models_1 --require-checksums   variables without one are a failure too

exit code: 0 when nothing is damaged, 1 when something is
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = output.parser(
        "verify", "PATH [NAME ...] [--require-checksums] [--json]", _DESCRIPTION, _EXAMPLES
    )
    parser.add_argument("path", metavar="PATH", help="a checkpoint or file")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a variable's name, or a pattern such as 'dense*'"
    )
    parser.add_argument(
        "--require-checksums", action="store_true", help="fail where a checksum is missing"
    )
    parsed = parser.parse_intermixed_args(words)
    file = open_tensors(parsed.path)
    tensors = output.choose(file, parsed.names)
    report = _verified(file, tensors)
    failed = bool(report.damaged) or (parsed.require_checksums and bool(report.unchecked))
    if parsed.json:
        output.print_json(
            {
                "path": file.path,
                "format": file.format,
                "verified": report.verified,
                "unchecked": report.unchecked,
                "damaged": report.damaged,
            }
        )
    else:
        _print(tensors, report)
    return 1 if failed else 0


def _verified(file: TensorFile, tensors: list[Tensor]) -> VerifyReport:
    report = VerifyReport()
    total = sum(tensor.size_in_bytes for tensor in tensors)
    threads = min(4, os.cpu_count() or 1)
    with output.progress("verifying", total) as progress, ThreadPoolExecutor(threads) as pool:
        for tensor, found in zip(
            tensors, pool.map(lambda one: _look(file, one), tensors), strict=True
        ):
            if isinstance(found, str):
                report.damaged[tensor.name] = found
            else:
                (report.verified if found else report.unchecked).append(tensor.name)
            progress.advance(tensor.size_in_bytes)
    return report


def _look(file: TensorFile, tensor: Tensor) -> bool | str:
    """Whether a tensor could be compared with a checksum, or what is wrong with it."""
    try:
        if tensor.blob is not None:
            return tensor.blob.verify()
        tensor.load()
    except CheckpointError as error:
        return str(error)
    return file.format == "npz"


def _print(tensors: list[Tensor], report: VerifyReport) -> None:
    if report.damaged:
        rows = [[printable(name), text] for name, text in report.damaged.items()]
        print(table(rows, ["damaged", "what is wrong"]) + "\n")
    size = format_bytes(sum(tensor.size_in_bytes for tensor in tensors))
    print(f"{output.count_text(len(tensors), 'variable')}, {size}: {report}")
    if report.unchecked:
        print(f"without checksum: {output.some_names(report.unchecked)}")
