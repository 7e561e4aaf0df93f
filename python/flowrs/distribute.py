"""Hints of how values are spread over devices; they have no effect on one."""

from __future__ import annotations

import sys

from flowrs import scope
from flowrs.errors import ArgumentTypeError


class Distribute:
    """A hint of how a value is spread over devices."""

    def __init__(self, name: str, axis: int | None = None) -> None:
        self.name = name
        self.axis = axis

    def __repr__(self) -> str:
        return f"distribute.{self.name}({'' if self.axis is None else self.axis})"


_AUTO = Distribute("auto")
_BROADCAST = Distribute("broadcast")


def auto() -> Distribute:
    """Whatever is best.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.auto()
        distribute.auto()
    """
    return _AUTO


def broadcast() -> Distribute:
    """Each device has the whole.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.broadcast()
        distribute.broadcast()
    """
    return _BROADCAST


def split(axis: int) -> Distribute:
    """Each device has a part along ``axis``.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.split(0)
        distribute.split(0)
    """
    return Distribute("split", axis)


def assert_is_valid_distribute(distribute: object) -> None:
    """Raises an ArgumentTypeError where the argument is no hint of this module.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.assert_is_valid_distribute(flow.distribute.auto())
    """
    if not isinstance(distribute, Distribute):
        raise ArgumentTypeError(f"expected a flow.distribute hint, found {distribute!r}")


def consistent_strategy() -> scope.LogicalView:
    """The deprecated name of ``flow.scope.consistent_view``.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.consistent_strategy()
        consistent_view
    """
    _warn("consistent_strategy", "consistent_view")
    return scope.consistent_view()


def mirrored_strategy() -> scope.LogicalView:
    """The deprecated name of ``flow.scope.mirrored_view``.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.mirrored_strategy()
        mirrored_view
    """
    _warn("mirrored_strategy", "mirrored_view")
    return scope.mirrored_view()


def consistent_strategy_enabled() -> bool:
    """The deprecated name of ``flow.scope.consistent_view_enabled``.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.consistent_strategy_enabled()
        True
    """
    _warn("consistent_strategy_enabled", "consistent_view_enabled")
    return scope.consistent_view_enabled()


def mirrored_strategy_enabled() -> bool:
    """The deprecated name of ``flow.scope.mirrored_view_enabled``.

    Example:
        >>> import flowrs as flow
        >>> flow.distribute.mirrored_strategy_enabled()
        False
    """
    _warn("mirrored_strategy_enabled", "mirrored_view_enabled")
    return scope.mirrored_view_enabled()


def _warn(old: str, new: str) -> None:
    print(f"WARNING: distribute.{old} is deprecated: use flow.scope.{new}", file=sys.stderr)
