"""Loading values into the session's variables."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from flowrs._flowrs import CheckpointEntry, check_entries, load_values
from flowrs.checkpoint.blob import FileBackendVariableBlob
from flowrs.checkpoint.reading import STEP_PREFIX, Checkpoint, get
from flowrs.checkpoint.saving import update
from flowrs.checkpoint.values import (
    Array,
    Path,
    Value,
    check_path,
    check_values,
    unknown_value,
)
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    DTypeError,
    LoadError,
)
from flowrs.session import VariableHandle, default_session, get_all_variables


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
        cast: names of the variables whose values were converted from another dtype.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    cast: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing)
        parts = [f"loaded {len(self.loaded)} of {total} variables"]
        if self.cast:
            parts.append(f"converted: {_listed(self.cast)}")
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
    rename: Mapping[str, str] | Callable[[str], str] | None = None,
    cast: bool = False,
    adopt: bool = False,
) -> LoadReport:
    """Gives values to the session's variables of the same names: all of them, or none.

    Args:
        value_dict: values by name, such as what ``flow.checkpoint.get`` returns.
        ignore_mismatch: whether values without a variable are left alone; otherwise they are an
            error.
        strict: whether variables without a value are an error too.
        rename: names of variables by names in ``value_dict``, or a function from one to the other;
            a dict leaves the names that it does not have as they are.
        cast: whether values of another dtype of the same kind, such as float64 for float32, are
            converted.
        adopt: whether the mapped files themselves become the variables' memory, instead of being
            read into it: nothing is read before it is used, and what a job changes stays in this
            process. The files must then not be shortened by other programs.

    Returns:
        What was loaded, and what was not.

    Raises:
        LoadError: a shape or dtype differs, or names are not as they must be; nothing was loaded,
            and the error's ``report`` says what was wrong. Or the disk failed while it was read,
            which the message says.

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
    values = _renamed(value_dict, rename)
    variables = get_all_variables()
    report = LoadReport(
        missing=[name for name in variables if name not in values],
        unexpected=[name for name in values if name not in variables],
    )
    sources: dict[str, FileBackendVariableBlob | Array] = {}
    for name, value in values.items():
        if name in variables:
            source = _fitting(variables[name], value, cast, report)
            if source is not None:
                sources[name] = source
    problems = [str(mismatch) for mismatch in report.mismatched]
    if report.unexpected and (strict or not ignore_mismatch):
        problems += [
            f'"{name}" is not a variable name{_suggestion(name, variables)}'
            for name in report.unexpected
        ]
    if report.missing and strict:
        problems += [
            f'there is no value for variable "{name}"{_suggestion(name, report.unexpected)}'
            for name in report.missing
        ]
    if problems:
        raise LoadError("nothing was loaded:\n  " + "\n  ".join(problems), report)
    check_entries([each for each in sources.values() if isinstance(each, CheckpointEntry)])
    try:
        load_values([(variables[name].native, each) for name, each in sources.items()], adopt)
    except CheckpointError as error:
        raise LoadError(f"some variables may have changed already: {error}", report) from error
    report.loaded.extend(sources)
    return report


def _renamed(
    values: Mapping[str, Value], rename: Mapping[str, str] | Callable[[str], str] | None
) -> Mapping[str, Value]:
    if rename is None:
        return values
    if not isinstance(rename, Mapping) and not callable(rename):
        raise ArgumentTypeError(
            f"load_variables: rename must be a dict or a function, not {rename!r:.80}"
        )
    found: dict[str, Value] = {}
    for old, value in values.items():
        new = rename.get(old, old) if isinstance(rename, Mapping) else rename(old)
        if not isinstance(new, str):
            raise ArgumentTypeError(f"load_variables: rename makes {new!r:.80} of {old!r}")
        if new in found:
            raise ArgumentError(f"load_variables: rename gives two values the name {new!r}")
        found[new] = value
    return found


def _fitting(
    variable: VariableHandle, value: Value, cast: bool, report: LoadReport
) -> FileBackendVariableBlob | Array | None:
    """The value as the native side takes it, or None and an entry in the report."""
    if isinstance(value, FileBackendVariableBlob):
        shape, name = _stored_type(value, variable)
    elif isinstance(value, VariableHandle):
        shape, name = value.shape, value.dtype.name
    elif isinstance(value, np.ndarray):
        shape, name = value.shape, value.dtype.newbyteorder("=").name
    else:
        raise unknown_value(variable.name, value)
    wanted = variable.dtype.numpy
    if shape == variable.shape and name == variable.dtype.name:
        if isinstance(value, FileBackendVariableBlob):
            return value
        array = value if isinstance(value, np.ndarray) else value.numpy()
        return np.ascontiguousarray(array, wanted)
    if cast and shape == variable.shape and name is not None:
        array = value if isinstance(value, np.ndarray) else value.numpy()
        if np.can_cast(array.dtype, wanted, "same_kind"):
            report.cast.append(variable.name)
            return np.ascontiguousarray(array, wanted)
    expected = f"{variable.dtype} of shape {variable.shape}"
    report.mismatched.append(Mismatch(variable.name, expected, _in_words(value)))
    return None


def _stored_type(
    value: FileBackendVariableBlob, variable: VariableHandle
) -> tuple[tuple[int, ...] | None, str | None]:
    """The shape and type of what a checkpoint holds; of a type of later versions its kind.

    Where there is no ``meta``, they are the variable's if the file has that size.
    """
    if value.shape is None:
        wanted = math.prod(variable.shape) * variable.dtype.bytes
        fits = wanted == value.size_in_bytes
        return (variable.shape, variable.dtype.name) if fits else (None, None)
    try:
        dtype = value.dtype
    except DTypeError:  # One of later versions: no variable has it.
        return value.shape, value.kind
    assert dtype is not None
    return value.shape, dtype.name


def _in_words(value: FileBackendVariableBlob | VariableHandle | Array) -> str:
    """What a value is, and where it is from."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, VariableHandle):
        return f"{value.dtype} of shape {value.shape} (variable {value.name})"
    where = f"({value.file_path})"
    if value.shape is None:
        return f"{value.size_in_bytes} bytes without meta {where}"
    try:
        return f"{value.dtype} of shape {value.shape} {where}"
    except DTypeError:
        return f"{value.kind} of shape {value.shape} {where}"


def _suggestion(name: str, others: Iterable[str]) -> str:
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name, list(others), n=2)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def reset_step(path_or_job_name: Path, step: int = 0) -> None:
    """Sets how many steps have been trained, which the learning rate's schedule goes by.

    Args:
        path_or_job_name: a checkpoint, of which all steps are set; or the name of a job of the
            session. A path without a separator that is also the name of a job must be given as a
            ``pathlib.Path``.
        step: the number of steps.

    Raises:
        ArgumentError: there is no such job or checkpoint, or both, or ``step`` is negative.
        CheckpointError: the checkpoint holds no step.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.save({"System-Train-TrainStep-train_job": np.array([500])}, path)
        ...     flow.checkpoint.reset_step(path)
        ...     flow.load(path).step
        0
    """
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
        raise ArgumentTypeError(f"checkpoint.reset_step: step must be an int, not {step!r:.80}")
    if not 0 <= step < 1 << 63:
        raise ArgumentError(f"checkpoint.reset_step: step must be 0 or more, not {step}")
    path = check_path(path_or_job_name, "reset_step")
    value = np.array([step], np.int64)
    job = f"{STEP_PREFIX}{path}"
    session = default_session()
    is_job = isinstance(path_or_job_name, str) and path in session.jobs
    if is_job and os.path.isdir(path):
        raise ArgumentError(
            f"checkpoint.reset_step: {path} is both a job and a directory; give a pathlib.Path "
            "for the directory, or another working directory for the job"
        )
    if is_job:
        if job not in get_all_variables():
            raise ArgumentError(f"checkpoint.reset_step: job {path} trains nothing")
        load_variables({job: value})
        return
    if not os.path.isdir(path):
        raise ArgumentError(
            f"checkpoint.reset_step: there is neither a job nor a checkpoint {path!r}"
        )
    opened = get(path, include=f"{STEP_PREFIX}*")
    steps = {name: value for name in opened} if isinstance(opened, Checkpoint) else {}
    if not steps:
        raise CheckpointError(f"{path}: the checkpoint holds no step of a train job")
    update(path, steps)
