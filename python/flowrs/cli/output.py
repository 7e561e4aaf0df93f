"""What the commands about checkpoints have in common: arguments, tables, JSON, progress."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from flowrs._terminal import Progress, printable
from flowrs.errors import ArgumentError
from flowrs.formats import Tensor, TensorFile
from flowrs.formats.tensors import UNKNOWN

#: Work on fewer bytes than these is over before anybody looks at a progress bar.
_BYTES_WORTH_A_PROGRESS_BAR = 200_000_000


def parser(command: str, usage: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help teaches by examples; every command has ``--json``."""
    made = argparse.ArgumentParser(
        prog=f"flowrs {command}",
        usage=f"flowrs {command} [--help] {usage}",
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print JSON for other programs")
    return made


def progress(label: str, total: int, **options: Any) -> Progress:
    """A progress bar over bytes, on standard error; small work has none."""
    return Progress(label, total, unit="B", enabled=total >= _BYTES_WORTH_A_PROGRESS_BAR, **options)


def print_json(value: object) -> None:
    """Prints a value as JSON; numbers that JSON lacks become null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shape_text(tensor: Tensor) -> str:
    """A shape as people write it."""
    if tensor.type is UNKNOWN:
        return "no meta"
    return " x ".join(map(str, tensor.shape)) if tensor.shape else "scalar"


def number_text(value: float | None, digits: int = 4) -> str:
    """A number in few characters.

    Example:
        >>> [number_text(value) for value in (0.0, 0.03125, -12345.678, 1e-9, 7, None)]
        ['0', '0.03125', '-1.235e+04', '1e-09', '7', '']
    """
    if value is None:
        return ""
    if isinstance(value, int) and abs(value) < 10**9:
        return str(value)
    return f"{value:.{digits}g}"


def count_text(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> count_text(1, "variable"), count_text(12000, "variable")
        ('1 variable', '12,000 variables')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def some_names(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(map(printable, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def choose(file: TensorFile, patterns: Iterable[str]) -> list[Tensor]:
    """The tensors whose names match one of the patterns; all of them if there is none.

    Raises:
        ArgumentError: a pattern matches no name.
    """
    from fnmatch import fnmatchcase

    wanted = list(patterns)
    if not wanted:
        return file.tensors
    for pattern in wanted:
        if not any(_matches(tensor.name, pattern, fnmatchcase) for tensor in file.tensors):
            raise ArgumentError(f"{file.path} has no variable {pattern!r}{_near(file, pattern)}")
    return [
        tensor
        for tensor in file.tensors
        if any(_matches(tensor.name, pattern, fnmatchcase) for pattern in wanted)
    ]


def _matches(name: str, pattern: str, match: Any) -> bool:
    return name == pattern or match(name, pattern)


def _near(file: TensorFile, pattern: str) -> str:
    import difflib

    names = [tensor.name for tensor in file.tensors]
    near = difflib.get_close_matches(pattern, names, n=3)
    if near:
        return f"; did you mean {' or '.join(map(printable, near))}?"
    return f"; flowrs ls {file.path} shows what it has"


def warn(text: str) -> None:
    """A remark for people, on standard error."""
    print(f"flowrs: {text}", file=sys.stderr)
