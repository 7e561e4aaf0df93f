"""Checkpoints: variables on a disk, in the directory format of OneFlow.

``save`` writes a directory whole or not at all, ``get`` opens one without reading it, and
``load_variables`` gives the values to the session's variables, all or none of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flowrs import datatype
from flowrs._flowrs import (
    CheckpointEntry,
    Variable,
    assign_variables,
    open_checkpoint,
    save_checkpoint,
)
from flowrs.datatype import dtype as DType
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    DTypeError,
    LoadError,
)
from flowrs.session import VariableHandle, get_all_variables

Array = npt.NDArray[Any]
Path = str | os.PathLike[str]


class FileBackendVariableBlob:
    """A variable in a checkpoint; its bytes stay on the disk until they are looked at.

    Attributes:
        file_path: the file that holds the elements.
        has_meta_info_: whether there is a ``meta`` with shape and dtype; the oldest snapshots
            have none.
    """

    __slots__ = ("_absolute_path", "_entry", "_meta", "file_path", "has_meta_info_")

    def __init__(self, entry: CheckpointEntry) -> None:
        self._entry = entry
        self._meta = entry.meta
        self.file_path = os.fspath(entry.file_path)
        self._absolute_path = os.path.abspath(self.file_path)
        self.has_meta_info_ = self._meta is not None

    @property
    def name(self) -> str:
        """Name of the variable."""
        return self._entry.name

    @property
    def var_dir_(self) -> str:
        """The directory of the variable."""
        return os.path.dirname(self.file_path)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Extent of each dimension; None where there is no ``meta``."""
        return None if self._meta is None else tuple(self._meta[1])

    @property
    def dtype(self) -> DType | None:
        """Element type; None where there is no ``meta``.

        Raises:
            DTypeError: the type is one of later versions that this API has no name for.
        """
        return None if self.kind is None else datatype.from_kind(self.kind, self.file_path)

    @property
    def kind(self) -> str | None:
        """Name of the element type in ``meta``, such as ``"kFloat"``; None where there is none."""
        return None if self._meta is None else self._meta[0]

    @property
    def size_in_bytes(self) -> int:
        """Bytes of the file."""
        return int(self._entry.size)

    def numpy(self) -> Array:
        """The value: a read-only array over the mapped file; no byte is read before it is used.

        Raises:
            CheckpointError: there is no ``meta``, or the file has changed.

        Example:
            >>> import tempfile, os
            >>> import numpy as np
            >>> import flowrs as flow
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = os.path.join(folder, "snapshot")
            ...     flow.save({"w": np.arange(3, dtype=np.float32)}, path)
            ...     flow.load(path)["w"].numpy()
            array([0., 1., 2.], dtype=float32)
        """
        return self._mapped("r").view(np.ndarray)

    def memmap(self, mode: str = "r") -> np.memmap[Any, np.dtype[Any]]:
        """The value as a ``numpy.memmap``.

        Args:
            mode: ``"r"``: read-only; ``"c"``: writes stay in this process and never reach the file.

        Raises:
            ArgumentError: ``mode`` is neither.
            CheckpointError: there is no ``meta``, or the file has changed.
        """
        if mode not in ("r", "c"):
            raise ArgumentError(f'memmap: mode must be "r" or "c", not {mode!r}')
        array = self._mapped(mode).view(np.memmap)
        array.filename = self._absolute_path
        array.offset = 0
        array.mode = mode
        return array

    def _mapped(self, mode: str) -> Array:
        shape, dtype = self.shape, self.dtype
        if shape is None or dtype is None:
            raise CheckpointError(
                f"{self.file_path}: there is no meta file, so shape and dtype are unknown; "
                "load_variables takes them from the variable of the same name"
            )
        return self.values(shape, dtype, mode)

    def values(self, shape: tuple[int, ...], dtype: DType, mode: str = "r") -> Array:
        """The mapped file as an array of the given shape and dtype, which must fit its size."""
        mapping = self._entry.map(mode == "c")
        little_endian = dtype.numpy.newbyteorder("<")
        return np.frombuffer(memoryview(mapping), little_endian).reshape(shape)

    def __repr__(self) -> str:
        if self._meta is None:
            return (
                f"FileBackendVariableBlob({self.file_path!r}, {self.size_in_bytes} bytes, no meta)"
            )
        return f"FileBackendVariableBlob({self.file_path!r}, {self.shape}, {self.kind})"


#: What a variable's value may be given as.
Value = Array | FileBackendVariableBlob | VariableHandle


@dataclass(frozen=True)
class Mismatch:
    """A value that does not fit the variable of its name."""

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.name}: the variable is {self.expected}, the value {self.found}"


@dataclass(frozen=True)
class LoadReport:
    """What ``load_variables`` did.

    Attributes:
        loaded: names of the variables that have the given values now.
        missing: names of the variables for which there was no value; they keep what they had.
        unexpected: names of the values for which there is no variable; they were left alone.
        mismatched: values that do not fit; there are none unless the load failed.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing)
        parts = [f"loaded {len(self.loaded)} of {total} variables"]
        if self.missing:
            parts.append(f"kept as they were: {_listed(self.missing)}")
        if self.unexpected:
            parts.append(f"no variable for: {_listed(self.unexpected)}")
        if self.mismatched:
            parts.append(f"do not fit: {_listed([item.name for item in self.mismatched])}")
        return "; ".join(parts)


def _path(path: Path, function: str) -> str:
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise ArgumentTypeError(
            f"checkpoint.{function}: the path must be text or a pathlib.Path, not {path!r:.80}"
        )
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ArgumentError(f"checkpoint.{function}: {text!r} is no path")
    return text


def _check_names(values: object, function: str) -> None:
    if isinstance(values, FileBackendVariableBlob):
        raise ArgumentTypeError(
            f"{function}: expected a dict of values, found the single variable "
            f"{values.file_path}; give the path of the whole checkpoint to flow.checkpoint.get"
        )
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ArgumentTypeError(
            f"{function}: expected a dict of values by name, found {values!r:.80}"
        )


def _listed(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def get(path: Path) -> dict[str, FileBackendVariableBlob] | FileBackendVariableBlob:
    """Opens a checkpoint; only names, shapes and sizes are read.

    Args:
        path: the directory; or that of one variable.

    Returns:
        The variables by name, sorted; or the one variable.

    Raises:
        CheckpointNotFoundError: there is no such directory.
        CheckpointError: it holds no variables, or a file has not the size that its shape says.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.save({"w": np.zeros((2, 3), np.float32)}, path)
        ...     flow.checkpoint.get(path)["w"].shape
        (2, 3)
    """
    text = _path(path, "get")
    entries, complete, single = open_checkpoint(text)
    if single:
        return FileBackendVariableBlob(entries[0])
    if not entries and not complete:
        raise CheckpointError(
            f"{text}: the directory holds no variables; a variable is a directory "
            "with a file named out"
        )
    return {entry.name: FileBackendVariableBlob(entry) for entry in entries}


def save(path: Path, var_dict: Mapping[str, Value] | None = None) -> None:
    """Saves variables; the directory appears whole or not at all.

    Args:
        path: a directory that does not exist, or is empty.
        var_dict: values by name: arrays, variables, or blobs of another checkpoint. None: all
            variables of the session.

    Raises:
        CheckpointExistsError: the path is a file or a directory that is not empty.
        CheckpointIOError: the operating system refused; nothing is left behind.
        DTypeError: an array's dtype cannot be stored.

    Example:
        >>> import tempfile, os
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     flow.checkpoint.save(os.path.join(folder, "snapshot"))
        ...     sorted(os.listdir(os.path.join(folder, "snapshot")))
        ['snapshot_done', 'w']
    """
    values: Mapping[str, Value] = get_all_variables() if var_dict is None else var_dict
    _check_names(values, "checkpoint.save")
    save_checkpoint(_path(path, "save"), [_entry(name, values[name]) for name in sorted(values)])


def _entry(name: str, value: Value) -> tuple[str, str, list[int], Variable | Array]:
    """A variable as the native side takes it: name, type, shape, and where the bytes are."""
    if isinstance(value, VariableHandle):
        return name, value.dtype.kind, list(value.shape), value.native
    if isinstance(value, FileBackendVariableBlob):
        array = value.numpy()
        kind = value.dtype
    elif isinstance(value, np.ndarray):
        array = value
        kind = datatype.from_numpy(array.dtype, f"variable {name}")
    else:
        raise _unknown_value(name, value)
    assert kind is not None
    stored = np.ascontiguousarray(array, kind.numpy.newbyteorder("<"))
    return name, kind.kind, list(array.shape), stored


def _unknown_value(name: str, value: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"variable {name}: unknown value type {type(value).__name__}: give a NumPy array, "
        "a variable of flow.get_all_variables(), or a blob of flow.checkpoint.get()"
    )


def load_variables(
    value_dict: Mapping[str, Value] | FileBackendVariableBlob,
    ignore_mismatch: bool = True,
    *,
    strict: bool = False,
) -> LoadReport:
    """Gives values to the session's variables of the same names: all of them, or none.

    Args:
        value_dict: values by name, such as what ``flow.checkpoint.get`` returns.
        ignore_mismatch: whether values without a variable are left alone; otherwise they are an
            error.
        strict: whether variables without a value are an error too.

    Returns:
        What was loaded, and what was not.

    Raises:
        LoadError: a shape or dtype differs, or names are not as they must be; nothing was loaded,
            and the error's ``report`` says what was wrong.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2,), initializer=flow.zeros_initializer())
        >>> print(flow.load_variables({"w": np.ones(2, np.float32)}))
        loaded 1 of 1 variables
    """
    _check_names(value_dict, "load_variables")
    assert isinstance(value_dict, Mapping)
    variables = get_all_variables()
    report = LoadReport(
        missing=[name for name in variables if name not in value_dict],
        unexpected=[name for name in value_dict if name not in variables],
    )
    arrays: dict[str, Array] = {}
    for name, value in value_dict.items():
        if name in variables:
            array = _fitting(variables[name], value, report.mismatched)
            if array is not None:
                arrays[name] = array
    problems = [str(mismatch) for mismatch in report.mismatched]
    if report.unexpected and (strict or not ignore_mismatch):
        problems += [_suggest(name, variables) for name in report.unexpected]
    if report.missing and strict:
        problems += [f'there is no value for variable "{name}"' for name in report.missing]
    if problems:
        raise LoadError("nothing was loaded:\n  " + "\n  ".join(problems), report)
    assign_variables([(variables[name].native, array) for name, array in arrays.items()])
    report.loaded.extend(arrays)
    return report


def _fitting(variable: VariableHandle, value: Value, mismatched: list[Mismatch]) -> Array | None:
    """The value as a native array of the variable's type, or None and an entry in the list."""
    expected = f"{variable.dtype} of shape {variable.shape}"
    if isinstance(value, FileBackendVariableBlob):
        found, fits = _described(value, variable)
    elif isinstance(value, VariableHandle):
        found = f"{value.dtype} of shape {value.shape} (variable {value.name})"
        fits = value.shape == variable.shape and value.dtype.name == variable.dtype.name
    elif isinstance(value, np.ndarray):
        found = f"{value.dtype} of shape {value.shape}"
        native = value.dtype.newbyteorder("=")
        fits = value.shape == variable.shape and native == variable.dtype.numpy
    else:
        raise _unknown_value(variable.name, value)
    if not fits:
        mismatched.append(Mismatch(variable.name, expected, found))
        return None
    if isinstance(value, FileBackendVariableBlob):
        array = value.values(variable.shape, variable.dtype)
    else:
        array = value if isinstance(value, np.ndarray) else value.numpy()
    return np.ascontiguousarray(array, variable.dtype.numpy)


def _described(value: FileBackendVariableBlob, variable: VariableHandle) -> tuple[str, bool]:
    """What a checkpoint holds, and whether it fits a variable.

    Where there is no ``meta``, shape and dtype are the variable's if the file has that size.
    """
    where = f"({value.file_path})"
    if value.shape is None:
        wanted = math.prod(variable.shape) * variable.dtype.bytes
        return f"{value.size_in_bytes} bytes without meta {where}", wanted == value.size_in_bytes
    try:
        dtype = value.dtype
    except DTypeError:  # One of later versions: no variable has it.
        dtype = None
    same_type = dtype is not None and dtype.name == variable.dtype.name
    found = f"{dtype or value.kind} of shape {value.shape} {where}"
    return found, same_type and value.shape == variable.shape


def _suggest(name: str, variables: Iterable[str]) -> str:
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name, list(variables), n=2)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f'"{name}" is not a variable name{hint}'
