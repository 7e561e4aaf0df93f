"""Loading values into the session's variables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from flowrs._flowrs import assign_variables
from flowrs.checkpoint.blob import FileBackendVariableBlob
from flowrs.checkpoint.values import Array, Value, check_values, unknown_value
from flowrs.errors import DTypeError, LoadError
from flowrs.session import VariableHandle, get_all_variables


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


def _listed(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


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
    check_values(value_dict, "load_variables")
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
        raise unknown_value(variable.name, value)
    if not fits:
        mismatched.append(Mismatch(variable.name, expected, found))
        return None
    if isinstance(value, FileBackendVariableBlob):
        array = value.values(variable.shape, variable.dtype.numpy)
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
