"""What the functions on checkpoints take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt

from flowrs.checkpoint.blob import FileBackendVariableBlob
from flowrs.errors import ArgumentError, ArgumentTypeError, CheckpointError
from flowrs.session import VariableHandle

Array = npt.NDArray[Any]
Path = str | os.PathLike[str]

#: What a variable's value may be given as.
Value = Array | FileBackendVariableBlob | VariableHandle


def check_path(path: Path, function: str) -> str:
    """The path as text."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise ArgumentTypeError(
            f"checkpoint.{function}: the path must be text or a pathlib.Path, not {path!r:.80}"
        )
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ArgumentError(f"checkpoint.{function}: {text!r} is no path")
    return text


def check_values(values: object, function: str) -> None:
    """Refuses what is no dict of values by name."""
    if isinstance(values, FileBackendVariableBlob):
        raise ArgumentTypeError(
            f"{function}: expected a dict of values, found the single variable "
            f"{values.file_path}; give the path of the whole checkpoint to flow.checkpoint.get"
        )
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ArgumentTypeError(
            f"{function}: expected a dict of values by name, found {values!r:.80}"
        )


def check_name(name: str) -> None:
    """Refuses a name that a checkpoint cannot have, since no text of UTF-8 is that.

    Raises:
        CheckpointError: it has half a character in it.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise CheckpointError(
            f"a checkpoint cannot store the name {name!r:.80}, which is not UTF-8"
        ) from None


def check_texts(texts: str | Iterable[str], what: str) -> list[str]:
    """A text, or several, as a list."""
    found = [texts] if isinstance(texts, str) else list(texts)
    if not all(isinstance(text, str) for text in found):
        raise ArgumentTypeError(f"{what}: expected text or a list of texts, found {texts!r:.80}")
    return found


def unknown_value(name: str, value: object) -> ArgumentTypeError:
    """The error for a value of no known type."""
    return ArgumentTypeError(
        f"variable {name}: unknown value type {type(value).__name__}: give a NumPy array, "
        "a variable of flow.get_all_variables(), or a blob of flow.checkpoint.get()"
    )
