"""Scopes: where operations run, and what their names begin with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from flowrs.errors import ArgumentError, ArgumentTypeError
from flowrs.trace import current_trace

_DEVICES = re.compile(r"(\d+):(\d+)(?:-(\d+))?")
_warned_of_gpu = False


class Placement:
    """Devices that operations are put on; they all stand for this machine's CPU.

    Attributes:
        device_tag: always ``"cpu"``.
        parallel_num: number of devices named.
    """

    device_tag = "cpu"

    def __init__(self, parallel_num: int) -> None:
        self.parallel_num = parallel_num

    def __enter__(self) -> Placement:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def placement(
    device_tag: str,
    machine_device_ids: str | Sequence[str],
    hierarchy: Sequence[int] | None = None,
) -> Placement:
    """Puts the operations of a block on devices; ``"gpu"`` warns once and means the CPU.

    Args:
        device_tag: ``"cpu"`` or ``"gpu"``.
        machine_device_ids: ``"0:0"``, ``"0:0-3"``, or a list of such texts.
        hierarchy: accepted; has no effect on one machine.

    Raises:
        ArgumentError: the tag or an id is not of this form.
        ArgumentTypeError: the ids are neither text nor a list of texts.

    Example:
        >>> import flowrs as flow
        >>> with flow.scope.placement("cpu", "0:0") as devices:
        ...     devices.parallel_num
        1
    """
    global _warned_of_gpu
    if device_tag not in ("cpu", "gpu"):
        raise ArgumentError(f'placement: device_tag must be "cpu" or "gpu", not {device_tag!r}')
    if device_tag == "gpu" and not _warned_of_gpu:
        _warned_of_gpu = True
        print("flowrs runs on the CPU: gpu placements mean the cpu too", file=sys.stderr)
    ids = [machine_device_ids] if isinstance(machine_device_ids, str) else machine_device_ids
    if not isinstance(ids, (list, tuple)) or not ids:
        raise ArgumentTypeError(
            f'placement: expected an id such as "0:0", or a list of them, found {ids!r}'
        )
    return Placement(sum(_count(text) for text in ids))


def _count(text: object) -> int:
    if not isinstance(text, str):
        raise ArgumentTypeError(f'placement: expected an id such as "0:0", found {text!r}')
    match = _DEVICES.fullmatch(text.strip().removeprefix("@"))
    if match is None:
        raise ArgumentError(f'placement: expected an id such as "0:0" or "0:0-3", found {text!r}')
    first, last = int(match[2]), int(match[3] or match[2])
    if last < first:
        raise ArgumentError(f"placement: the devices of {text!r} count down")
    return last - first + 1


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """Puts ``"<name>-"`` before the names of operations and variables; usable inside a job.

    Raises:
        SessionError: no job's body is running.
        ArgumentTypeError: the name is no text.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     with flow.scope.namespace("encoder"):
        ...         flow.get_variable("w", shape=(1,), initializer=flow.zeros_initializer())
        >>> list(flow.get_all_variables())
        ['encoder-w']
    """
    trace = current_trace("scope.namespace")
    if not isinstance(name, str) or not name:
        raise ArgumentTypeError(f"scope.namespace: the name must be text, not {name!r}")
    trace.namespaces.append(name)
    try:
        yield
    finally:
        trace.namespaces.pop()


def name_scope(name: str) -> AbstractContextManager[None]:
    """The deprecated name of :func:`namespace`.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     with flow.name_scope("encoder"):
        ...         flow.get_variable("w", shape=(1,), initializer=flow.zeros_initializer())
        >>> list(flow.get_all_variables())
        ['encoder-w']
    """
    print("WARNING: name_scope is deprecated: use flow.scope.namespace", file=sys.stderr)
    return namespace(name)


class LogicalView:
    """How values are spread over devices; on one device all views are the same."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._outer: list[LogicalView] = []

    def __enter__(self) -> LogicalView:
        global _view
        self._outer.append(_view)
        _view = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _view
        _view = self._outer.pop()

    def __repr__(self) -> str:
        return f"{self.name}_view"


_view = LogicalView("consistent")


def consistent_view() -> LogicalView:
    """The view in which a value is one array, whatever the number of devices.

    Example:
        >>> import flowrs as flow
        >>> with flow.scope.consistent_view():
        ...     flow.scope.consistent_view_enabled()
        True
    """
    return LogicalView("consistent")


def mirrored_view() -> LogicalView:
    """The view in which each device has an array of its own.

    Example:
        >>> import flowrs as flow
        >>> with flow.scope.mirrored_view():
        ...     flow.scope.mirrored_view_enabled()
        True
    """
    return LogicalView("mirrored")


def consistent_view_enabled() -> bool:
    """Whether the consistent view is in force, as it is by default.

    Example:
        >>> import flowrs as flow
        >>> flow.scope.consistent_view_enabled()
        True
    """
    return _view.name == "consistent"


def mirrored_view_enabled() -> bool:
    """Whether the mirrored view is in force.

    Example:
        >>> import flowrs as flow
        >>> flow.scope.mirrored_view_enabled()
        False
    """
    return _view.name == "mirrored"
