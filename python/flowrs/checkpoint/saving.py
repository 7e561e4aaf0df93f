"""Saving checkpoints, and changing them."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict, overload

import numpy as np

from flowrs import datatype
from flowrs._flowrs import (
    CheckpointEntry,
    StagedVariables,
    Variable,
    edit_checkpoint,
    save_checkpoint,
)
from flowrs.checkpoint.blob import FileBackendVariableBlob
from flowrs.checkpoint.values import (
    Array,
    Path,
    Value,
    check_name,
    check_path,
    check_texts,
    check_values,
    unknown_value,
)
from flowrs.errors import ArgumentError, ArgumentTypeError, CheckpointError
from flowrs.session import VariableHandle, get_all_variables

Durability = Literal["full", "rename", "none"]

#: A variable as the native side takes it: name, type, shape, and where the bytes are; with an
#: array, whether its elements are big-endian.
_Entry = tuple[str, str, list[int], Variable | CheckpointEntry | tuple[Array, bool]]


class Options(TypedDict):
    """How to save, as the native side takes it."""

    overwrite: bool
    durability: str
    checksum: bool
    metadata: str | None
    link_unchanged_from: str | None


@overload
def save(
    path: Path,
    var_dict: Mapping[str, Value] | None = None,
    *,
    overwrite: bool = False,
    durability: Durability = "full",
    checksum: bool = True,
    metadata: Mapping[str, Any] | None = None,
    link_unchanged_from: Path | None = None,
    background: Literal[False] = False,
) -> None: ...


@overload
def save(
    path: Path,
    var_dict: Mapping[str, Value] | None = None,
    *,
    overwrite: bool = False,
    durability: Durability = "full",
    checksum: bool = True,
    metadata: Mapping[str, Any] | None = None,
    link_unchanged_from: Path | None = None,
    background: Literal[True],
) -> PendingSave: ...


def save(
    path: Path,
    var_dict: Mapping[str, Value] | None = None,
    *,
    overwrite: bool = False,
    durability: Durability = "full",
    checksum: bool = True,
    metadata: Mapping[str, Any] | None = None,
    link_unchanged_from: Path | None = None,
    background: bool = False,
) -> PendingSave | None:
    """Saves variables; the directory appears whole or not at all.

    Args:
        path: a directory that does not exist, or is empty.
        var_dict: values by name: arrays, variables, or blobs of another checkpoint. None: all
            variables of the session.
        overwrite: whether a checkpoint at ``path`` is replaced, in one step where the system can.
            A directory that holds anything else is not.
        durability: ``"full"``: when the call returns, the checkpoint survives a loss of power.
            ``"rename"``: it appears whole, but what a loss of power leaves is up to the system.
            ``"none"``: files are written where they stay, the marker last.
        checksum: whether each ``meta`` ends with a comment that holds the XXH3-128 of the
            elements. Without it, every byte is as OneFlow writes it.
        metadata: anything that JSON can say, kept in ``flowrs.json`` beside the variables.
        link_unchanged_from: another checkpoint; variables that are the same there share its files
            (hard links), which take no more room and no time to write. Either can be removed.
        background: whether the values are only copied now, and written while the program goes on.

    Returns:
        None; with ``background``, the save that is going on.

    Raises:
        CheckpointExistsError: there is something at the path that is not replaced.
        CheckpointIOError: the operating system refused, or the disk is full; nothing is left
            behind, and what was there is as it was.
        CheckpointError: a name cannot be stored.
        DTypeError: an array's dtype cannot be stored.

    Example:
        >>> import tempfile, os
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.checkpoint.save(path, metadata={"accuracy": 0.98})
        ...     flow.checkpoint.save(path, overwrite=True)
        ...     sorted(os.listdir(path))
        ['snapshot_done', 'w']
    """
    options = save_options(durability, checksum, overwrite=overwrite, metadata=metadata)
    if link_unchanged_from is not None:
        options["link_unchanged_from"] = check_path(link_unchanged_from, "save")
    if background:
        return save_in_background(path, var_dict, options)
    save_checkpoint(check_path(path, "save"), _entries_to_save(var_dict), options)
    return None


def save_in_background(
    path: Path,
    var_dict: Mapping[str, Value] | None,
    options: Options,
    then: Callable[[], object] | None = None,
) -> PendingSave:
    """Copies the values, and begins to save them.

    Args:
        path: as for ``save``.
        var_dict: as for ``save``.
        options: how to save.
        then: what is done, in the background too, when the checkpoint is there.
    """
    text = check_path(path, "save")
    staged = StagedVariables(_entries_to_save(var_dict))

    def work() -> None:
        staged.save(text, options)
        if then is not None:
            then()

    return PendingSave(text, work)


def _entries_to_save(var_dict: Mapping[str, Value] | None) -> list[_Entry]:
    values: Mapping[str, Value] = get_all_variables() if var_dict is None else var_dict
    check_values(values, "checkpoint.save")
    return _entries(values)


def update(
    path: Path,
    values: Mapping[str, Value],
    *,
    durability: Durability = "full",
    checksum: bool = True,
) -> None:
    """Gives variables of a checkpoint other values, or adds variables, all in one step.

    The other variables keep their files, which are not copied.

    Args:
        path: the checkpoint.
        values: values by name, as for ``save``.
        durability: as for ``save``; not ``"none"``.
        checksum: as for ``save``.

    Raises:
        CheckpointNotFoundError: there is no checkpoint.
        CheckpointExistsError: the directory holds something that is no part of a checkpoint.
        CheckpointIOError: the operating system refused; the checkpoint is as it was.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.save({"a": np.zeros(2), "b": np.zeros(2)}, path)
        ...     flow.checkpoint.update(path, {"b": np.ones(2)})
        ...     flow.load(path)["b"].numpy()
        array([1., 1.])
    """
    check_values(values, "checkpoint.update")
    options = save_options(durability, checksum)
    edit_checkpoint(check_path(path, "update"), _entries(values), {}, set(), options)


def rename(path: Path, names: Mapping[str, str], *, durability: Durability = "full") -> None:
    """Gives variables of a checkpoint other names, all in one step; no value is copied.

    Args:
        path: the checkpoint.
        names: new names by old ones; two variables may exchange their names.
        durability: as for ``save``; not ``"none"``.

    Raises:
        CheckpointNotFoundError: there is no checkpoint.
        CheckpointError: there is no variable of an old name, or a new name is taken.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.save({"a": np.zeros(2), "b": np.zeros(2)}, path)
        ...     flow.checkpoint.rename(path, {"a": "c"})
        ...     list(flow.load(path))
        ['b', 'c']
    """
    texts = [*names, *names.values()] if isinstance(names, Mapping) else [None]
    if not all(isinstance(name, str) for name in texts):
        raise ArgumentTypeError(
            f"checkpoint.rename: expected a dict of new names by old ones, found {names!r:.80}"
        )
    for name in texts:
        check_name(name)
    options = save_options(durability, True)
    edit_checkpoint(check_path(path, "rename"), [], dict(names), set(), options)


def drop(path: Path, names: str | Iterable[str], *, durability: Durability = "full") -> None:
    """Removes variables from a checkpoint, all in one step; no value is copied.

    Args:
        path: the checkpoint.
        names: one name, or several.
        durability: as for ``save``; not ``"none"``.

    Raises:
        CheckpointNotFoundError: there is no checkpoint.
        CheckpointError: there is no such variable.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.save({"a": np.zeros(2), "b": np.zeros(2)}, path)
        ...     flow.checkpoint.drop(path, "a")
        ...     list(flow.load(path))
        ['b']
    """
    dropped = set(check_texts(names, "checkpoint.drop"))
    for name in dropped:
        check_name(name)
    edit_checkpoint(check_path(path, "drop"), [], {}, dropped, save_options(durability, True))


def save_options(
    durability: str = "full",
    checksum: bool = True,
    *,
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Options:
    """How to save, as the native side takes it."""
    if not isinstance(durability, str):
        raise ArgumentTypeError(f"durability must be text, not {durability!r:.80}")
    return {
        "overwrite": bool(overwrite),
        "durability": durability,
        "checksum": bool(checksum),
        "metadata": _metadata_text(metadata),
        "link_unchanged_from": None,
    }


def _metadata_text(metadata: Mapping[str, Any] | None) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise ArgumentTypeError(
            f"checkpoint.save: metadata must be a dict with names, not {metadata!r:.80}"
        )
    import json  # takes a while to load, and few checkpoints have metadata

    try:
        return json.dumps(dict(metadata), indent=1, default=_plain) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"checkpoint.save: metadata must be what JSON can say: {error}"
        ) from None


def _plain(value: object) -> object:
    """A NumPy scalar as a plain number."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r:.80} is neither text, number, list nor dict")


def _entries(values: Mapping[str, Value]) -> list[_Entry]:
    return [_entry(name, values[name]) for name in sorted(values)]


def _entry(name: str, value: Value) -> _Entry:
    check_name(name)
    if isinstance(value, VariableHandle):
        return name, value.dtype.kind, list(value.shape), value.native
    if isinstance(value, FileBackendVariableBlob):
        if value.kind is None or value.shape is None:
            raise CheckpointError(
                f"{value.file_path}: there is no meta file, so shape and dtype are unknown; "
                "load the variable into a job first, and save that"
            )
        return name, value.kind, list(value.shape), value
    if isinstance(value, np.ndarray):
        kind = datatype.from_numpy(value.dtype, f"variable {name}").kind
        # The native side gets no scalars; their only element has the same bytes.
        array = np.atleast_1d(np.asarray(value))
        return name, kind, list(value.shape), (array, array.dtype.str.startswith(">"))
    raise unknown_value(name, value)


class PendingSave:
    """A save that is going on in the background.

    The values were copied before it began, so that the variables may change. The program does not
    end before the save has; an error that nobody asks for is printed.

    Attributes:
        path: where the checkpoint is going to be.
        staged: whether the values have been copied: always true.
    """

    staged = True

    def __init__(self, path: str, work: Callable[[], None]) -> None:
        self.path = path
        self._state = _State(work, weakref.ref(self))

    @property
    def done(self) -> bool:
        """Whether the save has ended, well or not."""
        return not self._state.thread.is_alive()

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the checkpoint is saved.

        Args:
            timeout: the most seconds to wait; None: as long as it takes.

        Raises:
            TimeoutError: the time is over.
            CheckpointError: what went wrong with the save.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Waits until the save has ended, and returns its error, or None.

        Raises:
            TimeoutError: the time is over.
        """
        self._state.thread.join(timeout)
        if self._state.thread.is_alive():
            raise TimeoutError(f"{self.path}: the save has not ended after {timeout} s")
        _unasked.discard(self._state)
        return self._state.error

    def __del__(self) -> None:
        state = getattr(self, "_state", None)  # there is none where no thread could be started
        if state is not None and not state.thread.is_alive():
            state.report()

    def __repr__(self) -> str:
        state = "ended" if self.done else "going on"
        return f"PendingSave({self.path!r}, {state})"


class _State:
    """The work of a pending save, and its error until somebody has been told."""

    def __init__(self, work: Callable[[], None], handle: weakref.ref[PendingSave]) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._handle = handle
        self.thread = threading.Thread(target=self._run, name="flowrs save")
        self.thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
            _unasked.add(self)
            if self._handle() is None:
                self.report()
        finally:
            del self._work  # and with it the copies of the values

    def report(self) -> None:
        """Prints the error if nobody has asked for it."""
        if self in _unasked and self.error is not None:
            _unasked.discard(self)
            kind, trace = type(self.error), self.error.__traceback__
            threading.excepthook(threading.ExceptHookArgs((kind, self.error, trace, self.thread)))


#: Failed saves of whose error nobody knows.
_unasked: set[_State] = set()


@atexit.register
def _report_all() -> None:
    # The interpreter has waited for the threads before.
    for state in list(_unasked):
        state.report()
