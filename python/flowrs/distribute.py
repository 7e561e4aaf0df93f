"""Hints of how values are spread over devices; they have no effect on one."""

from __future__ import annotations

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
    """Whatever is best."""
    return _AUTO


def broadcast() -> Distribute:
    """Each device has the whole."""
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
    """Raises an ArgumentTypeError where the argument is no hint of this module."""
    if not isinstance(distribute, Distribute):
        raise ArgumentTypeError(f"expected a flow.distribute hint, found {distribute!r}")
